/** What the server says; kept equal to its OpenAPI document by `tests/web/test_types.py`. */

export type State = "connected" | "connecting" | "offline" | "paused" | "refused" | "attention" | "never";

export interface SuspendedField {
  field: string;
  sentence: string;
}

export interface LinkReport {
  link: string;
  mode: string;
  transport: string;
  state: string;
  peer: string;
  peer_instance: string;
  last_exchange: string | null;
  waiting_out: number;
  waiting_in: number;
  problems: number;
  conflicts: number;
  sent: number;
  applied: number;
  superseded: number;
  duplicate: number;
  parked: number;
  lag_ms: number;
  clock_offset_ms: number;
  reason: string;
  id: number;
  received: number;
  peer_applied: number;
  peer_superseded: number;
  peer_duplicate: number;
  peer_parked: number;
  state_word: string;
  state_since: string | null;
  attempt: number;
  next_attempt: string | null;
  peer_version: string;
  peer_url: string;
  address: string;
  code: string;
  log: boolean;
  reason_code: string;
  /** Deletions that the other program has not confirmed yet. */
  deletions_waiting: number;
  suspended: SuspendedField[];
  warnings: string[];
}

export interface Fault {
  detail: string;
  field: string;
}

/** Messages of the live socket. */
export type LiveMessage =
  | { type: "snapshot"; now: string; links: LinkReport[] }
  | { type: "links"; now: string; links: LinkReport[]; removed: number[] }
  | { type: "beat"; now: string };

/** What the page's template hands over. */
export interface Page {
  language: string;
  languages: string[];
  csrf: string;
  title: string;
  user: string;
  mayConfigure: boolean;
  urls: { api: string; live: string; peer: string; language: string; program: string; login: string };
}
