/** The words for a link's state, and the moments that belong to it. */

import { clockTime, t } from "./i18n";
import type { LinkReport, State } from "./types";

const STATES: readonly State[] = [
  "connected",
  "connecting",
  "offline",
  "paused",
  "refused",
  "attention",
  "never",
];

/** The state as this page knows it; one that a newer server invented needs a look by a person. */
export function stateOf(link: LinkReport): State {
  return STATES.find((state) => state === link.state) ?? "attention";
}

/** "Offline since 12:04", "Reconnecting, attempt 3". */
export function stateWords(link: LinkReport, now: Date): string {
  const state = stateOf(link);
  if (state === "connecting" && link.attempt > 1) return t("reconnecting", { n: link.attempt });
  if (state === "offline" && link.state_since) {
    return t("offlineSince", { time: clockTime(new Date(link.state_since), now) });
  }
  return t(state === "never" ? "neverSeen" : state);
}

/** The moment behind the words, for those who want it exactly. */
export function stateMoment(link: LinkReport): Date | undefined {
  return link.state_since && stateOf(link) !== "never" ? new Date(link.state_since) : undefined;
}
