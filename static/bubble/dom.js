// @ts-check
/**
 * Making elements, icons and avatars without a framework.
 *
 * Promises: what comes in as a string goes out as text, never as markup.
 */

/**
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes
 */

/**
 * An element. `tag` may carry classes ("p.line.quiet"). An attribute that is `true` stands without a value, one that is
 * `false`, `null` or `undefined` is left out, and one named `on…` is a listener.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T | `${T}.${string}`} tag
 * @param {Attributes | null} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = /** @type {HTMLElementTagNameMap[T]} */ (document.createElement(name));
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, String(value));
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/** Strokes on a grid of 20. */
const PATHS = {
  send: ["M10 16V4.5", "M5 9.500l5-5 5 5"],
  smile: [
    "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14Z",
    "M7 11.500c.7 1.2 1.7 1.8 3 1.800s2.3-.6 3-1.8",
    "M7.7 8h.01M12.3 8h.01",
  ],
  close: ["M5.5 5.500l9 9M14.5 5.500l-9 9"],
  down: ["M5.5 8l4.5 4.500L14.5 8"],
  mail: [
    "M3.5 6.500a1.5 1.5 0 0 1 1.5-1.500h10a1.5 1.5 0 0 1 1.5 1.500v7a1.5 1.5 0 0 1-1.5 1.500h-10a1.5 1.5 0 0 1-1.5-1.500Z",
    "M4 6.500l6 4.5 6-4.5",
  ],
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  for (const line of PATHS[name]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", line);
    svg.append(path);
  }
  return svg;
}

const segmenter = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "grapheme" }) : null;

/** The first letter as a reader sees it: an emoji or a letter with its marks stays whole. @param {string} word */
function firstLetter(word) {
  const first = segmenter ? segmenter.segment(word)[Symbol.iterator]().next().value?.segment : [...word][0];
  return (first ?? "").toLocaleUpperCase();
}

/** A round stand-in for a picture: the initials, hidden from screen readers because the name stands beside it. @param {string} name @param {string} [kind] */
export function avatar(name, kind = "") {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const last = words.length > 1 ? words[words.length - 1] : "";
  return h(
    "span",
    { class: `avatar ${kind}`, "aria-hidden": "true" },
    firstLetter(words[0] ?? "") + (kind === "shop" ? "" : firstLetter(last)),
  );
}
