// @ts-check
/**
 * What a face knows, as plain data. A welcome's snapshot makes it, events move it on, and the two agree: a snapshot with
 * the events after it is the fresh snapshot of later. Nothing here touches a page, a clock or the socket.
 *
 * Events arrive once and in order (`client.js` sees to that). Answers to queries do not: they may tell of a moment before
 * or after the events that were applied. So what is known already is never overwritten by an answer, and what an answer
 * adds is brought up to date with the latest events. An event of an unknown type only moves the number.
 *
 * @typedef {import("./wire.js").CustomerCard} CustomerCard
 * @typedef {import("./wire.js").Author} Author
 * @typedef {{number: number, event: any, pending?: any}} Entry one line of a thread; `pending` is the outbox entry of a
 *   message that chatd has not confirmed, which has no number yet
 * @typedef {{mail: string, first: number, last: number, email: string, state: "queued" | "sent" | "retrying" | "failed" |
 *   "withdrawn", reason: string | null}} Mail
 * @typedef {{id: string, entries: Entry[], more: boolean, mails: Mail[], cart: {cart: any, at: number} | null}} Thread
 * @typedef {{id: string, kind: "shop" | "order", state: "open" | "closed", customer: CustomerCard,
 *   last: {number: number, at: number, author: Author, text: string}, position: number, incoming: number,
 *   incoming_seen: number, unread: number, replied: boolean, seen_by_shop: number, seen_by_customer: number,
 *   delivered: number, started_at: number, topics: import("./wire.js").Topic[]}} Row
 * @typedef {{id: string, kind: "shop" | "order", state: "open" | "closed", position: number, unread: number,
 *   seen_by_shop: number, seen_by_customer: number, delivered: number, entries: Entry[], more: boolean}} Conversation
 * @typedef {{author: Author, until: number}} Typing
 * @typedef {{number: number, epoch: string, you: any, limits: any, shop: any, customer: CustomerCard,
 *   conversations: Map<string, Conversation>, unread: number, shop_online: boolean, typing: Map<string, Typing>}} CustomerState
 * @typedef {{number: number, epoch: string, you: any, limits: any, shop: any, me: any, colleagues: any[],
 *   rows: Map<string, Row>, before: string | null, threads: Map<string, Thread>, unread: number, online: Set<string>, reading: Set<string>,
 *   typing: Map<string, Typing>, recent: Entry[]}} StaffState
 * @typedef {{kind: "message" | "line" | "marks" | "row" | "customer" | "cart" | "mail" | "presence" | "typing" | "none",
 *   conversation?: string, missing?: boolean}} Change what an event or signal has changed; `missing`: of a conversation
 *   that is not loaded and now belongs in the list, so that the page should ask for it
 */

import { stopTyping } from "./signals.js";
import { EVENTS } from "./wire.js";

export const PREVIEW_CHARACTERS = 140;
/** Events that are kept to bring late answers up to date: more than could come in the time that a query may take. */
const RECENT_MAX = 500;
/** Threads that are kept loaded; the one that was opened longest ago goes first. */
const THREADS_MAX = 100;

// White space as Python's `str.split` has it, which is not quite that of `\s`: both sides make the same preview.
const WHITE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;

/** One line of a message for lists: its text with white space folded, cut at a bound. @param {any[]} parts */
export function preview(parts) {
  const text = (parts ?? []).flatMap((part) => (part?.type === "text" ? [String(part.text)] : [])).join(" ");
  return Array.from(text.split(WHITE).filter(Boolean).join(" ")).slice(0, PREVIEW_CHARACTERS).join("");
}

// ---------------------------------------------------------------- from a welcome

/** @param {any} welcome with a snapshot @returns {CustomerState} */
export function customerState(welcome) {
  const { shop, customer, conversations } = welcome.snapshot;
  /** @type {CustomerState} */
  const state = {
    ...place(welcome),
    shop,
    customer,
    conversations: new Map(),
    unread: 0,
    shop_online: welcome.shop_online === true,
    typing: new Map(),
  };
  for (const { thread, ...conversation } of conversations) {
    state.conversations.set(conversation.id, { ...conversation, entries: [...thread] });
  }
  sumUnread(state);
  return state;
}

