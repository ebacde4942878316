/** The list of links. Roles are spelled out because cards on narrow screens take the table's own away. */

import { useApp } from "../app";
import { t } from "../i18n";
import { type Column, columnTitle } from "./columns";
import { LinkRow } from "./LinkRow";

const COLUMNS: readonly Column[] = [
  "status",
  "name",
  "mode",
  "waiting",
  "problems",
  "conflicts",
  "sent",
  "lastExchange",
  "peer",
];
const SKELETON = [1, 2, 3];

export function LinkTable() {
  const { page, store } = useApp();
  const ids = store.ids.value;
  if (ids?.length === 0) return <Empty />;
  const columns = page.mayConfigure ? [...COLUMNS, "actions" as const] : COLUMNS;
  return (
    <table class="links" role="table" aria-labelledby="links-title" aria-busy={!ids}>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((key) => (
            <th role="columnheader" scope="col" key={key} class={key}>
              {columnTitle(key)}
            </th>
          ))}
        </tr>
      </thead>
      {ids?.map((id) => <LinkRow id={id} columns={columns.length} key={id} />) ?? (
        <Skeleton columns={columns.length} />
      )}
    </table>
  );
}

function Skeleton({ columns }: { columns: number }) {
  return (
    <tbody role="rowgroup" class="skeleton">
      <tr role="row">
        <td role="cell" colSpan={columns}>
          <span class="hidden">{t("loading")}</span>
          {SKELETON.map((row) => (
            <span class="bone" aria-hidden="true" key={row} />
          ))}
        </td>
      </tr>
    </tbody>
  );
}

function Empty() {
  return (
    <div class="empty">
      <p class="big">{t("noLinks")}</p>
      <p class="muted">
        {t("noLinksHint")} <code>python manage.py syncconfig apply links.toml</code>
      </p>
    </div>
  );
}
