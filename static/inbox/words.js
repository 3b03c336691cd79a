// @ts-check
/**
 * The language of the inbox: the catalogue that was chosen or fits the browser, and how times and errors are said.
 */

import { makeTranslator, pickLocale } from "../i18n.js";

/** Each under its own name, so that it is found by those who read no other. */
export const LANGUAGES = Object.freeze({
  en: "English",
  sv: "Svenska",
  de: "Deutsch",
  es: "Español",
  fr: "Français",
  ru: "Русский",
  zh: "中文",
});

/** Where the command key is not Ctrl. `platform` is deprecated, and all that every browser tells. */
const APPLE = /^(Mac|iPhone|iPad)/;

const DAY_MS = 86_400_000;

/**
 * @param {object} facts
 * @param {string} facts.chosen the language that was set by hand, or ""
 * @param {readonly string[]} facts.wanted the languages of the browser, best first
 * @param {{name: string, colour: string}} facts.shop what is known of the shop before chatd has told
 * @param {string} [facts.clock] the language whose clock the reader lives by
 */
export async function loadWords({ chosen, wanted, shop, clock }) {
  const language = pickLocale([chosen, ...wanted].filter(Boolean), Object.keys(LANGUAGES));
  const { default: catalogue } = await import(`./locales/${language}.js`);
  // The same language as somebody's region writes it: en-GB tells the time otherwise than en-US.
  const locale = wanted.find((tag) => tag.split("-")[0] === language) ?? language;
  return makeWords(catalogue, language, locale, shop, clock, APPLE.test(globalThis.navigator?.platform ?? ""));
}

/**
 * @param {Record<string, any>} catalogue
 * @param {string} language
 * @param {string} locale
 * @param {{name: string, colour: string}} shop
 * @param {string} [clock]
 * @param {boolean} [apple] whether the keyboard is one of Apple's
 */
export function makeWords(catalogue, language, locale, shop, clock, apple = false) {
  const t = makeTranslator(catalogue, locale, { clock });
  const relativeDays = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const weekday = new Intl.DateTimeFormat(locale, { weekday: "short" });
  const shortDay = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
  const percent = new Intl.NumberFormat(locale, { style: "percent" });
  const longDay = new Intl.DateTimeFormat(locale, { dateStyle: "long" });
  const farDay = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", year: "numeric" });

  /** Today as a time, this week as a weekday, before that as a date. @param {number} at @param {number} [now] */
  const rowTime = (at, now = Date.now()) => {
    const days = daysBetween(at, now);
    if (days <= 0) return t.time(at);
    if (days === 1) return t.dayBreak(at, now);
    if (days < 7) return weekday.format(at);
    return (new Date(at).getFullYear() === new Date(now).getFullYear() ? shortDay : farDay).format(at);
  };

  /** A day and a time, to stand within a sentence. @param {number} at @param {number} [now] */
  const moment = (at, now = Date.now()) => {
    const days = daysBetween(at, now);
    if (days <= 0) return t.time(at);
    return t("time.day_and_time", {
      day: days === 1 ? relativeDays.format(-1, "day") : rowTime(at, now),
      time: t.time(at),
    });
  };

  /** What chatd's refusal means for whoever reads it. @param {{code?: string, facts?: any} | null | undefined} error */
  const error = (error) => {
    const key = `error.${error?.code ?? "unknown"}`;
    return t(Object.hasOwn(catalogue, key) ? key : "error.unknown", error?.facts ?? {});
  };

  const commandKey = apple ? "⌘" : language === "de" ? "Strg" : "Ctrl";

  return {
    t,
    /** As it stands on the key, and as it stands before another key within a sentence. */
    commandKey,
    command: apple ? commandKey : `${commandKey}+`,
    language,
    locale,
    shop,
    rowTime,
    moment,
    error,
    number: t.number,
    percent: (/** @type {number} */ share) => percent.format(share),
    money: t.money,
    time: t.time,
    day: t.dayBreak,
    date: (/** @type {number} */ at) => longDay.format(at),
    fullTime: t.dateTime,
  };
}

/** How many midnights lie between, where the reader is. @param {number} at @param {number} now */
function daysBetween(at, now) {
  const midnight = (/** @type {number} */ instant) => new Date(instant).setHours(0, 0, 0, 0);
  return Math.round((midnight(now) - midnight(at)) / DAY_MS);
}
