// @ts-check
/**
 * What the panel and the hosted page wear: the style sheets, and the shop's colour made usable as a ground with text on it
 * and as text on the panel, in the light and the dark scheme.
 *
 * Promises: sheets are adopted and not linked, so that a strict Content-Security-Policy of the shop's page has no say in
 * them; text on the colour, and the colour as text, keep a contrast of 4.5 (WCAG 2.2, 1.4.3) whatever colour a shop
 * has chosen; a colour that would vanish on the panel is moved until it shows.
 */

/** @typedef {[number, number, number]} Rgb channels from 0 to 255 */

/** The ground of the shop's messages (surface 2 and 3 of tokens.css), where contrast is hardest to keep. */
const GROUND = { light: "#f2f1ee", dark: "#2d3036" };
const FALLBACK = "#0f766e";

/** @param {string} hex @returns {Rgb} */
const channels = (hex) => /** @type {Rgb} */ ([1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/** @param {Rgb} rgb */
const luminance = (rgb) => {
  const [red, green, blue] = rgb.map((value) =>
    value <= 10.31 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};

/** WCAG's contrast ratio, 1 to 21. @param {Rgb} one @param {Rgb} other */
export const contrast = (one, other) => {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};

/** The nearest shade of the colour that keeps the ratio on this ground. @param {Rgb} colour @param {Rgb} ground @param {number} ratio @returns {Rgb} */
function shade(colour, ground, ratio) {
  const end = luminance(ground) > 0.18 ? 0 : 255;
  for (let step = 0; step <= 20; step += 1) {
    const mixed = /** @type {Rgb} */ (colour.map((value) => Math.round(value + ((end - value) * step) / 20)));
    if (contrast(mixed, ground) >= ratio) return mixed;
  }
  return [end, end, end];
}

/** @param {string} colour `#rrggbb`; anything else is not let into a style sheet @returns {string} declarations of custom properties */
export function palette(colour) {
  const own = channels(/^#[0-9a-f]{6}$/i.test(colour) ? colour : FALLBACK);
  const css = (/** @type {Rgb} */ rgb) => `rgb(${rgb.join(" ")})`;
  const scheme = (/** @type {string} */ panel) => {
    const ground = channels(panel);
    // 1.3 only asks that the shape of a bubble shows; the words in it have their own contrast.
    const fill = shade(own, ground, 1.3);
    // Ink reads softer than black; black is for the few colours on which neither white nor ink reaches the contrast.
    const on = ["#ffffff", "#16181d"].map(channels).find((words) => contrast(words, fill) >= 4.5) ?? [0, 0, 0];
    return { fill, on, text: shade(own, ground, 4.5) };
  };
  const declarations = (/** @type {ReturnType<typeof scheme>} */ { fill, on, text }) =>
    `--accent:${css(fill)};--on-accent:${css(on)};--accent-text:${css(text)};`;
  return `:host{${declarations(scheme(GROUND.light))}}@media (prefers-color-scheme:dark){:host{${declarations(scheme(GROUND.dark))}}}`;
}

/** @param {string} name a file beside this one */
async function loadSheet(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(await response.text());
  return sheet;
}

/** @param {string} colour the shop's, `#rrggbb` */
export async function loadStyles(colour) {
  const shop = new CSSStyleSheet();
  shop.replaceSync(palette(colour));
  return [...(await Promise.all([loadSheet("../tokens.css"), loadSheet("panel.css")])), shop];
}
