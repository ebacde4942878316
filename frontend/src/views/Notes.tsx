/** Under a link: why it is not connected and what to do, warnings, fields that do not flow. */

import { useSignal } from "@preact/signals";
import { useApp } from "../app";
import { t } from "../i18n";
import type { LinkReport } from "../types";

export function Notes({ link, columns }: { link: LinkReport; columns: number }) {
  const address = useOwnAddress(link);
  if (!(link.reason || link.warnings.length || link.suspended.length || address)) return null;
  return (
    <tr role="row" class="notes">
      <td role="cell" colSpan={columns}>
        {link.reason && <p class="reason">{link.reason}</p>}
        {address && <OwnAddress address={address} />}
        {link.warnings.map((warning) => (
          <p class="warning" key={warning}>
            {warning}
          </p>
        ))}
        {link.suspended.length > 0 && (
          <details>
            <summary>
              {t("suspendedFields")}: {link.suspended.length}
            </summary>
            <ul>
              {link.suspended.map((one) => (
                <li key={one.field}>
                  <code>{one.field}</code> {one.sentence}
                </li>
              ))}
            </ul>
          </details>
        )}
      </td>
    </tr>
  );
}

/** What the other program's administrator has to enter, while a passive link waits for the first call. */
function useOwnAddress(link: LinkReport): string {
  const { page } = useApp();
  if (link.state !== "never" || !link.code) return "";
  return new URL(`${page.urls.peer}${link.code}/`, location.href).href;
}

function OwnAddress({ address }: { address: string }) {
  const copied = useSignal(false);
  async function copy() {
    await navigator.clipboard?.writeText(address);
    copied.value = true;
  }
  return (
    <p class="address">
      {t("ownAddress")}: <code>{address}</code>{" "}
      {"clipboard" in navigator && (
        <button type="button" onClick={() => void copy()}>
          {t(copied.value ? "copied" : "copy")}
        </button>
      )}
    </p>
  );
}
