// @ts-check
/**
 * The cart as a shop's page tells it, read into what chatd takes.
 *
 * Promises: pure; a mistake is explained in a sentence for the shop's developer; what chatd would refuse is not sent.
 */

const LINES_MAX = 100;
const TITLE_CHARACTERS_MAX = 300;
const URL_CHARACTERS_MAX = 2_000;

/**
 * @typedef {{id: string, title: string, quantity: number, price: number, url?: string, picture?: string}} Line
 * @typedef {{currency: string, subtotal: number, lines: Line[]}} Cart
 */

/** @param {any} value @param {number} max */
const isWhole = (value, max) => Number.isInteger(value) && value >= 0 && value <= max;
/** @type {Rule} */
const amount = [(value) => isWhole(value, 1e15), "integer minor units (12900 for 129.00)"];

/** What is right, and how to say it. @typedef {[(value: any) => boolean, string]} Rule */
/** @type {Record<string, Rule>} */
const CART = {
  currency: [(value) => /^[A-Z]{3}$/.test(value), 'an ISO 4217 code like "EUR"'],
  subtotal: amount,
  lines: [Array.isArray, "a list"],
};
/** @type {Record<string, Rule>} */
const LINE = {
  id: [
    (value) => ["string", "number"].includes(typeof value) && /^.{1,200}$/su.test(value),
    "the line's or variant's key",
  ],
  title: [(value) => typeof value === "string", "a text"],
  quantity: [(value) => isWhole(value, 1e6), "a whole number"],
  price: amount,
};

/** @param {any} value @param {Record<string, Rule>} rules */
function mistakeOf(value, rules) {
  for (const [name, [isRight, expected]] of Object.entries(rules))
    if (!isRight(value?.[name])) return `${name} is ${JSON.stringify(value?.[name])}, expected ${expected}`;
  return "";
}

/** @param {any} value @returns {{cart: Cart} | {mistake: string}} */
export function readCart(value) {
  const wrong = mistakeOf(value, CART);
  if (wrong) return { mistake: wrong };
  const { currency, subtotal } = value;
  /** @type {Line[]} */
  const lines = [];
  for (const [index, line] of value.lines.entries()) {
    const id = String(line?.id);
    const mistake =
      mistakeOf(line, LINE) || (lines.some((one) => one.id === id) && `id is "${id}", which an earlier line has as well`);
    if (mistake) return { mistake: `lines[${index}].${mistake}` };
    const { title, quantity, price, url, picture } = line;
    if (quantity)
      lines.push({
        id,
        title: [...title].slice(0, TITLE_CHARACTERS_MAX).join(""),
        quantity,
        price,
        ...address("url", url),
        ...address("picture", picture),
      });
  }
  return { cart: { currency, subtotal, lines: lines.slice(0, LINES_MAX) } };
}

/** An address that staff may follow, made absolute; left out when it is none. @param {string} name @param {unknown} value */
function address(name, value) {
  if (typeof value !== "string" || !value) return {};
  try {
    const { protocol, href } = new URL(value, document.baseURI);
    return /^https?:$/.test(protocol) && href.length <= URL_CHARACTERS_MAX ? { [name]: href } : {};
  } catch {
    return {};
  }
}
