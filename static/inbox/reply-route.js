// @ts-check
/**
 * Where the next reply goes, which the composer says before anything is sent (features B2 and A2).
 */

/**
 * @param {{customer: {id: string, email?: string}}} row
 * @param {object} present
 * @param {ReadonlySet<string>} present.online ids of the customers who are at the shop
 * @param {ReadonlySet<string>} present.reading ids of those who have their thread open by the link of a mail
 * @param {boolean} [connected] without a connection nobody knows who is online when it goes out
 * @param {boolean} [mayChat] who may not, writes no reply
 * @returns {{route: "read_only" | "online" | "reading" | "email" | "none" | "waiting", email: string}}
 */
export function replyRouteOf(row, { online, reading }, connected = true, mayChat = true) {
  const email = row.customer.email ?? "";
  if (!mayChat) return { route: "read_only", email };
  if (!connected) return { route: "waiting", email };
  if (online.has(row.customer.id)) return { route: "online", email };
  if (reading.has(row.customer.id)) return { route: "reading", email };
  return { route: email ? "email" : "none", email };
}
