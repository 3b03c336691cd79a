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

/** @param {any} value @returns {{cart: Cart} | {mistake: string}} */
export function readCart(value) {
  if (!value || typeof value !== "object") return { mistake: "expected {currency, subtotal, lines}" };
  if (!/^[A-Z]{3}$/.test(value.currency))
    return { mistake: `currency is ${JSON.stringify(value.currency)}, expected an ISO 4217 code like "EUR"` };
  if (!isAmount(value.subtotal))
    return {
      mistake: `subtotal is ${JSON.stringify(value.subtotal)}, expected integer minor units (12900 for 129.00)`,
    };
  if (!Array.isArray(value.lines)) return { mistake: "lines is missing, expected a list" };
  /** @type {Line[]} */
  const lines = [];
  for (const [index, line] of value.lines.entries()) {
    const wrong = mistakeOf(line);
    if (wrong) return { mistake: `lines[${index}].${wrong}` };
    if (line.quantity === 0) continue;
    if (lines.some(({ id }) => id === String(line.id)))
      return { mistake: `lines[${index}].id is ${JSON.stringify(line.id)}, which an earlier line has as well` };
    lines.push({
      id: String(line.id),
      title: [...line.title].slice(0, TITLE_CHARACTERS_MAX).join(""),
      quantity: line.quantity,
      price: line.price,
      ...address("url", line.url),
      ...address("picture", line.picture),
    });
  }
  return { cart: { currency: value.currency, subtotal: value.subtotal, lines: lines.slice(0, LINES_MAX) } };
}

/** @param {unknown} value */
const isAmount = (value) =>
  Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0 && /** @type {number} */ (value) <= 1e15;

/** @param {any} line */
function mistakeOf(line) {
  if (!["string", "number"].includes(typeof line?.id) || !/^.{1,200}$/su.test(String(line.id)))
    return "id is missing, expected the line's or variant's key";
  if (typeof line.title !== "string") return "title is missing";
  if (!Number.isInteger(line.quantity) || line.quantity < 0 || line.quantity > 1_000_000)
    return `quantity is ${JSON.stringify(line.quantity)}, expected a whole number`;
  return isAmount(line.price) ? "" : `price is ${JSON.stringify(line.price)}, expected integer minor units`;
}

/** An address that staff may follow, made absolute; left out when it is none. @param {"url" | "picture"} name @param {unknown} value */
function address(name, value) {
  if (typeof value !== "string" || !value) return {};
  try {
    const { protocol, href } = new URL(value, document.baseURI);
    return /^https?:$/.test(protocol) && href.length <= URL_CHARACTERS_MAX ? { [name]: href } : {};
  } catch {
    return {};
  }
}
