// @ts-check
/** Topics in the inbox: what is shown at once and taken back, how the list is narrowed, how often chatd is asked to count. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import en from "../../static/inbox/locales/en.js";
import { Drafts } from "../../static/inbox/drafts.js";
import { eventWords } from "../../static/inbox/event-words.js";
import { Inbox } from "../../static/inbox/inbox.js";
import { topicsToNarrow, topicsToSet } from "../../static/inbox/topic-choices.js";
import { PAUSE_MS, TopicCounts } from "../../static/inbox/topic-counts.js";
import { nameOfTopic, originOf } from "../../static/inbox/topics.js";
import { makeWords } from "../../static/inbox/words.js";
import { TOPICS } from "../../static/wire.js";

const words = makeWords(en, "en", "en-GB", { name: "Shop", colour: "#000000" });
const LEO = { kind: "staff", id: "st-leo", name: "Leo" };
const SHIPPING = { topic: "Shipping", position: 1, score: 0.9731, by: null };
const STORE_INFO = { topic: "Store info", position: 2, score: 0.91, by: null };
const byLeo = (/** @type {string} */ topic) => ({ topic, position: 2, score: null, by: LEO });

class FakeClient extends EventTarget {
  pending = [];
  status = "open";
  /** @type {any[]} */
  sent = [];

  send = (/** @type {string} */ type, /** @type {any} */ fields) =>
    new Promise((resolve, reject) => this.sent.push({ type, ...fields, resolve, reject }));
  ask = this.send;
  signal = () => {};

