/** One link: its row, and under it whatever somebody should read. */

import { useApp } from "../app";
import { ago, catalogues, clockTime, count, type TextKey, t, tn } from "../i18n";
import { stateMoment, stateOf, stateWords } from "../state";
import type { LinkReport } from "../types";
import { type Column, columnTitle } from "./columns";
import { Mark } from "./Mark";
import { Moment } from "./Moment";
import { Notes } from "./Notes";

export function LinkRow({ id, columns }: { id: number; columns: number }) {
  const { page, store } = useApp();
  const link = store.link(id)?.value;
  if (!link) return null;
  return (
    <tbody role="rowgroup" class="link" data-state={stateOf(link)} id={`link-${link.id}`}>
      <tr role="row">
        <Status link={link} />
        <th role="rowheader" scope="row" class="name">
          {link.link}
        </th>
        <Cell label="mode">
          {word(link.mode)} <span class="muted second">{word(link.transport)}</span>
        </Cell>
        <Waiting link={link} />
        <Cell label="problems" kind="number" alarming={link.problems > 0}>
          {count(link.problems)}
        </Cell>
        <Cell label="conflicts" kind="number" alarming={link.conflicts > 0}>
          {count(link.conflicts)}
        </Cell>
        <Cell label="sent" kind="number">
          {count(link.sent)} <span class="second">{count(link.received)}</span>
        </Cell>
        <LastExchange link={link} />
        <Cell label="peer">
          {link.peer || <span class="muted">{t("peerUnknown")}</span>}
          {link.peer_version && <span class="muted second">{link.peer_version}</span>}
        </Cell>
        {page.mayConfigure && <Action link={link} />}
      </tr>
      <Notes link={link} columns={columns} />
    </tbody>
  );
}

interface CellProps {
  label: Column;
  kind?: string;
  alarming?: boolean;
  children?: preact.ComponentChildren;
}

/** On narrow screens the label stands beside the value, the header row being gone. */
function Cell({ label, kind = "", alarming = false, children }: CellProps) {
  return (
    <td role="cell" class={`${label} ${kind} ${alarming ? "alarming" : ""}`} data-label={columnTitle(label)}>
      <span class="value">{children}</span>
    </td>
  );
}

/** A word of the server's vocabulary (mode, transport), or the word itself if it is new. */
function word(name: string): string {
  const texts: Record<string, unknown> = catalogues.en ?? {};
  return name in texts ? t(name as TextKey) : name;
}

function Status({ link }: { link: LinkReport }) {
  const { live, now } = useApp();
  const words = stateWords(link, now.value);
  const at = stateMoment(link);
  return (
    <td role="cell" class="status">
      <span class="state">
        <Mark state={stateOf(link)} />
        {at ? <Moment words={words} at={at} /> : <span>{words}</span>}
      </span>
      {live.contact.value !== "here" && live.asOf.value && (
        <span class="muted second as-of">{t("asOf", { time: clockTime(live.asOf.value, now.value) })}</span>
      )}
    </td>
  );
}

function Waiting({ link }: { link: LinkReport }) {
  const none = link.waiting_out === 0 && link.waiting_in === 0;
  const quiet = none && link.state === "connected";
  return (
    <Cell label="waiting">
      <span class="flow">
        <span class={link.waiting_out ? "busy" : "muted"} title={tn("waitingOut", link.waiting_out)}>
          <span aria-hidden="true">↑ {count(link.waiting_out)}</span>
          <span class="hidden">{tn("waitingOut", link.waiting_out)}</span>
        </span>{" "}
        <span class={link.waiting_in ? "busy" : "muted"} title={tn("waitingIn", link.waiting_in)}>
          <span aria-hidden="true">↓ {count(link.waiting_in)}</span>
          <span class="hidden">{tn("waitingIn", link.waiting_in)}</span>
        </span>
      </span>
      <span class="muted second">{quiet ? t("upToDate") : none ? "\u00a0" : t("queued")}</span>
    </Cell>
  );
}

function LastExchange({ link }: { link: LinkReport }) {
  const { now } = useApp();
  const at = link.last_exchange ? new Date(link.last_exchange) : undefined;
  return (
    <Cell label="lastExchange">
      {at ? <Moment words={ago(at, now.value)} at={at} /> : <span class="muted">{t("never")}</span>}
    </Cell>
  );
}

function Action({ link }: { link: LinkReport }) {
  const { setPaused } = useApp();
  const paused = link.state === "paused";
  return (
    <td role="cell" class="actions">
      <button
        type="button"
        aria-label={t(paused ? "resumeLink" : "pauseLink", { name: link.link })}
        onClick={() => void setPaused(link.id, !paused)}
      >
        {t(paused ? "resume" : "pause")}
      </button>
    </td>
  );
}
