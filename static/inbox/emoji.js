// @ts-check
/**
 * Finding an emoji by its English name, in the picker and after a colon in the field.
 */

import { EMOJI_GROUPS } from "./emoji-list.js";

/** @typedef {{emoji: string, name: string, group: string, words: string[]}} Emoji */

/** @type {readonly Emoji[]} */
export const EMOJI = EMOJI_GROUPS.flatMap(({ id, lines }) =>
  lines
    .trim()
    .split("\n")
    .map((line) => {
      const [emoji, ...words] = line.split(" ");
      return { emoji, name: words.join(" "), group: id, words };
    }),
);

/**
 * Every word of the query must begin a word of the emoji; one whose first word is meant comes first.
 *
 * @param {string} query
 * @param {number} [count]
 * @returns {Emoji[]}
 */
export function findEmoji(query, count = Infinity) {
  const wanted = query
    .toLowerCase()
    .split(/[\s_]+/)
    .filter(Boolean);
  if (wanted.length === 0) return EMOJI.slice(0, count);
  /** @type {{emoji: Emoji, rank: number}[]} */
  const found = [];
  for (const emoji of EMOJI) {
    const places = wanted.map((word) => emoji.words.findIndex((name) => name.startsWith(word)));
    if (places.every((place) => place >= 0)) {
      const exact = wanted.some((word) => emoji.words.includes(word));
      found.push({ emoji, rank: Math.min(...places) * 2 - (exact ? 1 : 0) });
    }
  }
  return found
    .sort((a, b) => a.rank - b.rank)
    .slice(0, count)
    .map(({ emoji }) => emoji);
}

/**
 * What is being looked for when the caret stands after a colon and at least two letters, as in "thanks :smi|".
 * The colon must begin a word: "10:30" and "https://" look for nothing.
 *
 * @param {string} text
 * @param {number} caret
 * @returns {{start: number, query: string} | null}
 */
export function emojiQueryAt(text, caret) {
  const match = /(?:^|\s):([A-Za-z+][A-Za-z0-9_+-]{1,24})$/.exec(text.slice(Math.max(0, caret - 40), caret));
  return match ? { start: caret - match[1].length - 1, query: match[1] } : null;
}
