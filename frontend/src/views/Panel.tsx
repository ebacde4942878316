/** The page: header, the strip about the server, the links. */

import { useApp } from "../app";
import { language, languageNames, t } from "../i18n";
import { LinkTable } from "./LinkTable";
import { Strip } from "./Strip";

export function Panel() {
  const { announcer, live } = useApp();
  const fresh = live.contact.value === "here" || live.contact.value === "starting";
  return (
    <div class="panel" data-fresh={fresh}>
      <Header />
      <Strip />
      <main>
        <h2 id="links-title">{t("links")}</h2>
        <Failure />
        <LinkTable />
      </main>
      <div class="hidden" aria-live="polite" aria-atomic="true" id="announcer">
        {announcer.text}
      </div>
    </div>
  );
}

function Header() {
  const { page } = useApp();
  return (
    <header>
      <div class="titles">
        <h1>{t("title")}</h1>
        <p class="muted">{page.title}</p>
      </div>
      <nav>
        {page.urls.program && <a href={page.urls.program}>{t("toProgram")}</a>}
        <span class="muted user">{page.user}</span>
        <Languages />
      </nav>
    </header>
  );
}

function Languages() {
  const { page, setLanguage } = useApp();
  return (
    <fieldset class="languages">
      <legend class="hidden">{t("language")}</legend>
      {page.languages.map((code) => (
        <button
          type="button"
          key={code}
          lang={code}
          aria-current={code === language.value}
          onClick={() => void setLanguage(code)}
        >
          {languageNames[code] ?? code}
        </button>
      ))}
    </fieldset>
  );
}

/** Only what a person asked for and did not get interrupts. */
function Failure() {
  const { failure } = useApp();
  return (
    <div role="alert" class="failure">
      {failure.value && (
        <p>
          {failure.value}{" "}
          <button
            type="button"
            onClick={() => {
              failure.value = "";
            }}
          >
            {t("dismiss")}
          </button>
        </p>
      )}
    </div>
  );
}
