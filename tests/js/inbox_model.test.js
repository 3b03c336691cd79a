// @ts-check
/** The inbox without its face: what it asks chatd for, what it shows at once, and what it takes back. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Drafts } from "../../static/inbox/drafts.js";
import { Inbox } from "../../static/inbox/inbox.js";
import { SeenMarks, TOGETHER_MS } from "../../static/inbox/seen-marks.js";

const EMMA = { id: "cu-emma", kind: "visitor", name: "Emma", email: "", verified: false };
const MIA = { kind: "staff", id: "st-mia", name: "Mia", permissions: ["chat"] };

/** Answers nothing by itself; a test says what came. */
class FakeClient extends EventTarget {
  pending = [];
  /** @type {any[]} */
  sent = [];
  status = "open";

  /** @param {string} type @param {any} fields */
  #note(type, fields) {
    return new Promise((resolve, reject) => this.sent.push({ type, ...fields, resolve, reject }));
  }

  send = (/** @type {string} */ type, /** @type {any} */ fields) => this.#note(type, fields);
  ask = (/** @type {string} */ type, /** @type {any} */ fields) => this.#note(type, fields);
  signal = (/** @type {string} */ type, /** @type {any} */ fields) => void this.sent.push({ type, ...fields });

  /** @param {string} name @param {any} detail */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** @param {string} type */
  last = (type) => this.sent.findLast((one) => one.type === type);
}

const message = (/** @type {number} */ position, /** @type {number} */ incoming, /** @type {any} */ author) => ({
  type: "message_sent",
  at: position * 1000,
  customer: EMMA.id,
  conversation: "co-1",
  message: {
    id: `me-${position}`,
    client_id: `client-${position}`,
    position,
    incoming,
    author,
    channel: "chat",
    parts: [{ type: "text", text: `words ${position}` }],
  },
});
const author = { kind: "customer", id: EMMA.id, name: EMMA.name };

/** @param {string} id @param {any} [facts] */
const row = (id, facts = {}) => ({
  id,
  kind: "shop",
  state: "open",
  customer: EMMA,
  last: { number: 5, at: 1000, author, text: "words" },
  position: 2,
  incoming: 2,
  incoming_seen: 1,
  unread: 1,
  replied: false,
  seen_by_shop: 1,
  seen_by_customer: 0,
  delivered: 0,
  started_at: 0,
  ...facts,
});

const settle = () => new Promise((resolve) => setImmediate(resolve));

async function open(
  /** @type {any[]} */ rows = [row("co-1"), row("co-2", { last: { number: 4, at: 900, author, text: "b" } })],
  conversation = null,
) {
  const client = new FakeClient();
  const words = { t: (/** @type {string} */ key) => key, error: (/** @type {any} */ error) => error.code };
  const inbox = new Inbox(
    /** @type {any} */ ({
      client,
      words,
      settings: {},
      drafts: new Drafts(null, "d"),
      place: { section: "messages", filter: "open", conversation },
      schedule: (/** @type {() => void} */ run) => run(),
    }),
  );
  /** @type {any[]} */
  const toasts = [];
  inbox.addEventListener("toast", (/** @type {any} */ { detail }) => toasts.push(detail));
  client.tell("welcome", {
    epoch: "e",
    number: 10,
    resumed: false,
    you: {},
    limits: { bulk_conversations_max: 2 },
    online: [],
    snapshot: {
      shop: {},
      staff: MIA,
      colleagues: [],
      conversations: rows,
      before: null,
      unread: rows.reduce((sum, one) => sum + one.unread, 0),
    },
  });
  client.last("list_conversations")?.resolve({ conversations: [], before: null });
  await settle();
  const show = async (/** @type {string} */ id) => {
    inbox.go({ conversation: id });
    client.last("load_conversation").resolve({
      conversation: rows.find((one) => one.id === id),
      thread: [
        { number: 3, event: message(1, 1, author) },
        { number: 5, event: message(2, 2, author) },
      ],
      more: true,
      mails: [],
      cart: null,
    });
    await settle();
  };
  return { client, inbox, toasts, show };
}

