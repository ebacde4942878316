import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createAnnouncer } from "../src/announcer";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("speaks at once, then at most every five seconds, with the latest of each subject", () => {
  const announcer = createAnnouncer((n) => `${n} changes`);
  announcer.announce("a", "a is offline");
  expect(announcer.text.value).toBe("a is offline");
  announcer.announce("a", "a is connected");
  announcer.announce("b", "b is offline");
  announcer.announce("a", "a is offline again");
  vi.advanceTimersByTime(4_999);
  expect(announcer.text.value).toBe("a is offline");
  vi.advanceTimersByTime(1);
  expect(announcer.text.value).toBe("b is offline. a is offline again");
});

it("counts instead of listing when many change together", () => {
  const announcer = createAnnouncer((n) => `${n} changes`);
  announcer.announce("first", "first");
  for (let n = 0; n < 40; n++) announcer.announce(`link ${n}`, "offline");
  vi.advanceTimersByTime(5_000);
  expect(announcer.text.value).toBe("40 changes");
});

it("is silent again after having said everything", () => {
  const announcer = createAnnouncer(String);
  announcer.announce("a", "one");
  vi.advanceTimersByTime(20_000);
  announcer.announce("a", "two");
  expect(announcer.text.value).toBe("two");
});
