// @ts-check
/** What a face knows: snapshot and events together are the fresh snapshot, whatever order answers come in. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as signals from "../../static/signals.js";
import * as state from "../../static/state.js";
import { forSeeds } from "./random.js";
import { ShopModel } from "./shop_model.js";

const copy = (value) => structuredClone(value);
const history = (random, things) => {
  const model = new ShopModel(random);
  for (let i = 0; i < things; i++) model.happen();
  return model;
};

describe("snapshot and events are the fresh snapshot", () => {
  test("for staff, from any number on", () =>
    forSeeds(200, (random) => {
      const model = history(random, random.between(1, 40));
      const from = random.between(0, model.number);
      const me = random.pick(model.staff).id;
      const carried = state.staffState(copy(model.staffWelcome(me, from)));
      const missing = new Set();
      for (let number = from + 1; number <= model.number; number++) {
        const change = state.applyToStaff(carried, number, copy(model.log[number - 1]));
        if (change.missing) missing.add(change.conversation);
      }
      for (const id of missing) state.mergeRows(carried, copy(model.loadConversation(id, me, model.number)));

      const fresh = state.staffState(model.staffWelcome(me, model.number));
      assert.equal(carried.number, fresh.number);
      assert.equal(carried.unread, fresh.unread);
      for (const [id, row] of carried.rows) assert.deepEqual(row, model.row(id, me, model.number));
      const newest = state.orderedRows(fresh);
      assert.deepEqual(state.orderedRows(carried).slice(0, newest.length), newest, "the first page is the first page");
    }));

  test("for a customer, from any number on", () =>
    forSeeds(200, (random) => {
      const model = history(random, random.between(1, 80));
      model.customers = model.customers.slice(0, 2);
      const customer = model.customers[0].id;
      const half = random.between(0, model.number);
      const welcome = model.customerWelcome(customer, half);
      const carried = state.customerState(copy(welcome));
      for (const { number, event } of model.customerStream(customer, model.number))
        state.applyToCustomer(carried, number, copy(event));

      const fresh = state.customerState(model.customerWelcome(customer, model.number));
      assert.deepEqual(carried.customer, fresh.customer);
      assert.equal(carried.number, fresh.number);
      assert.deepEqual([...carried.conversations.keys()], [...fresh.conversations.keys()]);
      for (const [id, conversation] of carried.conversations) {
        const { entries, more, unread, ...rest } = conversation;
        const { entries: page, more: _, unread: unreadOfPage, ...restFresh } = Object(fresh.conversations.get(id));
        assert.deepEqual(rest, restFresh);
        assert.deepEqual(entries.slice(-page.length), page);
        if (entries.length === page.length) assert.equal(unread, unreadOfPage);
        else assert.ok(unread >= unreadOfPage, "more is loaded than a fresh page has, so no fewer are counted");
      }
    }));

  test("for staff who open threads and scroll, though answers come before or after the events that they know of", () =>
    forSeeds(300, (random) => {
      const model = history(random, random.between(5, 60));
      const me = random.pick(model.staff).id;
      const from = random.between(0, model.number);
      const carried = state.staffState(copy(model.staffWelcome(me, from)));
      /** Answers under way: made as of `made`, to arrive after `due` has been applied. @type {any[]} */
      let answers = [];
      const ask = (make) => {
        const made = random.between(carried.number, Math.min(model.number, carried.number + 6));
        answers.push({
          due: random.between(carried.number, Math.min(model.number, carried.number + 8)),
          take: make(made),
        });
      };
      const arrive = () => {
        for (const answer of answers.filter((one) => one.due <= carried.number)) answer.take();
        answers = answers.filter((one) => one.due > carried.number);
      };
      const open = (id) =>
        ask((made) => {
          const result = copy(model.loadConversation(id, me, made));
          return () => result.conversation && state.mergeRows(carried, result);
        });
      const scroll = (thread) =>
        ask((made) => {
          const page = copy(model.loadHistory(thread.id, thread.entries[0]?.number ?? Infinity, made));
          return () => state.mergeHistory(thread, page);
        });
      const list = () =>
        ask((made) => {
          const result = copy(model.listConversations(me, made, new Set(carried.rows.keys())));
          return () => state.mergeRows(carried, result);
        });

      while (carried.number < model.number) {
        const number = carried.number + 1;
        const change = state.applyToStaff(carried, number, copy(model.log[number - 1]));
        if (change.missing) open(change.conversation);
        if (random.chance(0.1)) open(random.pick(model.rows(me, number)).id);
        if (random.chance(0.1)) list();
        if (random.chance(0.2) && carried.threads.size) scroll(random.pick([...carried.threads.values()]));
        arrive();
      }
      arrive();
      assert.equal(answers.length, 0);

      assert.equal(carried.unread, model.staffWelcome(me, model.number).snapshot.unread);
      for (const [id, row] of carried.rows) assert.deepEqual(row, model.row(id, me, model.number), id);
      for (const [id, thread] of carried.threads) {
        const whole = model.thread(id, model.number);
        assert.deepEqual(thread.entries, whole.slice(whole.length - thread.entries.length), "no hole, no double");
        assert.equal(thread.more, thread.entries.length < whole.length);
        assert.deepEqual(thread.mails, model.mails(id, model.number));
        assert.deepEqual(thread.cart, model.cart(id, model.number));
      }
      const times = state.orderedRows(carried).map((id) => carried.rows.get(id)?.last?.number);
      assert.deepEqual(
        times,
        [...times].sort((a, b) => Number(b) - Number(a)),
      );
    }));
});

