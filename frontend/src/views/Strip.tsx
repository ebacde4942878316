/** Browser ↔ server: silent while all is well. Its place is kept, so that nothing jumps when it speaks. */

import { useApp } from "../app";
import { clockTime, t } from "../i18n";

export function Strip() {
  const { live, page } = useApp();
  const contact = live.contact.value;
  return (
    <div class="strip" role="status">
      {contact === "lost" && <p>{lostText(live.asOf.value)}</p>}
      {contact === "denied" && (
        <p>
          {t("denied")} <a href={page.urls.login}>{t("logIn")}</a>
        </p>
      )}
    </div>
  );
}

function lostText(asOf: Date | undefined): string {
  return asOf ? t("lost", { time: clockTime(asOf, new Date()) }) : t("notReached");
}
