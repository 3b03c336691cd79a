// @ts-check
/**
 * The words and the ways of writing times in the language of the reader.
 *
 * Promises: a language we do not have falls back to the next one wanted and then to English; only one catalogue is fetched;
 * times follow the reader's region where it speaks the same language, and the reader's clock in any (5:30 pm in Boston,
 * 17:30 in London, and in English words for a Swede).
 */

import { makeTranslator, pickLocale } from "../i18n.js";

const LOCALES = ["en", "sv", "de", "es", "fr", "ru", "zh"];

/** @typedef {ReturnType<typeof makeTranslator>} Words */

/** @param {readonly string[]} wanted languages, the best first @returns {Promise<Words>} */
export async function loadWords(wanted) {
  const locale = pickLocale(wanted, LOCALES);
  // After a failure the launcher asks for this module under another address, and this module for its catalogue.
  const { search } = new URL(import.meta.url);
  const { default: catalogue } = await import(`./locales/${locale}.js${search}`);
  const regional = navigator.languages.find((tag) => tag.startsWith(`${locale}-`)) ?? locale;
  return makeTranslator(catalogue, regional, { clock: navigator.languages[0] });
}
