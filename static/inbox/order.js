// @ts-check
/**
 * Keeps rows still under the pointer.
 *
 * While somebody points at the list, a conversation that rises would slide another one under their finger. So the order
 * that is on the screen stays until it is let go; only what is gone leaves, and what is new waits.
 */

/**
 * @param {readonly string[]} shown ids as they stand on the screen
 * @param {readonly string[]} wanted ids as they should stand
 * @param {boolean} held
 * @returns {{order: string[], waiting: number}} what to draw, and how many rows would stand higher if it were let go
 */
export function settle(shown, wanted, held) {
  if (!held || shown.length === 0) return { order: [...wanted], waiting: 0 };
  const there = new Set(wanted);
  const order = shown.filter((id) => there.has(id));
  const known = new Set(order);
  // Rows older than all that is shown come from scrolling down, and are no surprise: they are added at the end.
  const last = wanted.findLastIndex((id) => known.has(id));
  for (const id of wanted.slice(last + 1)) order.push(id);
  return { order, waiting: risen(order, wanted) };
}

/**
 * How many rows would jump above others that are on the screen: those not there yet, and those that somebody before
 * them in `order` comes after in `wanted`.
 *
 * @param {readonly string[]} order @param {readonly string[]} wanted
 */
function risen(order, wanted) {
  const places = new Map(wanted.map((id, index) => [id, index]));
  let count = wanted.length - order.length;
  let furthest = -1;
  for (const id of order) {
    const place = /** @type {number} */ (places.get(id));
    if (place < furthest) count += 1;
    else furthest = place;
  }
  return count;
}