const WELCOME_STAFF = () => new ShopModel(null).staffWelcome("s1", 0);
const message = (fields = {}) => ({
  type: "message_sent",
  at: 5,
  customer: "v-a",
  conversation: "k1",
  message: {
    id: "m1",
    client_id: "c1",
    position: 1,
    incoming: 1,
    author: { kind: "customer", id: "v-a" },
    channel: "chat",
    parts: [{ type: "text", text: "Hi" }],
    ...fields,
  },
});

describe("what is not known", () => {
  test("an event of a later version only moves the number", () => {
    for (const [make, apply] of [
      [() => state.staffState(WELCOME_STAFF()), state.applyToStaff],
      [() => state.customerState(new ShopModel(null).customerWelcome("v-a", 0)), state.applyToCustomer],
    ]) {
      const carried = /** @type {any} */ (make)();
      const before = copy(carried);
      for (const type of ["conversation_praised", "__proto__", "constructor", "toString", ""]) {
        assert.deepEqual(
          /** @type {any} */ (apply)(carried, carried.number + 1, { type, at: 1, customer: "v", conversation: "k" }),
          { kind: "none" },
        );
      }
      assert.deepEqual({ ...carried, recent: undefined }, { ...before, recent: undefined, number: 5 });
    }
  });

  test("unknown fields, parts and signals do no harm", () => {
    const carried = state.staffState(WELCOME_STAFF());
    state.applyToStaff(carried, 1, {
      type: "conversation_started",
      at: 1,
      customer: "v-a",
      conversation: "k1",
      kind: "shop",
      mood: "good",
      person: { id: "v-a", kind: "visitor", name: "", email: "", verified: false, shoe_size: 38 },
    });
    state.applyToStaff(
      carried,
      2,
      message({ parts: [{ type: "hologram", text: "no" }, { type: "text", text: "Hi" }, null], rating: 5 }),
    );
    assert.equal(carried.rows.get("k1")?.last?.text, "Hi");
    for (const signal of [
      null,
      undefined,
      {},
      { name: "earthquake", data: {} },
      { name: "presence" },
      { name: "presences", data: { came: ["v-a"] } },
      { name: "typing", data: null },
      { name: "typing", data: { conversation: "k1" } },
    ]) {
      assert.deepEqual(signals.applySignal(carried, signal), { kind: "none" });
    }
  });

  test("an event that was applied already changes nothing", () => {
    const carried = state.staffState({ ...WELCOME_STAFF(), number: 7 });
    assert.deepEqual(state.applyToStaff(carried, 7, message()), { kind: "none" });
    assert.equal(carried.unread, 0);
  });
});