describe("a conversation", () => {
  test("opens at what was unread, and stays in the list of the unread while one is at it", async () => {
    const { client, inbox, show } = await open();
    inbox.go({ filter: "unread" });
    await show("co-1");
    assert.equal(inbox.opened.newFrom, 2);
    inbox.saw(2, 2);
    inbox.saw(2, 2);
    assert.deepEqual(
      client.sent.filter(({ type }) => type === "mark_seen").map(({ position }) => position),
      [2],
      "seen once, told once",
    );
    client.tell("event", {
      number: 11,
      event: {
        type: "conversation_read",
        conversation: "co-1",
        customer: EMMA.id,
        staff: MIA.id,
        incoming_seen: 2,
        count: 1,
        at: 1,
      },
    });
    assert.ok(inbox.listed().includes("co-1"));
    assert.equal(inbox.state?.unread, 1);
    inbox.go({ conversation: null });
    assert.ok(!inbox.listed().includes("co-1"));
  });

  test("that does not exist says so, and can be tried again", async () => {
    const { client, inbox } = await open();
    inbox.go({ conversation: "co-none" });
    client.last("load_conversation").reject(Object.assign(new Error(), { code: "not_found" }));
    await settle();
    assert.equal(inbox.opened.error.code, "not_found");
    inbox.reopen();
    assert.equal(inbox.opened.loading, true);
  });

  test("that was left before its answer came is not shown in the place of another", async () => {
    const { client, inbox } = await open();
    inbox.go({ conversation: "co-1" });
    const first = client.last("load_conversation");
    inbox.go({ conversation: "co-2" });
    first.resolve({ conversation: row("co-1"), thread: [], more: false, mails: [], cart: null });
    await settle();
    assert.deepEqual([inbox.opened.id, inbox.opened.loading], ["co-2", true]);
  });

  test("of which an event tells and that is not loaded is fetched", async () => {
    const { client, inbox } = await open();
    client.tell("event", {
      number: 11,
      event: { type: "conversation_opened", conversation: "co-far", customer: "cu-x", by: author, at: 1 },
    });
    client.last("load_conversation").resolve({
      conversation: row("co-far", { last: { number: 9, at: 1, author, text: "far" } }),
      thread: [],
      more: false,
      mails: [],
      cart: null,
    });
    await settle();
    assert.equal(inbox.listed()[0], "co-far");
  });

  test("a message while nobody looks puts the New line before it; one's own answer takes the line away", async () => {
    const { client, inbox, show } = await open([row("co-1", { incoming_seen: 2, unread: 0, seen_by_shop: 2 })]);
    await show("co-1");
    assert.equal(inbox.opened.newFrom, null);
    client.tell("event", { number: 11, event: message(3, 3, author) });
    client.tell("event", { number: 12, event: message(4, 4, author) });
    assert.equal(inbox.opened.newFrom, 3);
    inbox.send("  Hello ");
    assert.equal(inbox.opened.newFrom, null);
    assert.deepEqual(client.last("send_message").parts, [{ type: "text", text: "Hello" }]);
    inbox.attended = true;
    client.tell("event", { number: 13, event: message(5, 5, author) });
    assert.equal(inbox.opened.newFrom, null);
  });

  test("the New line stays while something before a new message is still unread", async () => {
    const { client, inbox, show } = await open([row("co-1", { incoming_seen: 0, unread: 2, seen_by_shop: 0 })]);
    await show("co-1");
    assert.equal(inbox.opened.newFrom, 1);
    inbox.saw(1, 1);
    client.tell("event", { number: 11, event: message(3, 3, author) });
    assert.equal(inbox.opened.newFrom, 1);
    inbox.saw(3, 3);
    client.tell("event", { number: 12, event: message(4, 4, author) });
    assert.equal(inbox.opened.newFrom, 4);
  });

  test("older pages are asked for one at a time, from the oldest line on", async () => {
    const { client, inbox, show } = await open();
    await show("co-1");
    const both = [inbox.loadOlder(), inbox.loadOlder()];
    assert.deepEqual(
      client.sent.filter(({ type }) => type === "load_history").map(({ before }) => before),
      [3],
    );
    client.last("load_history").resolve({
      thread: [{ number: 1, event: { type: "customer_came", at: 1, conversation: "co-1" } }],
      more: false,
      mails: [],
    });
    assert.deepEqual(await Promise.all(both), [true, false]);
    assert.equal(inbox.openThread?.entries.length, 3);
    assert.equal(await inbox.loadOlder(), false, "that was the beginning");
  });
});

describe("what was seen", () => {
  test("is told at once, then together, and before one turns to another conversation", (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const told = /** @type {any[]} */ ([]);
    const marks = new SeenMarks(({ conversation, position }) => told.push(`${conversation} ${position}`));
    for (const position of [1, 2, 3]) marks.note("co-1", position);
    assert.deepEqual(told, ["co-1 1"]);
    context.mock.timers.tick(TOGETHER_MS);
    assert.deepEqual(told, ["co-1 1", "co-1 3"]);
    marks.note("co-1", 4);
    marks.note("co-2", 1);
    assert.deepEqual(told.slice(2), ["co-1 4"]);
    marks.flush();
    assert.deepEqual(told.slice(3), ["co-2 1"]);
    context.mock.timers.tick(TOGETHER_MS * 5);
    assert.equal(told.length, 4);
    marks.note("co-2", 2);
    assert.equal(told.length, 5, "after a rest the first is told at once again");
  });
});

