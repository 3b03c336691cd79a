// @ts-check
/** When a customer was last here, as far as the loaded part of the thread tells. */

/** @param {readonly import("../state.js").Entry[]} entries @returns {number | null} milliseconds since 1970 */
export function lastSeenOf(entries) {
  for (let index = entries.length - 1; index >= 0; index -= 1) {
    const { event } = entries[index];
    const spoke =
      event.type === "message_sent" && event.message.author?.kind === "customer" && event.message.channel === "chat";
    if (spoke || event.type === "customer_left" || event.type === "customer_came" || event.type === "cart_changed")
      return event.at;
  }
  return null;
}
