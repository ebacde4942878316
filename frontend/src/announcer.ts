/** Tells screen readers of changed states, politely: at most one announcement in five seconds, the latest state of each link. */

import { type Signal, signal } from "@preact/signals";

const PAUSE = 5_000;
const NAMED = 3;

export interface Announcer {
  /** What the live region says. */
  text: Signal<string>;
  /** `sentence` replaces an older one of the same `subject` that has not been spoken yet. */
  announce(subject: string, sentence: string): void;
}

/** `many` is said instead of more than a few sentences at once. */
export function createAnnouncer(many: (n: number) => string): Announcer {
  const text = signal("");
  const waiting = new Map<string, string>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function speak(): void {
    timer = undefined;
    if (waiting.size === 0) return;
    text.value = waiting.size > NAMED ? many(waiting.size) : [...waiting.values()].join(". ");
    waiting.clear();
    timer = setTimeout(speak, PAUSE);
  }

  return {
    text,
    announce(subject, sentence) {
      waiting.delete(subject);
      waiting.set(subject, sentence);
      if (timer === undefined) speak();
    },
  };
}
