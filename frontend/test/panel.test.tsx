import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type App, AppProvider, createApp } from "../src/app";
import { language } from "../src/i18n";
import type { LinkReport } from "../src/types";
import { Panel } from "../src/views/Panel";
import { FakeSocket, link, page } from "./support";

let app: App;
let root: HTMLElement;

async function open(changes: Partial<typeof page> = {}) {
  app = createApp({ ...page, ...changes }, FakeSocket.open);
  app.now.value = new Date("2026-03-01T12:00:10Z");
  app.live.start();
  root = document.createElement("div");
  document.body.replaceChildren(root);
  await act(() =>
    render(
      <AppProvider value={app}>
        <Panel />
      </AppProvider>,
      root,
    ),
  );
}

const hear = (message: object) =>
  act(() => FakeSocket.last.hear({ now: "2026-03-01T12:00:10Z", ...message }));
const snapshot = (...links: LinkReport[]) => hear({ type: "snapshot", links });
const text = (selector: string) => root.querySelector(selector)?.textContent ?? "";

beforeEach(() => {
  FakeSocket.all = [];
  language.value = "en";
});
afterEach(() => {
  app.live.stop();
  vi.unstubAllGlobals();
});

it("shows skeleton rows, then the links", async () => {
  await open();
  expect(root.querySelector("table")?.getAttribute("aria-busy")).toBe("true");
  expect(text(".skeleton")).toContain("Loading…");
  await snapshot(link());
  expect(root.querySelector(".skeleton")).toBeNull();
  expect(text(".link .name")).toBe("Head office");
  expect(text(".link .state")).toContain("Connected");
  expect(text(".link .waiting")).toContain("Up to date");
});

it("says so when there are no links", async () => {
  await open();
  await snapshot();
  expect(text(".empty")).toContain("No links yet");
});

it("keeps the row's elements, and focus in it, through live updates", async () => {
  await open();
  await snapshot(link(), link({ id: 2, link: "Omsk" }));
  const button = root.querySelector<HTMLElement>("#link-2 .actions button");
  button?.focus();
  await hear({ type: "links", links: [link({ id: 2, link: "Omsk", sent: 1234 })], removed: [] });
  expect(text("#link-2 .sent")).toContain("1,234");
  expect(document.activeElement).toBe(button);
});

it("lets no tick stay fresh once the server is gone, and says as of when", async () => {
  await open();
  await snapshot(link());
  expect(root.querySelector(".panel")?.getAttribute("data-fresh")).toBe("true");
  expect(text(".strip")).toBe("");
  await act(() => FakeSocket.last.drop());
  expect(root.querySelector(".panel")?.getAttribute("data-fresh")).toBe("false");
  expect(text(".strip")).toMatch(/^Page lost contact with the server; data as of \S/);
  expect(text(".link .status")).toContain("as of");
});

it("offers to log in when the session is over", async () => {
  await open();
  await act(() => FakeSocket.last.drop(4403));
  expect(root.querySelector(".strip a")?.getAttribute("href")).toBe(page.urls.login);
});

it("gives each state a shape and a word of its own", async () => {
  await open();
  const states = ["connected", "connecting", "offline", "paused", "refused", "attention", "never"];
  await snapshot(...states.map((state, id) => link({ id, state, link: state })));
  const marks = [...root.querySelectorAll(".mark")].map((mark) => mark.innerHTML);
  const words = [...root.querySelectorAll(".state")].map((state) => state.textContent);
  expect(new Set(marks).size).toBe(states.length);
  expect(new Set(words).size).toBe(states.length);
});

it("shows a state that it does not know as one that needs a person", async () => {
  await open();
  await snapshot(link({ state: "enchanted" }));
  expect(text(".state")).toContain("Action required");
});

it("shows reason, warnings and fields that do not flow", async () => {
  await open();
  const suspended = [{ field: "crm.Client.phone", sentence: "Map it there too." }];
  await snapshot(
    link({ state: "refused", reason: "Wrong password – enter it.", warnings: ["Clocks!"], suspended }),
  );
  expect(text(".notes .reason")).toBe("Wrong password – enter it.");
  expect(text(".notes .warning")).toBe("Clocks!");
  expect(text(".notes li")).toContain("crm.Client.phone");
});

it("treats what the server says as text", async () => {
  await open();
  await snapshot(link({ link: "<img src=x onerror=alert(1)>", reason: "<b>bold</b>", state: "offline" }));
  expect(root.querySelector(".links img, .links b")).toBeNull();
});

it("pauses with the CSRF token, and shows what the server answered", async () => {
  const fetch = vi.fn(async () => Response.json(link({ state: "paused" })));
  vi.stubGlobal("fetch", fetch);
  await open();
  await snapshot(link());
  const button = root.querySelector<HTMLElement>(".actions button");
  expect(button?.getAttribute("aria-label")).toBe("Pause link “Head office”");
  await act(async () => button?.click());
  const [url, request] = fetch.mock.calls[0] as unknown as [string, RequestInit];
  expect(url).toBe("/sync/api/links/1/pause");
  expect(request.headers).toMatchObject({ "X-CSRFToken": "token" });
  await vi.waitFor(() => expect(text(".actions button")).toBe("Resume"));
});

it("says what the server refused", async () => {
  vi.stubGlobal(
    "fetch",
    vi.fn(async () => Response.json({ detail: "You may not change links.", field: "" }, { status: 403 })),
  );
  await open();
  await snapshot(link());
  await act(async () => root.querySelector<HTMLElement>(".actions button")?.click());
  await vi.waitFor(() => expect(text("[role=alert]")).toContain("You may not change links."));
});

it("offers no buttons to those who may only look", async () => {
  await open({ mayConfigure: false });
  await snapshot(link());
  expect(root.querySelector(".actions")).toBeNull();
});

it("switches the language in place and tells the server", async () => {
  const fetch = vi.fn(async () => new Response(null, { status: 204 }));
  vi.stubGlobal("fetch", fetch);
  await open();
  await snapshot(link());
  await act(async () => root.querySelector<HTMLElement>('button[lang="ru"]')?.click());
  expect(text("h1")).toBe("Синхронизация");
  expect(text(".state")).toContain("На связи");
  expect(FakeSocket.last.sent).toEqual(['{"type":"language","language":"ru"}']);
  expect(fetch).toHaveBeenCalledWith("/i18n/setlang/", expect.objectContaining({ method: "POST" }));
});

it("announces a changed state", async () => {
  await open();
  await snapshot(link());
  await hear({ type: "links", links: [link({ state: "offline", state_since: null })], removed: [] });
  expect(text("#announcer")).toBe("Head office: Offline");
});

it("shows the address to enter on the other side until the first contact", async () => {
  await open();
  await snapshot(link({ state: "never", mode: "passive", code: "ABC" }));
  expect(text(".notes .address")).toContain("/sync/peer/ABC/");
  await hear({ type: "links", links: [link({ mode: "passive", code: "ABC" })], removed: [] });
  expect(root.querySelector(".notes")).toBeNull();
});
