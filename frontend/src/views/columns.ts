/** The columns of the list; two of them hold two values, one above the other. */

import { type TextKey, t } from "../i18n";

export type Column = TextKey &
  (
    | "status"
    | "name"
    | "mode"
    | "waiting"
    | "problems"
    | "conflicts"
    | "sent"
    | "lastExchange"
    | "peer"
    | "actions"
  );

const SECOND: Partial<Record<Column, TextKey>> = { mode: "transport", sent: "received" };

export function columnTitle(column: Column): string {
  const second = SECOND[column];
  return second ? `${t(column)} / ${t(second).toLowerCase()}` : t(column);
}
