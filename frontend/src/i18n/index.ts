/** Texts in the page's language: catalogues, plurals, numbers, dates. Components that call these follow a switch. */

import { computed, signal } from "@preact/signals";
import { en } from "./en";
import { ru } from "./ru";

/** A text per plural category of `Intl.PluralRules`. */
export type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };
type Source = typeof en;
export type Catalogue = { [Key in keyof Source]: Source[Key] };
type Kind<Type> = { [Key in keyof Source]: Source[Key] extends Type ? Key : never }[keyof Source];
export type TextKey = Kind<string>;
export type PluralKey = Kind<Plural>;
type Values = Record<string, string | number>;

export const catalogues: Record<string, Catalogue> = { en, ru };
/** How each language calls itself. */
export const languageNames: Record<string, string> = { en: "English", ru: "Русский" };

export const language = signal("en");

const tools = computed(() => {
  const code = language.value;
  return {
    texts: catalogues[code] ?? en,
    plural: new Intl.PluralRules(code),
    number: new Intl.NumberFormat(code),
    relative: new Intl.RelativeTimeFormat(code, { numeric: "auto", style: "short" }),
    time: new Intl.DateTimeFormat(code, { timeStyle: "short" }),
    exact: new Intl.DateTimeFormat(code, { dateStyle: "long", timeStyle: "medium" }),
    day: new Intl.DateTimeFormat(code, { dateStyle: "short", timeStyle: "short" }),
  };
});

/** Fill the `{name}` gaps of a text. */
export function fill(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (gap, name: string) => String(values[name] ?? gap));
}

export function t(key: TextKey, values: Values = {}): string {
  return fill(tools.value.texts[key], values);
}

/** A text with a number in it, in the plural form that the number asks for. */
export function tn(key: PluralKey, n: number): string {
  const { texts, plural, number } = tools.value;
  const forms: Plural = texts[key];
  return fill(forms[plural.select(n)] ?? forms.other, { n: number.format(n) });
}

export function count(n: number): string {
  return tools.value.number.format(n);
}

/** The exact moment: date and time to the second. */
export function exact(moment: Date): string {
  return tools.value.exact.format(moment);
}

/** The time of day, with the date when it is not today. */
export function clockTime(moment: Date, now: Date): string {
  const { time, day } = tools.value;
  return moment.toDateString() === now.toDateString() ? time.format(moment) : day.format(moment);
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long ago, in steps coarse enough not to flicker: "now", "10 sec. ago", "3 min. ago". */
export function ago(moment: Date, now: Date): string {
  const seconds = Math.max(0, (now.getTime() - moment.getTime()) / 1000);
  const { relative } = tools.value;
  if (seconds < MINUTE) return relative.format(-Math.floor(seconds / 5) * 5, "second");
  if (seconds < HOUR) return relative.format(-Math.floor(seconds / MINUTE), "minute");
  if (seconds < DAY) return relative.format(-Math.floor(seconds / HOUR), "hour");
  return relative.format(-Math.floor(seconds / DAY), "day");
}