describe("what changed", () => {
  test("is told, so that the page draws no more than that", () => {
    const carried = state.staffState(WELCOME_STAFF());
    const person = { id: "v-a", kind: "visitor", name: "", email: "", verified: false };
    const on = (fields) => ({ at: 1, customer: "v-a", conversation: "k1", ...fields });
    const told = [
      on({ type: "conversation_started", kind: "shop", person }),
      message(),
      on({ type: "messages_seen", by: "shop", position: 1 }),
      on({ type: "conversation_read", staff: "s1", incoming_seen: 1, count: 1 }),
      on({ type: "customer_introduced", person: { ...person, name: "Mia" } }),
      on({ type: "cart_changed", cart: {}, changes: [] }),
      on({ type: "mail_queued", mail: "x", first: 1, last: 1, email: "m@example.com" }),
      on({ type: "customer_left" }),
    ].map((event, index) => state.applyToStaff(carried, index + 1, event));
    assert.deepEqual(
      told.map((change) => change.kind),
      ["row", "message", "marks", "row", "customer", "cart", "mail", "line"],
    );
    assert.ok(told.every((change) => change.conversation === "k1" && !change.missing));
  });

  test("a conversation that is not loaded is asked for when it rises, and not for less", () => {
    const carried = state.staffState(WELCOME_STAFF());
    const on = (type) => ({ type, at: 1, customer: "v-a", conversation: "k9", position: 1, by: {} });
    assert.equal(state.applyToStaff(carried, 1, on("messages_delivered")).missing, undefined);
    assert.equal(state.applyToStaff(carried, 2, { ...message(), conversation: "k9" }).missing, true);
    assert.equal(state.applyToStaff(carried, 3, on("conversation_closed")).missing, true);
    assert.equal(carried.unread, 1, "it counts, loaded or not");
  });

  test("what a colleague has read is unread for me", () => {
    const carried = state.staffState(WELCOME_STAFF());
    const person = { id: "v-a", kind: "visitor", name: "", email: "", verified: false };
    state.applyToStaff(carried, 1, {
      type: "conversation_started",
      at: 1,
      customer: "v-a",
      conversation: "k1",
      kind: "shop",
      person,
    });
    state.applyToStaff(carried, 2, message());
    state.applyToStaff(carried, 3, {
      type: "conversation_read",
      at: 1,
      customer: "v-a",
      conversation: "k1",
      staff: "s2",
      incoming_seen: 1,
      count: 1,
    });
    assert.deepEqual([carried.unread, carried.rows.get("k1")?.unread], [1, 1]);
    state.applyToStaff(carried, 4, {
      type: "conversation_read",
      at: 1,
      customer: "v-a",
      conversation: "k1",
      staff: "s1",
      incoming_seen: 1,
      count: 1,
    });
    assert.deepEqual([carried.unread, carried.rows.get("k1")?.unread], [0, 0]);
  });
});

describe("signals", () => {
  test("who reads by a mail's link is a set of its own", () => {
    const carried = state.staffState({ ...WELCOME_STAFF(), online: ["v-a"], reading: ["v-b"] });
    signals.applySignal(carried, { name: "reading", data: { customer: "v-c", on: true } });
    signals.applySignal(carried, { name: "reading", data: { customer: "v-b", on: false } });
    assert.deepEqual([[...carried.online], [...carried.reading]], [["v-a"], ["v-c"]]);
    state.applyWelcome(carried, { you: {}, limits: {}, online: [], reading: ["v-d"] });
    assert.deepEqual([...carried.reading], ["v-d"]);
  });

  test("who is online is a set, and a resumed welcome brings it anew", () => {
    const carried = state.staffState({ ...WELCOME_STAFF(), online: ["v-a"] });
    signals.applySignal(carried, { name: "presence", data: { customer: "v-b", online: true } });
    signals.applySignal(carried, { name: "presence", data: { customer: "v-a", online: false } });
    assert.deepEqual([...carried.online], ["v-b"]);
    signals.applySignal(carried, { name: "presences", data: { came: ["v-d", "v-e"], left: ["v-b", "v-f"] } });
    assert.deepEqual([...carried.online], ["v-d", "v-e"]);
    state.applyWelcome(carried, { you: {}, limits: {}, online: ["v-c"] });
    assert.deepEqual([...carried.online], ["v-c"]);
    const customer = state.customerState(new ShopModel(null).customerWelcome("v-a", 0));
    assert.deepEqual(signals.applySignal(customer, { name: "shop_presence", data: { online: false } }), {
      kind: "presence",
    });
    assert.equal(customer.shop_online, false);
    assert.deepEqual(signals.applySignal(customer, { name: "presence", data: { customer: "v-b", online: true } }), {
      kind: "none",
    });
  });

  test("typing is shown for eight seconds, until it stops, or until it is said", () => {
    const carried = state.staffState(WELCOME_STAFF());
    const typing = (on, id = "v-a") => ({
      name: "typing",
      data: { conversation: "k1", author: { kind: "customer", id }, on },
    });
    signals.applySignal(carried, typing(true), 1000);
    assert.equal(signals.typingIn(carried, "k1", 8999)?.id, "v-a");
    assert.equal(signals.typingIn(carried, "k1", 9000), null);
    signals.applySignal(carried, typing(false, "s2"), 2000);
    assert.equal(signals.typingIn(carried, "k1", 3000)?.id, "v-a", "somebody else has stopped");
    signals.applySignal(carried, typing(false), 2000);
    assert.equal(signals.typingIn(carried, "k1", 3000), null);
    signals.applySignal(carried, typing(true), 4000);
    state.applyToStaff(carried, 1, message());
    assert.equal(signals.typingIn(carried, "k1", 4001), null);
  });
});

