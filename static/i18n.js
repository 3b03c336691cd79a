// @ts-check
/**
 * Words, numbers, money and times in the language of the reader. The words come from a catalogue, everything else from the
 * browser (`Intl`). No text that a person reads stands here.
 *
 * A catalogue is a plain object: `{"sent": "Sent", "unread": {"one": "{count} unread", "other": "{count} unread"}}`.
 *
 * @typedef {Record<string, string | Record<string, string>>} Catalogue
 * @typedef {Record<string, string | number>} Facts
 */

const MINUTE_MS = 60_000,
  HOUR_MS = 60 * MINUTE_MS,
  DAY_MS = 24 * HOUR_MS;

/**
 * The translator is called with a key and facts, and has the formatters; it may be taken apart:
 * `const { t, time, money } = makeTranslator(…)`.
 *
 * In a text `{name}` stands for a fact; numbers are written as the language does. A text with forms is chosen by the fact
 * `count` and the plural rules of the language. A key that is missing comes back as it is, to be seen and mended.
 *
 * @param {Catalogue} catalogue
 * @param {string} locale a BCP 47 tag, as `pickLocale` gives it
 * @param {object} [reader]
 * @param {string} [reader.timeZone] for tests; otherwise the reader's own
 * @param {string} [reader.clock] the language whose clock the reader lives by, 19:25 or 7:25 PM; otherwise the `locale`
 */
export function makeTranslator(catalogue, locale, { timeZone, clock = locale } = {}) {
  const { hourCycle } = new Intl.DateTimeFormat(clock, { hour: "numeric" }).resolvedOptions();
  const plurals = new Intl.PluralRules(locale);
  const numbers = new Intl.NumberFormat(locale);
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" });
  const relativeDays = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const dates = (/** @type {Intl.DateTimeFormatOptions} */ options) =>
    new Intl.DateTimeFormat(locale, { ...options, timeZone });
  const times = dates({ hour: "numeric", minute: "2-digit", hourCycle });
  const dateTimes = dates({ dateStyle: "long", timeStyle: "short", hourCycle });
  const shortDates = dates({ dateStyle: "short" });
  const daysOfThisYear = dates({ weekday: "long", day: "numeric", month: "long" });
  const daysOfOtherYears = dates({ day: "numeric", month: "long", year: "numeric" });
  // The civil date in the reader's zone, whatever the language's calendar is.
  const civil = new Intl.DateTimeFormat("en-u-ca-gregory", {
    year: "numeric",
    month: "numeric",
    day: "numeric",
    timeZone,
  });
  /** @type {Map<string, Intl.NumberFormat>} */
  const currencies = new Map();

  /** @param {string} key @param {Facts} [facts] @returns {string} */
  const t = (key, facts = {}) => {
    let text = Object.hasOwn(catalogue, key) ? catalogue[key] : key;
    if (typeof text !== "string") text = text[plurals.select(Number(facts.count ?? 0))] ?? text.other;
    return text.replace(/\{(\w+)\}/g, (placeholder, name) => {
      if (!Object.hasOwn(facts, name)) return placeholder;
      return typeof facts[name] === "number" ? number(facts[name]) : String(facts[name]);
    });
  };

  /** @param {number} value */
  const number = (value) => numbers.format(value);

  /** Integer minor units of a currency: `money(12900, "EUR")` is 129 euro, `money(12900, "JPY")` 12,900 yen.
   * @param {number} minor @param {string} currency */
  const money = (minor, currency) => {
    let format = currencies.get(currency);
    if (!format) {
      try {
        format = new Intl.NumberFormat(locale, { style: "currency", currency });
      } catch {
        return `${number(minor)} ${currency}`; // no currency code: what it is worth cannot be known
      }
      currencies.set(currency, format);
    }
    const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
    const whole = String(Math.abs(minor)).padStart(digits + 1, "0");
    // As decimal text: a floating-point number would not hold every amount to the cent.
    const decimal = `${minor < 0 ? "-" : ""}${whole.slice(0, whole.length - digits)}.${whole.slice(whole.length - digits)}`;
    return format.format(/** @type {any} */ (decimal));
  };

  /** 14:05. @param {number} ms since 1970 */
  const time = (ms) => times.format(ms);
  /** 22/11/2025. @param {number} ms */
  const date = (ms) => shortDates.format(ms);
  /** 22 November 2025 at 14:05. @param {number} ms */
  const dateTime = (ms) => dateTimes.format(ms);

  /** A day's place on the calendar, so that yesterday is one less also where a day has 23 hours. @param {number} ms */
  const dayNumber = (ms) => {
    const [month, day, year] = civil.format(ms).split("/").map(Number);
    return Date.UTC(year, month - 1, day) / DAY_MS;
  };

  /** "5 min. ago". A clock that runs slow does not make the past the future: the least is "now".
   * @param {number} ms @param {number} [now] */
  const relativeTime = (ms, now = Date.now()) => {
    const ago = now - ms;
    if (ago < MINUTE_MS) return relative.format(0, "second");
    if (ago < HOUR_MS) return relative.format(-Math.floor(ago / MINUTE_MS), "minute");
    if (ago < DAY_MS) return relative.format(-Math.floor(ago / HOUR_MS), "hour");
    return relative.format(-Math.floor(ago / DAY_MS), "day");
  };

  /** "Today", "Yesterday", or the date. @param {number} ms @param {number} [now] */
  const dayBreak = (ms, now = Date.now()) => {
    const ago = dayNumber(now) - dayNumber(ms);
    if (ago === 0 || ago === 1) return capitalized(relativeDays.format(-ago, "day"), locale);
    const sameYear = civil.format(ms).split("/")[2] === civil.format(now).split("/")[2];
    return capitalized((sameYear ? daysOfThisYear : daysOfOtherYears).format(ms), locale);
  };

  /** When it was, as short as a list needs it: the time, "Yesterday", or the date. @param {number} ms @param {number} [now] */
  const listTime = (ms, now = Date.now()) => {
    const ago = dayNumber(now) - dayNumber(ms);
    if (ago === 0) return time(ms);
    return ago === 1 ? dayBreak(ms, now) : date(ms);
  };

  return Object.assign(t, { t, locale, number, money, time, date, dateTime, relativeTime, dayBreak, listTime });
}

/** @param {string} text @param {string} locale */
function capitalized(text, locale) {
  const [first = "", ...rest] = text;
  return first.toLocaleUpperCase(locale) + rest.join("");
}

/**
 * The best of the available languages for what is wanted, best first (RFC 4647 section 3.4, "Lookup": `de-AT` finds `de`);
 * the first available when nothing fits.
 *
 * @param {string | readonly string[]} wanted
 * @param {readonly string[]} available
 */
export function pickLocale(wanted, available) {
  for (const tag of [wanted].flat()) {
    const parts = String(tag ?? "")
      .replaceAll("_", "-")
      .split("-");
    for (let length = parts.length; length > 0; length--) {
      const candidate = parts.slice(0, length).join("-").toLowerCase();
      const found = available.find((one) => one.toLowerCase() === candidate);
      if (found) return found;
    }
  }
  return available[0];
}
