/** A moment as people speak of it; the exact one on hover and, by keyboard, on focus. */

import { exact } from "../i18n";

export function Moment({ words, at }: { words: string; at: Date }) {
  return (
    <span class="moment" tabIndex={0}>
      <time dateTime={at.toISOString()}>{words}</time>
      <span class="exact"> {exact(at)}</span>
    </span>
  );
}