/** @param {any} welcome with a snapshot @returns {StaffState} */
export function staffState(welcome) {
  const { shop, staff, colleagues, conversations, before, unread } = welcome.snapshot;
  return {
    ...place(welcome),
    shop,
    me: staff,
    colleagues,
    rows: new Map(conversations.map((/** @type {Row} */ row) => [row.id, { ...row }])),
    before: before ?? null,
    threads: new Map(),
    unread,
    online: new Set(welcome.online ?? []),
    reading: new Set(welcome.reading ?? []),
    typing: new Map(),
    recent: [],
  };
}

/** A welcome that resumed has no snapshot; only what is never an event is new in it.
 * @param {CustomerState | StaffState} state @param {any} welcome */
export function applyWelcome(state, welcome) {
  state.you = welcome.you;
  state.limits = welcome.limits;
  if ("online" in state) {
    state.online = new Set(welcome.online ?? []);
    state.reading = new Set(welcome.reading ?? []);
  } else state.shop_online = welcome.shop_online === true;
}

/** @param {any} welcome */
function place({ number, epoch, you, limits }) {
  return { number, epoch, you, limits };
}

// ---------------------------------------------------------------- events

/** @type {Record<string, Change["kind"]>} */
const KINDS = {
  conversation_started: "row",
  message_sent: "message",
  messages_delivered: "marks",
  messages_seen: "marks",
  conversation_read: "row",
  conversation_closed: "line",
  conversation_opened: "line",
  customer_introduced: "customer",
  customer_came: "line",
  customer_left: "line",
  cart_changed: "cart",
  mail_queued: "mail",
  mail_sent: "mail",
  mail_failed: "mail",
  mail_withdrawn: "mail",
  topics_found: "row",
  topic_added: "line",
  topic_removed: "line",
};

/** What puts a conversation that is not loaded into the list, or into another one. */
const RAISES = new Set(["message_sent", "conversation_closed", "conversation_opened", "topic_added"]);

/** Whether it is kept in the thread and comes back with the history. @param {any} event */
export function standsInThread(event) {
  /** @type {Record<string, {in_thread: boolean}>} */
  const known = EVENTS;
  if (!Object.hasOwn(known, event.type) || !known[event.type].in_thread) return false;
  return event.type !== "cart_changed" || event.changes.length > 0;
}

/** @param {CustomerState} state @param {number} number @param {any} event @returns {Change} */
export function applyToCustomer(state, number, event) {
  const kind = advance(state, number, event);
  if (kind === "none") return { kind };
  if (event.type === "customer_introduced" || event.type === "conversation_started") state.customer = event.person;
  if (event.type === "conversation_started" && !state.conversations.has(event.conversation)) {
    state.conversations.set(event.conversation, { ...started(event), entries: [], more: false });
  }
  const conversation = state.conversations.get(event.conversation);
  if (!conversation)
    return { kind, conversation: event.conversation ?? undefined, missing: event.conversation != null };

  if (event.type === "message_sent") {
    conversation.position = Math.max(conversation.position, event.message.position);
    stopTyping(state, event);
  }
  applyMarks(conversation, event);
  insert(conversation, number, event);
  conversation.unread = unreadIn(conversation);
  sumUnread(state);
  return { kind, conversation: conversation.id };
}

/** @param {StaffState} state @param {number} number @param {any} event @returns {Change} */
export function applyToStaff(state, number, event) {
  const kind = advance(state, number, event);
  if (kind === "none") return { kind };
  state.recent.push({ number, event });
  if (state.recent.length > RECENT_MAX) state.recent.shift();

  // The total counts what is not loaded too, so it follows the events and not the rows.
  if (event.type === "message_sent") {
    if (event.message.author.kind === "customer") state.unread += 1;
    stopTyping(state, event);
  }
  if (event.type === "conversation_read" && event.staff === state.me.id) {
    state.unread = Math.max(0, state.unread - event.count);
  }
  if (event.type === "conversation_started" && !state.rows.has(event.conversation)) {
    state.rows.set(event.conversation, {
      ...started(event),
      customer: event.person,
      last: { number, at: event.at, author: /** @type {any} */ ({}), text: "" }, // its first message comes with it
      incoming: 0,
      incoming_seen: 0,
      replied: false,
      started_at: event.at,
      topics: [],
    });
  }
  if (event.type === "customer_introduced") {
    for (const row of state.rows.values()) if (row.customer.id === event.customer) row.customer = event.person;
  }
  const thread = state.threads.get(event.conversation);
  if (thread) {
    insert(thread, number, event);
    applyBeside(thread, event);
  }
  const row = state.rows.get(event.conversation);
  if (row) applyToRow(row, number, event, state.me.id);
  return {
    kind,
    conversation: event.conversation ?? undefined,
    ...(!row && RAISES.has(event.type) && { missing: true }),
  };
}

