// @ts-check
/**
 * Turns a thread into the lines that are drawn: day breaks, the *New* line, event lines, and messages that know whether
 * they open or end a group.
 *
 * Promises: pure; the order of the thread is kept (it is chatd's, never a clock's); keys are stable, so that a pending
 * message keeps its place and its element when it becomes a sent one.
 */

/** Messages of one person within this time stand together under one name and one time. */
export const GROUP_MS = 5 * 60_000;

/** So many event lines in a row are told; of more, those in the middle are folded away. */
export const LINES_MAX = 5;

/** Of several in a row only the newest tells anything: whether the customer is there, and since when. */
const COMING_AND_GOING = ["customer_came", "customer_left"];

/**
 * @typedef {import("../state.js").Entry} Entry
 * @typedef {{kind: string, key: string, at: number, [fact: string]: any}} Item
 */

/** The day an instant belongs to where the reader is. @param {number} at */
export function dayOf(at) {
  const date = new Date(at);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

/**
 * @param {readonly Entry[]} entries oldest first, what is pending last
 * @param {object} facts
 * @param {string} facts.me the id of the staff who reads
 * @param {number | null} [facts.newFrom] the position of the first message that was unread when the view was opened
 * @param {ReadonlySet<string>} [facts.unfolded] keys of folds that were opened
 * @returns {Item[]}
 */
export function itemsOf(entries, { me, newFrom = null, unfolded = new Set() }) {
  /** @type {Item[]} */
  const items = [];
  let day = "";
  let marked = newFrom === null;
  for (const entry of entries) {
    for (const item of itemsOfEntry(entry, me)) {
      const today = dayOf(item.at);
      const before = items.at(-1);
      if (today === day && before && isComingOrGoing(item) && isComingOrGoing(before)) {
        items[items.length - 1] = { ...item, key: before.key };
        continue;
      }
      if (today !== day) items.push({ kind: "day", key: `day ${item.key}`, at: item.at });
      day = today;
      if (!marked && item.kind === "message" && item.position >= /** @type {number} */ (newFrom)) {
        items.push({ kind: "new", key: "new", at: item.at });
        marked = true;
      }
      items.push(item);
    }
  }
  group(items);
  return fold(items, unfolded);
}

/** @param {Item} item */
const isComingOrGoing = (item) => item.kind === "line" && COMING_AND_GOING.includes(item.event.type);

/**
 * One line of the thread, or one for each thing that was changed in the cart.
 *
 * @param {Entry} entry
 * @param {string} me
 * @returns {Item[]}
 */
function itemsOfEntry({ number, event, pending }, me) {
  const { at, type } = event;
  if (type === "cart_changed") {
    return event.changes.map((/** @type {any} */ change, /** @type {number} */ index) => ({
      kind: "line",
      key: `event ${number} ${index}`,
      at,
      event,
      change,
    }));
  }
  if (type !== "message_sent") return [{ kind: "line", key: `event ${number}`, at, event }];
  const { client_id: key, author, position, incoming, parts, channel } = event.message;
  const text = textOf(parts);
  // What waits for its answer is one's own, and stands under the key it will have when it is confirmed.
  if (pending)
    return [
      {
        kind: "message",
        key,
        at,
        own: true,
        author: { kind: "staff", id: me },
        position,
        text,
        pending,
        channel: "chat",
      },
    ];
  return [
    {
      kind: "message",
      key,
      at,
      own: author.kind !== "customer",
      author,
      position,
      incoming,
      text,
      pending: null,
      channel,
    },
  ];
}

/** The words of a message. Parts of other kinds come later and say nothing here. @param {readonly any[]} parts */
export const textOf = (parts) =>
  (parts ?? [])
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n");

/** Marks which messages open (`opens`) and end (`ends`) a group. @param {Item[]} items */
function group(items) {
  let opened = 0;
  items.forEach((item, index) => {
    if (item.kind !== "message") return;
    const before = items[index - 1];
    const joins =
      before?.kind === "message" &&
      before.author.kind === item.author.kind &&
      before.author.id === item.author.id &&
      item.at - opened < GROUP_MS;
    item.opens = !joins;
    item.ends = true;
    if (joins) before.ends = false;
    else opened = item.at;
  });
}

/**
 * Folds the middle of a long run of event lines.
 *
 * @param {Item[]} items
 * @param {ReadonlySet<string>} unfolded
 * @returns {Item[]}
 */
function fold(items, unfolded) {
  /** @type {Item[]} */
  const out = [];
  for (let start = 0; start < items.length;) {
    let end = start;
    while (end < items.length && items[end].kind === "line") end += 1;
    if (end === start) {
      out.push(items[start]);
      start += 1;
      continue;
    }
    const run = items.slice(start, end);
    const key = `fold ${run[0].key}`;
    if (run.length > LINES_MAX && !unfolded.has(key)) {
      const hidden = run.length - 3;
      out.push(run[0], { kind: "fold", key, at: run[1].at, count: hidden }, ...run.slice(-2));
    } else {
      out.push(...run);
    }
    start = end;
  }
  return out;
}

/**
 * The position from which on a reader has not read, or null when everything was.
 *
 * @param {readonly Entry[]} entries
 * @param {number} incomingSeen how many of the customer's messages this reader has seen
 */
export function firstUnread(entries, incomingSeen) {
  for (const { event } of entries) {
    if (
      event?.type === "message_sent" &&
      event.message.author.kind === "customer" &&
      event.message.incoming > incomingSeen
    ) {
      return event.message.position;
    }
  }
  return null;
}