  /** @param {string} name @param {any} detail */
  tell = (name, detail) => void this.dispatchEvent(new CustomEvent(name, { detail }));
  /** @param {string} type */
  last = (type) => this.sent.findLast((one) => one.type === type);
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

const row = (/** @type {string} */ id, /** @type {number} */ number, /** @type {any[]} */ topics = []) => ({
  id,
  kind: "shop",
  state: "open",
  customer: { id: `cu-${id}`, kind: "visitor", name: id, email: "", verified: false },
  last: { number, at: number, author: { kind: "customer", id: `cu-${id}`, name: "" }, text: id },
  position: 2,
  incoming: 1,
  incoming_seen: 1,
  unread: 0,
  replied: false,
  seen_by_shop: 1,
  seen_by_customer: 0,
  delivered: 0,
  started_at: 0,
  topics,
});

/** @param {any[]} rows @param {string[]} [permissions] */
async function open(rows, permissions = ["chat"]) {
  const client = new FakeClient();
  const inbox = new Inbox(
    /** @type {any} */ ({
      client,
      words,
      settings: {},
      drafts: new Drafts(null, "d"),
      place: { section: "messages", filter: "open", topic: null, conversation: null },
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
    limits: {},
    online: [],
    snapshot: { shop: {}, staff: { ...LEO, permissions }, colleagues: [], conversations: rows, before: null, unread: 0 },
  });
  client.last("list_conversations").resolve({ conversations: [], before: null });
  await settle();
  let number = 10;
  const tell = (/** @type {string} */ type, /** @type {string} */ conversation, /** @type {any} */ fields) =>
    client.tell("event", { number: ++number, event: { type, at: 0, customer: `cu-${conversation}`, conversation, ...fields } });
  const shown = (/** @type {string} */ id) =>
    inbox.topics.of(/** @type {any} */ (inbox.row(id))).map(({ topic }) => topic);
  return { client, inbox, toasts, tell, shown };
}

describe("a topic that staff add", () => {
  test("is there at once, as theirs, and stays when chatd confirms it in whichever order", async () => {
    for (const eventFirst of [true, false]) {
      const { client, inbox, tell, shown } = await open([row("a", 5, [STORE_INFO, SHIPPING])]);
      inbox.topics.set("a", "Checkout", true);
      assert.deepEqual(shown("a"), ["Checkout", "Store info"], "the oldest finding gives way");
      assert.equal(inbox.topics.of(/** @type {any} */ (inbox.row("a")))[0].by?.name, "Leo");
      const { conversation, topic, resolve } = client.last("add_topic");
      assert.deepEqual([conversation, topic], ["a", "Checkout"]);
      const topics = [byLeo("Checkout"), STORE_INFO];
      const event = () => tell("topic_added", "a", { topic: "Checkout", by: LEO, position: 2, topics });
      if (eventFirst) event();
      resolve({ topics });
      await settle();
      assert.deepEqual(shown("a"), ["Checkout", "Store info"]);
      if (!eventFirst) event();
      tell("topics_found", "a", { position: 3, found: [], topics: [SHIPPING, byLeo("Checkout")] });
      assert.deepEqual(shown("a"), ["Shipping", "Checkout"], "what chatd says later counts");
    }
  });

  test("is taken back and told when chatd refuses it", async () => {
    const { client, inbox, toasts, shown } = await open([row("a", 5, [SHIPPING])]);
    inbox.topics.set("a", "Checkout", true);
    client.last("add_topic").reject({ code: "not_permitted" });
    await settle();
    assert.deepEqual(shown("a"), ["Shipping"]);
    assert.deepEqual(toasts.at(-1), {
      words: "The topic was not added. You are not allowed to do this.",
      action: null,
      tone: "danger",
    });
  });

  test("is not offered to those who may only read", async () => {
    const { client, inbox, shown } = await open([row("a", 5, [SHIPPING])], []);
    assert.equal(inbox.topics.changeable, false);
    await inbox.topics.set("a", "Shipping", false);
    assert.deepEqual(shown("a"), ["Shipping"]);
    assert.equal(client.last("remove_topic"), undefined);
  });
});

test("a topic that staff remove goes at once, and the toast brings it back", async () => {
  const { client, inbox, toasts, tell, shown } = await open([row("a", 5, [SHIPPING])]);
  inbox.topics.set("a", "Shipping", false);
  assert.deepEqual(shown("a"), []);
  client.last("remove_topic").resolve({ topics: [] });
  await settle();
  assert.deepEqual(shown("a"), [], "the event is still to come, and the chip does not flicker");
  tell("topic_removed", "a", { topic: "Shipping", by: LEO, position: 1, topics: [] });
  assert.equal(toasts[0].words, "Topic removed: Shipping");
  toasts[0].action.run();
  assert.deepEqual(shown("a"), ["Shipping"]);
  assert.equal(client.last("add_topic").topic, "Shipping");
});

test("the list is narrowed to a topic, follows what happens, and keeps what one is at", async () => {
  const rows = [row("a", 9, [SHIPPING]), row("b", 8), row("c", 7, [STORE_INFO, SHIPPING])];
  const { client, inbox, tell } = await open(rows);
  inbox.go({ topic: "Shipping" });
  assert.deepEqual(inbox.listed(), ["a", "c"]);
  const { state, topic } = client.last("list_conversations");
  assert.deepEqual([state, topic], ["open", "Shipping"]);
  client.last("list_conversations").resolve({ conversations: [row("old", 2, [SHIPPING])], before: null });
  await settle();
  assert.deepEqual(inbox.listed(), ["a", "c", "old"]);
  tell("topics_found", "b", { position: 2, found: [], topics: [SHIPPING] });
  assert.deepEqual(inbox.listed(), ["a", "b", "c", "old"]);
  inbox.go({ conversation: "a" });
  inbox.topics.set("a", "Shipping", false);
  assert.deepEqual(inbox.listed(), ["a", "b", "c", "old"], "it does not vanish from under somebody's hands");
  inbox.go({ conversation: "b" });
  assert.deepEqual(inbox.listed(), ["b", "c", "old"]);
  inbox.go({ filter: "closed" });
  assert.deepEqual(inbox.listed(), []);
  assert.equal(client.last("list_conversations").topic, "Shipping", "filters combine");
  inbox.go({ topic: null, filter: "open" });
  assert.deepEqual(inbox.listed().slice(0, 3), ["a", "b", "c"]);
});

test("a topic that a colleague adds to a conversation that is not loaded has it fetched", async () => {
  const { client, tell } = await open([row("a", 9)]);
  tell("topic_added", "old", { topic: "Shipping", by: LEO, position: 2, topics: [byLeo("Shipping")] });
  assert.equal(client.last("load_conversation").conversation, "old");
});

describe("counting", () => {
  /** A clock that is moved by hand. */
  function counting() {
    /** @type {any[]} */
    const asked = [];
    /** @type {{run: () => void, ms: number}[]} */
    const timers = [];
    const clock = { now: 0, changes: 0 };
    const counts = new TopicCounts(
      (type, fields) => new Promise((resolve, reject) => asked.push({ type, fields, resolve, reject })),
      () => (clock.changes += 1),
      (run, ms) => timers.push({ run, ms }),
      () => clock.now,
    );
    return { asked, timers, clock, counts };
  }
  const found = { type: "topics_found" };

  test("is asked for the list that is shown, and again when something has changed, after a pause", async () => {
    const { asked, timers, clock, counts } = counting();
    counts.heard(found);
    assert.equal(asked.length, 0, "nobody looks yet");
    counts.show("open");
    assert.deepEqual([asked[0].type, asked[0].fields], ["count_topics", { state: "open" }]);
    for (let times = 0; times < 50; times++) counts.heard(found);
    asked[0].resolve({ counts: { Shipping: 2 } });
    await settle();
    assert.deepEqual([counts.counts, clock.changes, asked.length], [{ Shipping: 2 }, 1, 1]);
    assert.equal(timers[0].ms, PAUSE_MS);
    timers[0].run();
    assert.equal(asked.length, 2);
    asked[1].resolve({ counts: { Shipping: 3 } });
    await settle();
    timers[1].run();
    counts.heard({ type: "messages_delivered" });
    assert.equal(asked.length, 2, "nothing has happened that counts");
    counts.heard(found);
    assert.equal(asked.length, 3, "after a pause at once");
  });

  test("takes up a twentieth of the time at most, however long it takes", async () => {
    const { asked, timers, clock, counts } = counting();
    counts.show("closed");
    clock.now = 700;
    asked[0].resolve({ counts: {} });
    await settle();
    assert.equal(timers[0].ms, 14_000);
  });

  test("another list is counted without a pause, and a late answer of the one before is not shown", async () => {
    const { asked, clock, counts } = counting();
    counts.show("open");
    counts.show("unread");
    asked[0].resolve({ counts: { Shipping: 9 } });
    await settle();
    assert.deepEqual([counts.counts, clock.changes], [{}, 0]);
    assert.deepEqual(asked[1].fields, { unread: true });
    asked[1].resolve({ counts: { Shipping: 1 } });
    await settle();
    assert.deepEqual(counts.counts, { Shipping: 1 });
    counts.show("closed");
    assert.equal(asked.length, 3);
  });

  test("goes on after a failure", async () => {
    const { asked, timers, counts } = counting();
    counts.show("open");
    asked[0].reject(new Error("offline"));
    await settle();
    timers[0].run();
    counts.heard(found);
    assert.equal(asked.length, 2);
  });
});

describe("in words", () => {
  test("every topic has a name, and how it is known is told", () => {
    for (const topic of TOPICS) assert.equal(nameOfTopic(topic, words.t), topic);
    assert.equal(originOf(/** @type {any} */ (SHIPPING), words, LEO.id), "97% sure");
    assert.equal(originOf(/** @type {any} */ ({ ...SHIPPING, score: 1 }), words, LEO.id), "99% sure");
    assert.equal(originOf(/** @type {any} */ (byLeo("Shipping")), words, "st-other"), "set by Leo");
    assert.equal(originOf(/** @type {any} */ (byLeo("Shipping")), words, LEO.id), "set by you");
  });

  test("what staff did stands in the thread", () => {
    const facts = { t: words.t, me: "st-other", customer: { id: "v" } };
    const said = (/** @type {string} */ type, me = "st-other") =>
      eventWords({ type, by: LEO, topic: "Returns/Delivered orders" }, null, { ...facts, me });
    assert.deepEqual(said("topic_added"), { icon: "tag", text: "Leo added the topic “Returns/Delivered orders”" });
    assert.equal(said("topic_removed", LEO.id)?.text, "You removed the topic “Returns/Delivered orders”");
    assert.equal(said("topics_found"), null, "a finding is no line of its own");
  });

  test("the menus offer all ten, with what is on and how many there are", async () => {
    const { inbox } = await open([row("a", 9, [SHIPPING])]);
    const set = topicsToSet(inbox, /** @type {any} */ (inbox.row("a")));
    assert.deepEqual(
      set.choices.filter(({ on }) => on).map(({ words, said }) => [words, said]),
      [["Shipping", "97% sure"]],
    );
    inbox.topicCounts.counts = { Shipping: 1 };
    const narrow = topicsToNarrow(inbox);
    assert.deepEqual(narrow.choices.slice(0, 1), [{ key: "", words: "All topics", on: true }]);
    assert.equal(narrow.choices.find(({ key }) => key === "Shipping")?.said, "1 conversation");
    assert.equal(narrow.choices.length, 11);
    narrow.choose("Shipping");
    assert.equal(inbox.place.topic, "Shipping");
    narrow.choose("");
    assert.equal(inbox.place.topic, null);
  });
});