describe("closing and opening", () => {
  test("shows at once, in portions that chatd takes, and can be undone", async () => {
    const { client, inbox, toasts } = await open([row("co-1"), row("co-2"), row("co-3", { unread: 0 })]);
    inbox.tickAll();
    inbox.setState([...inbox.ticked], "closed");
    assert.deepEqual([inbox.listed(), inbox.ticked.size], [[], 0]);
    assert.equal(client.last("close_conversations").conversations.length, 2);
    client.last("close_conversations").resolve({ changed: ["co-1", "co-2"] });
    await settle();
    assert.deepEqual(client.last("close_conversations").conversations, ["co-3"]);
    assert.equal(toasts.length, 1);
    toasts[0].action.run();
    assert.deepEqual(inbox.listed().length, 3);
    assert.ok(client.last("open_conversations"));
  });

  test("is not for those who may only read", async () => {
    const { client, inbox, toasts } = await open([row("co-1")]);
    if (inbox.state) inbox.state.me = { ...inbox.state.me, permissions: [] };
    inbox.tickAll();
    inbox.tick("co-1");
    inbox.setState(["co-1"], "closed");
    assert.deepEqual([inbox.ticked.size, inbox.listed(), toasts.length], [0, ["co-1"], 0]);
    assert.equal(client.last("close_conversations"), undefined);
  });

  test("an event of the first wish does not blink through a quick undo", async () => {
    const { client, inbox, toasts } = await open([row("co-1")]);
    inbox.setState(["co-1"], "closed");
    toasts[0].action.run();
    client.tell("event", {
      number: 11,
      event: { type: "conversation_closed", conversation: "co-1", customer: EMMA.id, by: MIA, at: 1 },
    });
    assert.deepEqual(inbox.listed(), ["co-1"]);
    client.tell("event", {
      number: 12,
      event: { type: "conversation_opened", conversation: "co-1", customer: EMMA.id, by: MIA, at: 1 },
    });
    assert.deepEqual([inbox.listed(), inbox.wished.size], [["co-1"], 0]);
  });

  test("a refusal takes it back and says why", async () => {
    const { client, inbox, toasts } = await open([row("co-1")]);
    inbox.setState(["co-1"], "closed");
    client.last("close_conversations").reject(Object.assign(new Error(), { code: "not_permitted" }));
    await settle();
    assert.deepEqual(inbox.listed(), ["co-1"]);
    assert.deepEqual([toasts[1].tone, toasts[1].words], ["danger", "toast.not_closed not_permitted"]);
  });

  test("what was so already is no longer wished for", async () => {
    const { client, inbox } = await open([row("co-1")]);
    inbox.setState(["co-1"], "closed");
    client.last("close_conversations").resolve({ changed: [] });
    await settle();
    assert.equal(inbox.wished.size, 0);
  });

  test("nothing to change is nothing to tell", async () => {
    const { client, inbox, toasts } = await open([row("co-1")]);
    await inbox.setState(["co-1", "co-none"], "open");
    assert.deepEqual([toasts, client.last("open_conversations")], [[], undefined]);
  });
});

describe("around a lost connection", () => {
  test("after a resume everything stands; after a fresh snapshot the open thread is loaded anew", async () => {
    const { client, inbox, show } = await open();
    await show("co-1");
    client.tell("welcome", { resumed: true, you: {}, limits: {}, online: [EMMA.id] });
    assert.ok(inbox.openThread && inbox.isOnline(EMMA.id));
    client.tell("welcome", {
      epoch: "f",
      number: 3,
      resumed: false,
      you: {},
      limits: {},
      online: [],
      snapshot: { shop: {}, staff: MIA, colleagues: [], conversations: [row("co-1")], before: null, unread: 0 },
    });
    assert.deepEqual([inbox.openThread, inbox.opened.loading, inbox.opened.id], [null, true, "co-1"]);
  });

  test("a short break is nobody's business; after a longer one nobody is called online", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const { client, inbox } = await open();
    const is = (/** @type {string} */ status) => {
      client.status = status;
      client.tell("status", status);
    };
    client.tell("welcome", { resumed: true, you: {}, limits: {}, online: [EMMA.id] });
    is("waiting");
    is("connecting");
    context.mock.timers.tick(1_000);
    is("open");
    context.mock.timers.tick(10_000);
    assert.ok(inbox.connected && inbox.isOnline(EMMA.id));
    is("waiting");
    context.mock.timers.tick(2_000);
    assert.ok(!inbox.connected && !inbox.isOnline(EMMA.id));
    is("open");
    assert.ok(inbox.connected && inbox.isOnline(EMMA.id));
    is("offline");
    assert.ok(!inbox.connected, "the browser knows it at once");
  });

  test("writing is told seldom, and its end once", async () => {
    const { client, inbox, show } = await open();
    await show("co-1");
    inbox.startTyping();
    inbox.startTyping();
    inbox.stopTyping();
    inbox.stopTyping();
    assert.deepEqual(
      client.sent.filter(({ type }) => type === "set_typing").map(({ on }) => on),
      [true, false],
    );
  });
});
