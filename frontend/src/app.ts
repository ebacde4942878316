/** Everything that the page consists of, wired together; the views get it through `useApp`. */

import { type Signal, signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { type Announcer, createAnnouncer } from "./announcer";
import { type Api, ApiError, createApi } from "./api";
import { language, t, tn } from "./i18n";
import { createLive, type Live } from "./live";
import { stateWords } from "./state";
import { createStore, type LinkStore } from "./store";
import type { LiveMessage, Page } from "./types";

export interface App {
  page: Page;
  api: Api;
  live: Live;
  store: LinkStore;
  announcer: Announcer;
  /** The server's time, moving once a second while data are fresh. */
  now: Signal<Date>;
  /** What a person tried and did not get; empty when there is nothing to say. */
  failure: Signal<string>;
  setPaused(id: number, paused: boolean): Promise<void>;
  setLanguage(code: string): Promise<void>;
}

export function createApp(page: Page, open?: (url: string) => WebSocket): App {
  const now = signal(new Date());
  const failure = signal("");
  const api = createApi(page);
  const announcer = createAnnouncer((n) => tn("manyChanged", n));
  const store = createStore((link) => {
    announcer.announce(
      `link ${link.id}`,
      t("changed", { name: link.link, state: stateWords(link, now.value) }),
    );
  });
  const live = createLive(() => liveAddress(page), hear, open);

  function hear(message: LiveMessage): void {
    const back = live.contact.value === "lost";
    if (message.type === "snapshot") store.replace(message.links);
    else if (message.type === "links") store.update(message.links, message.removed);
    if (back) announcer.announce("server", t("restored"));
  }

  async function attempt(action: () => Promise<void>): Promise<void> {
    failure.value = "";
    try {
      await action();
    } catch (error) {
      const detail = error instanceof ApiError ? error.detail : String(error);
      failure.value = t("failed", { detail: detail || t("unreachable") });
    }
  }

  return {
    page,
    api,
    live,
    store,
    announcer,
    now,
    failure,
    setPaused: (id, paused) => attempt(async () => store.update([await api.setPaused(id, paused)])),
    setLanguage(code) {
      language.value = code;
      live.say({ type: "language", language: code });
      return attempt(() => api.setLanguage(code));
    },
  };
}

function liveAddress(page: Page): string {
  const address = new URL(page.urls.live, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.searchParams.set("language", language.value);
  return address.href;
}

const Context = createContext<App | undefined>(undefined);
export const AppProvider = Context.Provider;

export function useApp(): App {
  const app = useContext(Context);
  if (!app) throw new Error("a view outside of AppProvider");
  return app;
}
