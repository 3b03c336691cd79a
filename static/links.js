// @ts-check
/**
 * Finds the links in what somebody wrote.
 *
 * Promises: only `http:` and `https:` become links, whatever else the words pretend to be, and `www.` stands for the latter;
 * the text shown is the text written, character by character, so that a link never says another address than the one it
 * opens. Mails do the same (`chatd/notify/web_addresses.py`).
 */

// Controls that turn the direction of writing end an address: with them "exe.gnp" can be made to look like "png.exe".
const ADDRESS = /\b(?:https?:\/\/|www\.(?=[^\s.]+\.[^\s.]))[^\s<>"'`\u0000-\u001f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]+/giu;
const SENTENCE_END = /[.,;:!?…。、，！？；：»”’*_~]+$/u;
/** A word that goes on before "www." is no address of its own: mia@www.example.com. */
const NOT_BEFORE = "@/.-";
const BRACKETS = [
  ["(", ")"],
  ["[", "]"],
  ["{", "}"],
  ["（", "）"],
  ["《", "》"],
];

/** @param {string} text @param {string} character */
const count = (text, character) => text.split(character).length - 1;

/**
 * The address without the punctuation of the sentence around it; a bracket stays when it was opened inside.
 *
 * @param {string} found
 */
function withoutSentence(found) {
  let address = found;
  for (let before = ""; before !== address;) {
    before = address;
    address = address.replace(SENTENCE_END, "");
    for (const [open, shut] of BRACKETS) {
      if (address.endsWith(shut) && count(address, shut) > count(address, open))
        address = address.slice(0, -shut.length);
    }
  }
  return address;
}

/** @param {string} address @returns {string | null} */
function safe(address) {
  try {
    const url = new URL(/^www\./i.test(address) ? `https://${address}` : address);
    return (url.protocol === "https:" || url.protocol === "http:") && url.hostname ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} text
 * @returns {{text: string, href?: string}[]} in order; joined, their texts are `text`
 */
export function segmentsOf(text) {
  /** @type {{text: string, href?: string}[]} */
  const segments = [];
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = withoutSentence(match[0]);
    const href = safe(address);
    const start = /** @type {number} */ (match.index);
    if (href === null || (start > 0 && NOT_BEFORE.includes(text[start - 1]))) continue;
    if (start > done) segments.push({ text: text.slice(done, start) });
    segments.push({ text: address, href });
    done = start + address.length;
  }
  if (done < text.length) segments.push({ text: text.slice(done) });
  return segments;
}

/** One to three emoji and nothing else; such a message is drawn large. @param {string} text */
export function isEmojiOnly(text) {
  const trimmed = text.trim();
  if (!trimmed || trimmed.length > 40) return false;
  const emoji =
    trimmed.match(
      /\p{RI}{2}|\p{Extended_Pictographic}(?:\p{EMod}|\ufe0f)?(?:\u200d\p{Extended_Pictographic}(?:\p{EMod}|\ufe0f)?)*/gu,
    ) ?? [];
  return emoji.length <= 3 && emoji.join("") === trimmed.replace(/\s/gu, "");
}
