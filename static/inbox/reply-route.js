// @ts-check
/**
 * Where the next reply goes, which the composer says before anything is sent (features B2 and A2).
 */

/**
 * @param {{customer: {id: string, email?: string}}} row
 * @param {ReadonlySet<string>} online ids of the customers who are online
 * @param {boolean} [connected] without a connection nobody knows who is online when it goes out
 * @returns {{route: "online" | "email" | "none" | "waiting", email: string}}
 */
export function replyRouteOf(row, online, connected = true) {
  const email = row.customer.email ?? "";
  if (!connected) return { route: "waiting", email };
  if (online.has(row.customer.id)) return { route: "online", email };
  return { route: email ? "email" : "none", email };
}
