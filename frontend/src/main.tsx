/** Starts the panel on the page that Django serves. */

import { effect } from "@preact/signals";
import { render } from "preact";
import { AppProvider, createApp } from "./app";
import { language, t } from "./i18n";
import "./style.css";
import type { Page } from "./types";
import { Panel } from "./views/Panel";

const page = JSON.parse(document.getElementById("page")?.textContent ?? "{}") as Page;
const root = document.getElementById("app") as HTMLElement;

language.value = page.language;
effect(() => {
  document.documentElement.lang = language.value;
  document.title = `${t("title")} · ${page.title}`;
});

const app = createApp(page);
app.live.start();
setInterval(() => {
  // Times stand still with the data that they belong to.
  if (app.live.contact.value === "here") app.now.value = new Date(Date.now() + app.live.skew.value);
}, 1_000);

root.replaceChildren();
render(
  <AppProvider value={app}>
    <Panel />
  </AppProvider>,
  root,
);