describe("a thread to be drawn", () => {
  const conversation = { id: "k1", kind: "shop", entries: [{ number: 4, event: message() }], more: false };
  const waiting = (fields) => ({
    id: "c9",
    type: "send_message",
    at: 9,
    state: "sending",
    parts: [{ type: "text", text: "soon" }],
    ...fields,
  });

  test("ends with what is not confirmed, in the outbox's order", () => {
    const thread = state.threadOf(/** @type {any} */ (conversation), [
      waiting({ id: "p1" }),
      waiting({ id: "p2", conversation: "k1", state: "failed" }),
      waiting({ id: "p3", conversation: "k2" }),
      { id: "p4", type: "mark_seen", conversation: "k1" },
    ]);
    assert.deepEqual(
      thread.map((entry) => entry.pending?.id ?? entry.event.message.id),
      ["m1", "p1", "p2"],
    );
    assert.equal(thread[1].event.message.parts[0].text, "soon");
    assert.equal(thread[2].pending.state, "failed");
  });

  test("a message that is there already is not there twice", () => {
    const thread = state.threadOf(/** @type {any} */ (conversation), [waiting({ id: "c1" })]);
    assert.deepEqual(
      thread.map((entry) => entry.event.message.id),
      ["m1"],
    );
  });

  test("the customer's first words have no conversation yet", () => {
    assert.equal(state.threadOf(null, [waiting({})]).length, 1);
    assert.equal(state.threadOf(null, [waiting({ conversation: "k1" })]).length, 0);
    assert.equal(
      state.threadOf(/** @type {any} */ ({ ...conversation, kind: "order", entries: [] }), [waiting({})]).length,
      0,
    );
    assert.equal(
      state.threadOf({ id: "k1", entries: [], more: false, mails: [], cart: null }, [waiting({})]).length,
      0,
      "staff always name one",
    );
  });

  test("each message knows the last that became of it by mail", () => {
    const mail = (id, first, last, at) => ({ mail: id, first, last, email: "", state: at, reason: null });
    const thread = /** @type {any} */ ({ mails: [mail("a", 1, 3, "withdrawn"), mail("b", 3, 4, "sent")] });
    assert.deepEqual(
      [1, 2, 3, 4, 5].map((position) => state.mailOf(thread, position)?.mail ?? null),
      ["a", "a", "b", "b", null],
    );
  });
});

describe("lists", () => {
  test("newest first, and what is asked for", () => {
    const carried = state.staffState(WELCOME_STAFF());
    for (const [id, number, unread, how] of [
      ["k1", 4, 0, "open"],
      ["k2", 9, 2, "closed"],
      ["k3", 6, 1, "open"],
    ]) {
      carried.rows.set(String(id), /** @type {any} */ ({ id, last: { number }, unread, state: how }));
    }
    assert.deepEqual(state.orderedRows(carried), ["k2", "k3", "k1"]);
    assert.deepEqual(state.orderedRows(carried, { state: "open" }), ["k3", "k1"]);
    assert.deepEqual(state.orderedRows(carried, { unread: true }), ["k2", "k3"]);
    assert.deepEqual(
      state.orderedRows(carried, (row) => row.id === "k1"),
      ["k1"],
    );
  });

  test("threads that were opened long ago are let go of", () => {
    const carried = state.staffState(WELCOME_STAFF());
    for (let i = 0; i < 150; i++) {
      state.mergeRows(carried, {
        conversation: { id: `k${i}`, customer: { id: "v" } },
        thread: [],
        more: false,
        mails: [],
        cart: null,
      });
    }
    assert.equal(carried.threads.size, 100);
    assert.ok(carried.threads.has("k149") && !carried.threads.has("k0"));
    assert.equal(carried.rows.size, 150);
  });
});

describe("preview", () => {
  for (const [name, parts, text] of /** @type {[string, any[], string][]} */ ([
    ["folds white space", ["  a\n\n b\t\u00a0c\u3000"], "a b c"],
    ["joins parts", ["a", "b"], "a b"],
    ["cuts between characters, not inside one", ["😀".repeat(200)], "😀".repeat(140)],
    ["folds what Python folds", ["a\x1cb\x85c"], "a b c"],
    ["keeps what Python keeps", ["a\ufeffb\u200bc"], "a\ufeffb\u200bc"],
    ["of nothing", [], ""],
  ])) {
    test(name, () => assert.equal(state.preview(parts.map((one) => ({ type: "text", text: one }))), text));
  }
});