/** Move the place in the stream; "none" when that is all there is to do. @param {any} state @param {number} number
 * @param {any} event @returns {Change["kind"]} */
function advance(state, number, event) {
  if (number <= state.number) return "none";
  state.number = number;
  return Object.hasOwn(KINDS, event.type) ? KINDS[event.type] : "none";
}

/** @param {any} event @returns {any} what both faces know of a conversation that begins */
function started(event) {
  return {
    id: event.conversation,
    kind: event.kind,
    state: "open",
    position: 0,
    unread: 0,
    seen_by_shop: 0,
    seen_by_customer: 0,
    delivered: 0,
  };
}

/** @param {Row | Conversation} it @param {any} event */
function applyMarks(it, event) {
  if (event.type === "conversation_closed") it.state = "closed";
  if (event.type === "conversation_opened") it.state = "open";
  // Whoever replies has seen what was said: a reply needs no mark beside it.
  if (event.type === "message_sent" && event.message.author.kind === "staff") {
    it.seen_by_shop = Math.max(it.seen_by_shop, event.message.position);
  }
  if (event.type === "messages_seen" && event.by === "shop")
    it.seen_by_shop = Math.max(it.seen_by_shop, event.position);
  if (event.type === "messages_seen" && event.by === "customer") {
    it.seen_by_customer = Math.max(it.seen_by_customer, event.position);
  }
  if (event.type === "messages_delivered" || (event.type === "messages_seen" && event.by === "customer")) {
    it.delivered = Math.max(it.delivered, event.position);
  }
}

/** May be told the same again, or something older. @param {Row} row @param {number} number @param {any} event @param {string} me */
function applyToRow(row, number, event, me) {
  applyMarks(row, event);
  if (event.type === "message_sent") {
    const { position, incoming, author, parts } = event.message;
    row.position = Math.max(row.position, position);
    row.incoming = Math.max(row.incoming, incoming);
    if (number > row.last.number) {
      row.last = { number, at: event.at, author, text: preview(parts) };
      row.replied = author.kind === "staff";
    }
  }
  if (event.type === "conversation_read" && event.staff === me) {
    row.incoming_seen = Math.max(row.incoming_seen, event.incoming_seen);
  }
  if (["topics_found", "topic_added", "topic_removed"].includes(event.type)) row.topics = event.topics;
  row.unread = Math.max(0, row.incoming - row.incoming_seen);
}

/** What is known beside the lines of a thread. @param {Thread} thread @param {any} event */
function applyBeside(thread, event) {
  if (event.type === "cart_changed") thread.cart = { cart: event.cart, at: event.at };
  if (KINDS[event.type] !== "mail") return;
  const { mail, first, last } = event;
  let known = thread.mails.find((one) => one.mail === mail);
  if (!known) thread.mails.push((known = { mail, first, last, email: "", state: "queued", reason: null }));
  /** @type {Record<string, Mail["state"]>} */
  const states = { mail_queued: "queued", mail_sent: "sent", mail_withdrawn: "withdrawn" };
  Object.assign(known, { first, last, email: event.email ?? known.email, reason: event.reason ?? null });
  known.state = states[event.type] ?? (event.final ? "failed" : "retrying");
}

/** @param {{entries: Entry[]}} thread @param {number} number @param {any} event */
function insert(thread, number, event) {
  if (!standsInThread(event)) return;
  const newest = thread.entries.at(-1)?.number ?? 0;
  if (number > newest) thread.entries.push({ number, event });
  else thread.entries = merged(thread.entries, [{ number, event }]);
}

/** The shop's messages beyond the customer's mark, among those that are loaded: what a badge can say.
 * @param {Conversation} conversation */
function unreadIn({ entries, seen_by_customer }) {
  const isUnread = (/** @type {Entry} */ { event: { type, message } }) =>
    type === "message_sent" && message.author.kind !== "customer" && message.position > seen_by_customer;
  return entries.filter(isUnread).length;
}

/** @param {CustomerState} state */
function sumUnread(state) {
  state.unread = 0;
  for (const conversation of state.conversations.values()) state.unread += conversation.unread;
}

// ---------------------------------------------------------------- answers to queries

/** @param {Entry[]} one @param {Entry[]} other @returns {Entry[]} both, by number, each once */
function merged(one, other) {
  const byNumber = new Map([...other, ...one].map((entry) => [entry.number, entry]));
  return [...byNumber.values()].sort((a, b) => a.number - b.number);
}

