// @ts-check
/** Words, numbers, money and times in the languages of the faces. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { makeTranslator, pickLocale } from "../../static/i18n.js";

const plain = (text) => text.replace(/[\u00a0\u202f\u2009]/g, " ");
const NOON = Date.UTC(2025, 10, 22, 12, 0); // a Saturday
const HOUR = 3_600_000,
  DAY = 24 * HOUR;

describe("words", () => {
  const t = makeTranslator(
    {
      sent: "Sent",
      mailed: "Will be e-mailed to {email}",
      length: "{length} of {max}",
      unread: { one: "{count} message", few: "{count} письма", many: "{count} писем", other: "{count} messages" },
      odd: "{toString} {a} {{a}} {a-b}",
    },
    "en",
  );

  test("facts are put in, numbers as the language writes them", () => {
    assert.equal(t("sent"), "Sent");
    assert.equal(t("mailed", { email: "mia@example.com" }), "Will be e-mailed to mia@example.com");
    assert.equal(t("length", { length: 12, max: 4000 }), "12 of 4,000");
  });

  test("what a customer writes is no pattern", () => {
    assert.equal(t("mailed", { email: "$& {email} $1 <b>" }), "Will be e-mailed to $& {email} $1 <b>");
    assert.equal(t("odd", { a: "x" }), "{toString} x {x} {a-b}");
  });

  test("plurals follow the language", () => {
    assert.deepEqual(
      [0, 1, 2, 5].map((count) => t("unread", { count })),
      ["0 messages", "1 message", "2 messages", "5 messages"],
    );
    const ru = makeTranslator(
      { unread: { one: "{count} письмо", few: "{count} письма", many: "{count} писем", other: "{count} письма" } },
      "ru",
    );
    assert.deepEqual(
      [1, 2, 5, 21, 112].map((count) => ru("unread", { count })),
      ["1 письмо", "2 письма", "5 писем", "21 письмо", "112 писем"],
    );
    assert.equal(makeTranslator({ unread: { other: "{count}条" } }, "zh").t("unread", { count: 1 }), "1条");
  });

  test("a key that is missing shows, and nothing of the prototype does", () => {
    assert.equal(t("no.such.key"), "no.such.key");
    assert.equal(t("constructor"), "constructor");
  });
});

describe("money is integer minor units", () => {
  for (const [locale, minor, currency, text] of /** @type {[string, number, string, string][]} */ ([
    ["en", 12900, "EUR", "€129.00"],
    ["de", 12900, "EUR", "129,00 €"],
    ["sv", 129950, "SEK", "1 299,50 kr"],
    ["en", 12900, "JPY", "¥12,900"],
    ["en", 1234, "KWD", "KWD 1.234"],
    ["en", 5, "USD", "$0.05"],
    ["en", 0, "USD", "$0.00"],
    ["en", -1250, "USD", "-$12.50"],
    ["en", 999_999_999_999_999, "USD", "$9,999,999,999,999.99"],
    ["en", 12900, "no", "12,900 no"],
  ])) {
    test(`${minor} ${currency} in ${locale}`, () =>
      assert.equal(plain(makeTranslator({}, locale).money(minor, currency)), text));
  }
});

describe("times", () => {
  const en = makeTranslator({}, "en", { timeZone: "UTC" });

  test("day breaks say today, yesterday or the date", () => {
    assert.equal(en.dayBreak(NOON, NOON), "Today");
    assert.equal(en.dayBreak(NOON - DAY, NOON), "Yesterday");
    assert.equal(en.dayBreak(NOON - 2 * DAY, NOON), "Thursday, November 20");
    assert.equal(en.dayBreak(Date.UTC(2024, 1, 29), NOON), "February 29, 2024");
    assert.equal(makeTranslator({}, "sv", { timeZone: "UTC" }).dayBreak(NOON, NOON), "I dag");
    assert.equal(makeTranslator({}, "ru", { timeZone: "UTC" }).dayBreak(NOON - DAY, NOON), "Вчера");
    assert.equal(makeTranslator({}, "zh", { timeZone: "UTC" }).dayBreak(NOON, NOON), "今天");
  });

  test("a day is the reader's, and may have 23 or 25 hours", () => {
    const stockholm = makeTranslator({}, "en", { timeZone: "Europe/Stockholm" });
    const summerBegins = Date.parse("2025-03-30T23:59:00+02:00");
    assert.equal(stockholm.dayBreak(Date.parse("2025-03-29T00:01:00+01:00"), summerBegins), "Yesterday");
    assert.equal(stockholm.dayBreak(Date.parse("2025-03-30T00:01:00+01:00"), summerBegins), "Today");
    assert.equal(
      makeTranslator({}, "en", { timeZone: "Pacific/Kiritimati" }).dayBreak(Date.UTC(2025, 10, 22, 9), Date.UTC(2025, 10, 22, 11)),
      "Yesterday",
    );
  });

  test("a list says the time of today, yesterday, or the date", () => {
    assert.deepEqual(
      [NOON, NOON - DAY, NOON - 9 * DAY].map((at) => plain(en.listTime(at, NOON))),
      ["12:00 PM", "Yesterday", "11/13/25"],
    );
  });

  test("how long ago; a clock that runs slow makes nothing future", () => {
    assert.equal(en.relativeTime(NOON + 2 * HOUR, NOON), "now");
    assert.equal(en.relativeTime(NOON - 59_000, NOON), "now");
    assert.equal(plain(en.relativeTime(NOON - 5 * 60_000, NOON)), "5 min. ago");
    assert.equal(plain(en.relativeTime(NOON - 3 * HOUR, NOON)), "3 hr. ago");
    assert.equal(en.relativeTime(NOON - DAY, NOON), "yesterday");
  });

  test("of every language", () => {
    for (const locale of ["en", "sv", "de", "es", "fr", "ru", "zh", "ar"]) {
      const t = makeTranslator({}, locale, { timeZone: "UTC" });
      for (const text of [
        t.time(NOON),
        t.date(NOON),
        t.dateTime(NOON),
        t.dayBreak(NOON - 5 * DAY, NOON),
        t.number(12345.6),
      ]) {
        assert.ok(text.length > 1, locale);
      }
    }
  });
});

test("the clock is that of the reader's own language, whatever the words are in", () => {
  const evening = Date.UTC(2025, 10, 22, 19, 25);
  const at = (/** @type {string} */ locale, /** @type {string | undefined} */ clock) =>
    makeTranslator({}, locale, { timeZone: "UTC", clock }).time(evening).replaceAll(/\s/g, " ");
  assert.equal(at("en", undefined), "7:25 PM");
  assert.equal(at("en", "sv-SE"), "19:25");
  assert.equal(at("en", "en-GB"), "19:25");
  assert.equal(at("de", undefined), "19:25");
});

describe("languages", () => {
  const OURS = ["en", "sv", "de", "es", "fr", "ru", "zh"];
  for (const [wanted, locale] of /** @type {[any, string][]} */ ([
    ["sv", "sv"],
    ["sv-FI", "sv"],
    ["zh-Hant-TW", "zh"],
    ["DE_at", "de"],
    [["xx", "fr-CA", "en"], "fr"],
    [[], "en"],
    ["", "en"],
    [undefined, "en"],
    [null, "en"],
    [["*"], "en"],
    ["english", "en"],
  ])) {
    test(`${JSON.stringify(wanted)} gets ${locale}`, () => assert.equal(pickLocale(wanted, OURS), locale));
  }
});
