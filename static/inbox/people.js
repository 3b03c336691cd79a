// @ts-check
/**
 * What to call somebody, and the stand-in for their picture.
 *
 * Promises: the same id always gives the same colour and the same stand-in name, on every page and for every colleague.
 */

/** How many colours the style sheet knows (`[data-hue="0"]` and on). */
export const HUES = 10;

const segmenter = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** The first letter or digit as a reader sees it, with its marks. @param {string} word */
function firstLetter(word) {
  const start = word.search(/[\p{L}\p{N}]/u);
  if (start < 0) return "";
  const rest = word.slice(start, start + 32);
  const letter = segmenter
    ? (segmenter.segment(rest)[Symbol.iterator]().next().value?.segment ?? "")
    : ([...rest][0] ?? "");
  return letter.toLocaleUpperCase();
}

/**
 * One or two letters. Empty when the name has none; then a picture of a person stands there.
 *
 * @param {string} name
 */
export function initialsOf(name) {
  const letters = name.trim().slice(0, 200).split(/\s+/u).map(firstLetter).filter(Boolean);
  // Scripts without capitals and spaces (Chinese, Japanese, Korean, Arabic) read better with one letter than with two.
  if (letters.length < 2 || !/^\p{Lu}/u.test(letters[0])) return letters[0] ?? "";
  return letters[0] + letters[letters.length - 1];
}

/** A stable number from 0 to HUES - 1 (FNV-1a, which spreads ids that differ in one place). @param {string} id */
export function hueOf(id) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index += 1) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % HUES;
}

/** The last four letters and digits of an id, for telling nameless visitors apart. @param {string} id */
export const shortIdOf = (id) =>
  id
    .replace(/[^A-Za-z0-9]/g, "")
    .slice(-4)
    .toUpperCase();

/**
 * @param {{id: string, name?: string, email?: string}} person
 * @param {(key: string, facts?: Record<string, any>) => string} t
 */
export const nameOf = (person, t) => person.name?.trim() || t("person.visitor_named", { id: shortIdOf(person.id) });
