import type { LinkReport, Page } from "../src/types";

export const page: Page = {
  language: "en",
  languages: ["en", "ru"],
  csrf: "token",
  title: "Branch",
  user: "anna",
  mayConfigure: true,
  urls: {
    api: "/sync/api",
    live: "/sync/live/",
    peer: "/sync/peer/",
    language: "/i18n/setlang/",
    program: "/admin/",
    login: "/admin/login/?next=/sync/",
  },
};

export function link(changes: Partial<LinkReport> = {}): LinkReport {
  return {
    link: "Head office",
    mode: "active",
    transport: "websocket",
    state: "connected",
    peer: "Head office",
    peer_instance: "00ff",
    last_exchange: "2026-03-01T12:00:00Z",
    waiting_out: 0,
    waiting_in: 0,
    problems: 0,
    conflicts: 0,
    sent: 10,
    applied: 8,
    superseded: 0,
    duplicate: 0,
    parked: 0,
    lag_ms: 2.5,
    clock_offset_ms: 1,
    reason: "",
    id: 1,
    received: 8,
    peer_applied: 10,
    peer_superseded: 0,
    peer_duplicate: 0,
    peer_parked: 0,
    state_word: "Connected",
    state_since: "2026-03-01T11:00:00Z",
    attempt: 0,
    next_attempt: null,
    peer_version: "syncapp 0.1.0",
    peer_url: "http://office.example",
    address: "http://office.example",
    code: "",
    log: true,
    reason_code: "",
    deletions_waiting: 0,
    suspended: [],
    warnings: [],
    ...changes,
  };
}

/** A websocket that does what the test says. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  readyState = 1;
  sent: string[] = [];
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  closed = false;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    const socket = FakeSocket.all.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }

  static open = (url: string): WebSocket => new FakeSocket(url) as unknown as WebSocket;

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.closed = true;
  }

  hear(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  drop(code = 1006): void {
    this.onclose?.({ code });
  }
}
