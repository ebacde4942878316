import { afterEach, describe, expect, it } from "vitest";
import { ago, catalogues, clockTime, fill, language, type Plural, t, tn } from "../src/i18n";
import { en } from "../src/i18n/en";
import { ru } from "../src/i18n/ru";

afterEach(() => {
  language.value = "en";
});

const gaps = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

describe("catalogues", () => {
  it("have the same keys", () => {
    for (const texts of Object.values(catalogues)) expect(Object.keys(texts)).toEqual(Object.keys(en));
  });

  it("fill the same gaps in both languages", () => {
    for (const [key, text] of Object.entries(en)) {
      const other = ru[key as keyof typeof ru];
      if (typeof text === "string") expect(gaps(other as string), key).toEqual(gaps(text));
      else
        for (const form of Object.values(other as Plural)) expect(gaps(form), key).toEqual(gaps(text.other));
    }
  });

  it("are translated, and spell without ё", () => {
    for (const [key, text] of Object.entries(ru)) {
      const forms = typeof text === "string" ? [text] : Object.values(text);
      for (const form of forms) {
        expect(form, key).not.toMatch(/ё/i);
        expect(
          ["WebSocket", "HTTP", "FTP", "{name}: {state}"].includes(form) || /[а-я]/i.test(form),
          `${key}: ${form}`,
        ).toBe(true);
      }
    }
  });

  it("have every plural form that Russian asks for", () => {
    for (const text of Object.values(ru)) {
      if (typeof text !== "string") expect(Object.keys(text).sort()).toEqual(["few", "many", "one", "other"]);
    }
  });
});

describe("texts", () => {
  it.each([
    [1, "Изменилось состояние 1 подключения"],
    [2, "Изменилось состояние 2 подключений"],
    [5, "Изменилось состояние 5 подключений"],
    [21, "Изменилось состояние 21 подключения"],
  ])("choose the Russian plural for %i", (n, expected) => {
    language.value = "ru";
    expect(tn("manyChanged", n)).toBe(expected);
  });

  it("leave an unknown gap visible", () => {
    expect(fill("{a} and {b}", { a: 1 })).toBe("1 and {b}");
  });

  it("follow the language", () => {
    expect(t("offlineSince", { time: "12:04" })).toBe("Offline since 12:04");
    language.value = "ru";
    expect(t("offlineSince", { time: "12:04" })).toBe("Нет связи с 12:04");
  });
});

describe("times", () => {
  const now = new Date(2026, 2, 1, 12, 0, 0);
  const earlier = (seconds: number) => new Date(now.getTime() - seconds * 1000);

  it.each([
    [0, "now"],
    [4.9, "now"],
    [13, "10 sec. ago"],
    [125, "2 min. ago"],
    [7300, "2 hr. ago"],
    [200_000, "2 days ago"],
  ])("%d seconds are %s", (seconds, expected) => {
    expect(ago(earlier(seconds), now)).toBe(expected);
  });

  it("never lie in the future when clocks differ", () => {
    expect(ago(new Date(now.getTime() + 60_000), now)).toBe("now");
  });

  it("carry the date when it is not today", () => {
    expect(clockTime(earlier(60), now)).not.toMatch(/2026|26/);
    expect(clockTime(earlier(90_000), now)).toMatch(/26/);
  });
});