/** A page of `load_history`: an older one, or the newest.
 * @param {Conversation | Thread} conversation @param {{thread: Entry[], more: boolean, mails?: Mail[]}} page */
export function mergeHistory(conversation, page) {
  const oldest = conversation.entries[0]?.number ?? Infinity;
  // Only the page that reaches back furthest knows whether there is more.
  if (!page.thread.length || page.thread[0].number < oldest) conversation.more = page.more;
  conversation.entries = merged(conversation.entries, page.thread);
  if (!("mails" in conversation)) return;
  const known = new Set(conversation.mails.map((one) => one.mail));
  const older = (page.mails ?? []).filter((one) => !known.has(one.mail));
  conversation.mails = [...older.map((one) => ({ ...one })), ...conversation.mails];
}

/** Rows of `list_conversations`, or the row and thread of `load_conversation`.
 * @param {StaffState} state @param {any} result @returns {string[]} the ids it was about, in its order */
export function mergeRows(state, result) {
  /** @type {Row[]} */
  const rows = result.conversations ?? [result.conversation];
  for (const row of rows) {
    if (state.rows.has(row.id)) continue;
    const fresh = { ...row };
    state.rows.set(row.id, fresh);
    for (const { number, event } of state.recent) {
      if (event.type === "customer_introduced" && event.customer === row.customer.id) fresh.customer = event.person;
      if (event.conversation === row.id) applyToRow(fresh, number, event, state.me.id);
    }
  }
  if (result.thread) mergeThread(state, rows[0].id, result);
  return rows.map((row) => row.id);
}

/** @param {StaffState} state @param {string} id @param {any} result */
function mergeThread(state, id, { thread: entries, more, mails, cart }) {
  let thread = state.threads.get(id);
  if (thread) {
    mergeHistory(thread, { thread: entries, more, mails });
    state.threads.delete(id);
  } else {
    const newest = entries.at(-1)?.number ?? 0;
    thread = { id, entries: [...entries], more, mails: mails.map((/** @type {Mail} */ one) => ({ ...one })), cart };
    for (const { number, event } of state.recent) {
      if (event.conversation !== id) continue;
      // An older line that is not on the page stands before it, beyond what is loaded.
      if (number > newest) insert(thread, number, event);
      applyBeside(thread, event);
    }
  }
  state.threads.set(id, thread);
  for (const oldest of state.threads.keys()) {
    if (state.threads.size <= THREADS_MAX) break;
    state.threads.delete(oldest);
  }
}

// ---------------------------------------------------------------- to be drawn

/** The lines of a thread in their order, then the messages that chatd has not confirmed. A message that is there already is
 * not there twice. Without a conversation: the customer's first words.
 * @param {Conversation | Thread | null | undefined} conversation @param {any[]} [pending] the client's outbox @returns {Entry[]} */
export function threadOf(conversation, pending = []) {
  const entries = conversation?.entries ?? [];
  const own = conversation == null || ("kind" in conversation && conversation.kind === "shop");
  const waiting = pending.filter(
    (command) =>
      command.type === "send_message" &&
      (command.conversation == null ? own : command.conversation === conversation?.id),
  );
  if (!waiting.length) return entries;
  const told = new Set(entries.map(({ event }) => event.message?.client_id));
  return [
    ...entries,
    ...waiting
      .filter((command) => !told.has(command.id))
      .map((command) => ({
        number: Infinity,
        event: {
          type: "message_sent",
          at: command.at,
          conversation: command.conversation ?? null,
          message: { id: command.id, client_id: command.id, position: Infinity, author: null, parts: command.parts },
        },
        pending: command,
      })),
  ];
}

/** What became of a message by mail, or null. @param {Thread} thread @param {number} position @returns {Mail | null} */
export function mailOf(thread, position) {
  return thread.mails.findLast((mail) => mail.first <= position && position <= mail.last) ?? null;
}

/** The ids of the loaded rows, newest first.
 * @param {StaffState} state @param {((row: Row) => boolean) | {state?: "open" | "closed" | null, unread?: boolean}} [filter]
 * @returns {string[]} */
export function orderedRows(state, filter = {}) {
  const keep =
    typeof filter === "function"
      ? filter
      : (/** @type {Row} */ row) => (!filter.state || row.state === filter.state) && (!filter.unread || row.unread > 0);
  return [...state.rows.values()]
    .filter(keep)
    .sort((a, b) => b.last.number - a.last.number)
    .map((row) => row.id);
}
