/** The links as the page knows them. Each link is a signal of its own, so that news about one redraw one row. */

import { type Signal, signal } from "@preact/signals";
import type { LinkReport } from "./types";

export interface LinkStore {
  /** Undefined until the first snapshot: the page is still loading. */
  ids: Signal<readonly number[] | undefined>;
  link(id: number): Signal<LinkReport> | undefined;
  replace(links: LinkReport[]): void;
  update(links: LinkReport[], removed?: readonly number[]): void;
}

/** `changed` hears of every link whose state is another than before. */
export function createStore(changed: (link: LinkReport) => void = () => {}): LinkStore {
  const ids = signal<readonly number[] | undefined>(undefined);
  const known = new Map<number, Signal<LinkReport>>();

  function put(link: LinkReport): void {
    const present = known.get(link.id);
    if (!present) {
      known.set(link.id, signal(link));
      return;
    }
    const before = present.value.state;
    present.value = link;
    if (before !== link.state) changed(link);
  }

  function publish(): void {
    const sorted = [...known.values()]
      .map((one) => one.value)
      .sort((a, b) => a.link.localeCompare(b.link) || a.id - b.id)
      .map((one) => one.id);
    const before = ids.value;
    if (!before || before.length !== sorted.length || before.some((id, index) => id !== sorted[index])) {
      ids.value = sorted;
    }
  }

  function update(links: LinkReport[], removed: readonly number[] = []): void {
    for (const link of links) put(link);
    for (const id of removed) known.delete(id);
    publish();
  }

  return {
    ids,
    link: (id) => known.get(id),
    update,
    replace(links) {
      const present = new Set(links.map((link) => link.id));
      update(
        links,
        [...known.keys()].filter((id) => !present.has(id)),
      );
    },
  };
}
