import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createLive, type Live } from "../src/live";
import type { LiveMessage } from "../src/types";
import { FakeSocket } from "./support";

let heard: LiveMessage[];
let live: Live;
const beat = () => FakeSocket.last.hear({ type: "beat", now: new Date().toISOString() });

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-03-01T12:00:00Z") });
  vi.spyOn(Math, "random").mockReturnValue(1);
  FakeSocket.all = [];
  heard = [];
  live = createLive(
    () => "ws://here/",
    (message) => heard.push(message),
    FakeSocket.open,
  );
  live.start();
});

afterEach(() => {
  live.stop();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

it("is here from the first message on", () => {
  expect(live.contact.value).toBe("starting");
  beat();
  expect(live.contact.value).toBe("here");
  expect(live.asOf.value).toEqual(new Date("2026-03-01T12:00:00Z"));
  expect(heard).toHaveLength(1);
});

it("is lost after eight silent seconds, not before", () => {
  beat();
  vi.advanceTimersByTime(8_000);
  expect(live.contact.value).toBe("here");
  vi.advanceTimersByTime(1_000);
  expect(live.contact.value).toBe("lost");
  expect(FakeSocket.all[0]?.closed).toBe(true);
});

it("stays while beats come", () => {
  for (let n = 0; n < 20; n++) {
    beat();
    vi.advanceTimersByTime(3_000);
  }
  expect(live.contact.value).toBe("here");
  expect(FakeSocket.all).toHaveLength(1);
});

it("is lost at once when the socket closes, and comes back by itself", () => {
  beat();
  FakeSocket.last.drop();
  expect(live.contact.value).toBe("lost");
  vi.advanceTimersByTime(500);
  expect(FakeSocket.all).toHaveLength(2);
  beat();
  expect(live.contact.value).toBe("here");
});

it("waits longer after each failure, at most eight seconds, and starts over after success", () => {
  const pauses: number[] = [];
  for (let n = 0; n < 7; n++) {
    const opened = FakeSocket.all.length;
    FakeSocket.last.drop();
    let waited = 0;
    while (FakeSocket.all.length === opened) {
      vi.advanceTimersByTime(500);
      waited += 500;
    }
    pauses.push(waited);
  }
  expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 8000, 8000]);
  beat();
  FakeSocket.last.drop();
  vi.advanceTimersByTime(500);
  expect(FakeSocket.all).toHaveLength(9);
});

it("gives a first connection that never answers up as well", () => {
  vi.advanceTimersByTime(9_000);
  expect(live.contact.value).toBe("lost");
});

it("stops asking when the server says that this user may not listen", () => {
  beat();
  FakeSocket.last.drop(4403);
  expect(live.contact.value).toBe("denied");
  vi.advanceTimersByTime(60_000);
  expect(FakeSocket.all).toHaveLength(1);
});

it("does not wait when the network returns", () => {
  for (let n = 0; n < 5; n++) {
    FakeSocket.last.drop();
    vi.advanceTimersByTime(8_000);
  }
  FakeSocket.last.drop();
  const opened = FakeSocket.all.length;
  dispatchEvent(new Event("online"));
  expect(FakeSocket.all).toHaveLength(opened + 1);
});

it("ignores what a socket that was given up still says", () => {
  beat();
  const old = FakeSocket.last;
  old.drop();
  old.hear({ type: "beat", now: new Date().toISOString() });
  expect(live.contact.value).toBe("lost");
});

it("knows how far the server's clock is ahead", () => {
  FakeSocket.last.hear({ type: "beat", now: "2026-03-01T12:00:30Z" });
  expect(live.skew.value).toBe(30_000);
});
