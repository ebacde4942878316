/** The shape of a state: each state has its own, so that colour only repeats what the shape says. */

import type { ComponentChildren } from "preact";
import type { State } from "../types";

const SHAPES: Record<State, ComponentChildren> = {
  connected: (
    <>
      <circle class="body" cx="10" cy="10" r="8.5" />
      <path class="sign" d="M6 10.4l2.8 2.8L14 7.4" />
    </>
  ),
  connecting: (
    <>
      <path class="line" d="M17 10a7 7 0 0 1-12.4 4.4M3 10a7 7 0 0 1 12.4-4.4" />
      <path class="line" d="M15.9 2.4v3.4h-3.4M4.1 17.6v-3.4h3.4" />
    </>
  ),
  offline: (
    <>
      <circle class="line" cx="10" cy="10" r="7.5" />
      <path class="line" d="M4.8 15.2L15.2 4.8" />
    </>
  ),
  paused: <path class="body" d="M4.5 3h4v14h-4zM11.5 3h4v14h-4z" />,
  refused: (
    <>
      <path class="body" d="M6.3 1.5h7.4l4.8 4.8v7.4l-4.8 4.8H6.3l-4.8-4.8V6.3z" />
      <path class="sign" d="M7 7l6 6M13 7l-6 6" />
    </>
  ),
  attention: (
    <>
      <path class="body" d="M10 1.8L19 17.8H1z" />
      <path class="sign" d="M10 7.2v4.6M10 14.6v.4" />
    </>
  ),
  never: (
    <>
      <circle class="line" cx="10" cy="10" r="7.5" stroke-dasharray="2.6 2.6" />
      <path class="line" d="M10 6v4.4l2.6 1.8" />
    </>
  ),
};

export function Mark({ state }: { state: State }) {
  return (
    <svg class="mark" data-state={state} viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      {SHAPES[state]}
    </svg>
  );
}
