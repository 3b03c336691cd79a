// @ts-check
/** The red number of unread messages, with its words for those who hear it. */

import { h, setText } from "./dom.js";

/** More than this is shown as "99+"; the words have the number. */
const SHOWN_MAX = 99;

/** @returns {any} */
export const makeCount = () =>
  h("span.count", { hidden: true }, h("span", { "aria-hidden": "true" }), h("span.unseen", null));

/** @param {HTMLElement} element @param {number} count @param {any} words */
export function showCount(element, count, words) {
  element.hidden = count === 0;
  if (count === 0) return;
  const [shown, said] = element.children;
  setText(shown, count > SHOWN_MAX ? `${words.number(SHOWN_MAX)}+` : words.number(count));
  setText(said, words.t("unread.count", { count }));
}
