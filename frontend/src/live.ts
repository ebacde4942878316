/** The page's line to its server: a websocket that comes back by itself, and the knowledge of whether it is there. */

import { type Signal, signal } from "@preact/signals";
import type { LiveMessage } from "./types";

/** `lost` covers every silence; `denied` is the server's word that this user may not (any longer) listen. */
export type Contact = "starting" | "here" | "lost" | "denied";

const SILENCE = 8_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8_000;
const NOT_ALLOWED = 4403;

export interface Live {
  contact: Signal<Contact>;
  /** When the server was heard last, by its own clock. */
  asOf: Signal<Date | undefined>;
  /** Adding this to the browser's clock (ms) gives the server's. */
  skew: Signal<number>;
  say(message: object): void;
  start(): void;
  stop(): void;
}

type Open = (address: string) => WebSocket;

export function createLive(
  address: () => string,
  heard: (message: LiveMessage) => void,
  open: Open = (url) => new WebSocket(url),
): Live {
  const contact = signal<Contact>("starting");
  const asOf = signal<Date | undefined>(undefined);
  const skew = signal(0);
  let socket: WebSocket | undefined;
  let failures = 0;
  let lastHeard = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let watch: ReturnType<typeof setInterval> | undefined;

  function connect(): void {
    clearTimeout(retry);
    retry = undefined;
    lastHeard = Date.now();
    const current = open(address());
    socket = current;
    current.onmessage = (event: MessageEvent<string>) => {
      if (socket === current) receive(JSON.parse(event.data) as LiveMessage);
    };
    current.onclose = (event: CloseEvent) => {
      if (socket === current) lose(event.code === NOT_ALLOWED ? "denied" : "lost");
    };
  }

  function receive(message: LiveMessage): void {
    lastHeard = Date.now();
    failures = 0;
    asOf.value = new Date(message.now);
    skew.value = asOf.value.getTime() - lastHeard;
    heard(message);
    contact.value = "here";
  }

  function lose(how: Contact): void {
    const old = socket;
    socket = undefined;
    old?.close();
    contact.value = how;
    if (how === "denied") return;
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures);
    failures += 1;
    retry = setTimeout(connect, pause * (0.5 + Math.random() / 2));
  }

  function look(): void {
    if (socket && Date.now() - lastHeard > SILENCE) lose("lost");
  }

  /** The network is back, or the page is looked at again: no reason to wait out the pause. */
  function hurry(): void {
    look();
    if (retry !== undefined && document.visibilityState !== "hidden") {
      failures = 0;
      connect();
    }
  }

  return {
    contact,
    asOf,
    skew,
    say(message) {
      if (socket?.readyState === 1) socket.send(JSON.stringify(message));
    },
    start() {
      connect();
      watch = setInterval(look, 1_000);
      addEventListener("online", hurry);
      document.addEventListener("visibilitychange", hurry);
    },
    stop() {
      clearTimeout(retry);
      clearInterval(watch);
      removeEventListener("online", hurry);
      document.removeEventListener("visibilitychange", hurry);
      const old = socket;
      socket = undefined;
      old?.close();
    },
  };
}
