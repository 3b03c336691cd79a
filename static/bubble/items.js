// @ts-check
/**
 * A thread as the customer sees it: day breaks, the line where the unread begins, messages that know their group.
 *
 * Promises: pure; the order is chatd's and never a clock's; a key is stable, so that a message which was pending keeps its
 * element when it is sent.
 */

/** Messages of one person within this time stand together under one name and one time. */
const GROUP_MS = 5 * 60_000;

/**
 * @typedef {{kind: "day" | "fresh" | "closed" | "closed_now", key: string, at: number}} Line
 * @typedef {{kind: "message", key: string, at: number, own: boolean, author: {kind: string, id: string, name?: string},
 *   text: string, position: number, pending: any, first: boolean, last: boolean, mark: "" | "sent" | "seen"}} Message
 * @typedef {Line | Message} Item
 */

/** @param {number} one @param {number} other both in ms since 1970; whether they are of one day here */
const sameDay = (one, other) => new Date(one).toDateString() === new Date(other).toDateString();

/**
 * @param {import("../state.js").Entry[]} entries oldest first, what is pending last
 * @param {object} facts
 * @param {number} facts.seenByShop
 * @param {number} facts.freshFrom position of the first message that was unread when the view was opened; 0 for none
 * @returns {Item[]}
 */
export function itemsOf(entries, { seenByShop, freshFrom }) {
  /** @type {Item[]} */
  const items = [];
  /** @type {Message | null} */
  let group = null; // the first message of the group that is open
  /** @type {Message | null} */
  let before = null;
  let fresh = freshFrom === 0;
  let day = 0;
  for (const { number, event, pending } of entries) {
    const at = Number(event.at);
    if (event.type === "message_sent") {
      if (!day || !sameDay(day, at)) {
        items.push({ kind: "day", key: `day ${number} ${event.message.client_id}`, at });
        group = null;
        day = at;
      }
      const message = messageOf(event, pending ?? null);
      if (!fresh && message.position >= freshFrom && !message.own) {
        items.push({ kind: "fresh", key: "fresh", at });
        group = null;
        fresh = true;
      }
      const joins =
        group &&
        before &&
        group.own === message.own &&
        group.author.id === message.author.id &&
        at - group.at <= GROUP_MS &&
        !isFailed(before) &&
        !isFailed(message);
      if (joins && before) before.last = false;
      else group = message;
      message.first = !joins;
      items.push((before = message));
    } else if (event.type === "conversation_closed") {
      items.push({ kind: "closed", key: `event ${number}`, at });
      group = null;
    }
  }
  // Only while nothing has been said since does it help to be told how to go on.
  const end = items[items.length - 1];
  if (end?.kind === "closed") Object.assign(end, { kind: "closed_now", key: `${end.key} now` });
  marks(items, seenByShop);
  return items;
}

/** @param {Message} message */
const isFailed = (message) => message.pending?.state === "failed";

/** @param {any} event @param {any} pending @returns {Message} */
function messageOf(event, pending) {
  const { client_id, author, parts, position } = event.message;
  const text = (parts ?? [])
    .filter((/** @type {any} */ part) => part.type === "text")
    .map((/** @type {any} */ part) => part.text)
    .join("\n");
  const own = !author || author.kind === "customer";
  return {
    kind: "message",
    key: client_id,
    at: event.at,
    own,
    author: own ? { kind: "customer", id: "" } : author,
    text,
    position,
    pending,
    first: true,
    last: true,
    mark: "",
  };
}

/** "Sent" and "Seen" stand under the newest own message, and "Seen" under the newest that was seen. @param {Item[]} items @param {number} seenByShop */
function marks(items, seenByShop) {
  let newest = true;
  for (let index = items.length - 1; index >= 0; index -= 1) {
    const item = items[index];
    if (item.kind !== "message" || !item.own || item.pending) continue;
    const seen = item.position <= seenByShop;
    if (seen || newest) item.mark = seen ? "seen" : "sent";
    if (seen) return;
    newest = false;
  }
}
