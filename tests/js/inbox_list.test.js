// @ts-check
/** The order of the list under the pointer, what it may show, the palette, the keys, emoji and drafts. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { staffState } from "../../static/state.js";
import { findChoices } from "../../static/inbox/commands.js";
import { Drafts } from "../../static/inbox/drafts.js";
import { EMOJI, emojiQueryAt, findEmoji } from "../../static/inbox/emoji.js";
import { Keyboard, SHORTCUTS } from "../../static/inbox/keys.js";
import { Listing } from "../../static/inbox/listing.js";
import { settle } from "../../static/inbox/order.js";
import { Settings } from "../../static/inbox/settings.js";

describe("rows under the pointer", () => {
  test("stay where they are, and what waits is counted", () => {
    assert.deepEqual(settle(["a", "b", "c"], ["c", "a", "b"], true), { order: ["a", "b", "c"], waiting: 1 });
    assert.deepEqual(settle(["a", "b"], ["n", "a", "b"], true), { order: ["a", "b"], waiting: 1 });
    assert.deepEqual(settle(["a", "b", "c"], ["a", "b", "c"], true), { order: ["a", "b", "c"], waiting: 0 });
  });

  test("what is gone leaves; what comes from scrolling down is added", () => {
    assert.deepEqual(settle(["a", "b", "c"], ["a", "c"], true).order, ["a", "c"]);
    assert.deepEqual(settle(["a", "b"], ["b", "a", "x", "y"], true), { order: ["a", "b", "x", "y"], waiting: 1 });
  });

  test("let go, they stand as they should", () => {
    assert.deepEqual(settle(["a", "b"], ["b", "a"], false), { order: ["b", "a"], waiting: 0 });
    assert.deepEqual(settle([], ["b", "a"], true).order, ["b", "a"]);
  });
});

/** @param {string} id @param {number} number @param {any} [facts] */
const row = (id, number, facts = {}) => ({
  id,
  kind: "shop",
  state: "open",
  customer: { id: `cu-${id}`, kind: "visitor", name: id },
  last: { number, at: number, author: { kind: "customer", id: "x" }, text: id },
  position: 1,
  incoming: 1,
  incoming_seen: 1,
  unread: 0,
  replied: false,
  seen_by_shop: 1,
  seen_by_customer: 0,
  delivered: 0,
  started_at: 0,
  ...facts,
});
/** @param {any[]} conversations @param {string | null} before */
const state = (conversations, before) =>
  staffState({
    number: 100,
    epoch: "e",
    you: {},
    limits: {},
    online: [],
    snapshot: { shop: {}, staff: { id: "st-mia" }, colleagues: [], conversations, before, unread: 0 },
  });
const stateOf = (/** @type {any} */ one) => one.state;

describe("the list", () => {
  test("shows no row from below what it was told, so that it has no holes", async () => {
    const known = state([row("a", 9), row("b", 7, { state: "closed" })], "7");
    const asked = /** @type {any[]} */ ([]);
    const listing = new Listing(known, async (_type, fields) => {
      asked.push(fields);
      return asked.length === 1
        ? { conversations: [row("a", 9), row("c", 5)], before: "5" }
        : { conversations: [row("old", 2)], before: null };
    });
    known.rows.set("old", /** @type {any} */ (row("old", 2))); // looked up by its address
    assert.deepEqual(listing.ids("open", stateOf, null), ["a"]);
    await listing.load("open");
    assert.deepEqual(listing.ids("open", stateOf, null), ["a", "c"]);
    assert.ok(listing.hasMore("open"));
    await listing.load("open");
    assert.deepEqual(asked, [{ state: "open" }, { state: "open", before: "5" }]);
    assert.deepEqual(listing.ids("open", stateOf, null), ["a", "c", "old"]);
    await listing.load("open");
    assert.equal(asked.length, 2, "all is known: nothing more is asked");
  });

  test("keeps the conversation that somebody is at, and leaves out one without words", async () => {
    const known = state([row("a", 9), row("b", 8, { unread: 1 }), row("c", 7, { last: null, unread: 1 })], null);
    const listing = new Listing(known, async () => ({ conversations: [], before: null }));
    await listing.load("unread");
    assert.deepEqual(listing.ids("unread", stateOf, null), ["b"]);
    assert.deepEqual(listing.ids("unread", stateOf, "a"), ["a", "b"]);
  });

  test("a page that does not come can be asked for again", async () => {
    let broken = true;
    const listing = new Listing(state([], "9"), async () => {
      if (broken) throw Object.assign(new Error("no"), { code: "unanswered" });
      return { conversations: [row("a", 1)], before: null };
    });
    await listing.load("open");
    assert.equal(listing.reach("open").error.code, "unanswered");
    broken = false;
    await listing.load("open");
    assert.deepEqual([listing.reach("open").error, listing.ids("open", stateOf, null)], [null, ["a"]]);
  });
});

describe("the palette", () => {
  const choice = (/** @type {string} */ group, /** @type {string} */ label, words = "") => ({
    id: label,
    group,
    label,
    words,
    run() {},
  });
  const choices = [
    choice("go", "Show: Closed"),
    ...Array.from({ length: 9 }, (_, index) => choice("conversations", `Customer ${index}`)),
    choice("conversations", "Jörg Müller", "jm@example.de"),
    choice("settings", "Appearance: Dark", "theme dark"),
  ];

  test("finds by every word, without marks and capitals, and by what is not shown", () => {
    assert.deepEqual(
      findChoices(choices, "muller JORG").map(({ label }) => label),
      ["Jörg Müller"],
    );
    assert.deepEqual(
      findChoices(choices, "theme").map(({ label }) => label),
      ["Appearance: Dark"],
    );
    assert.deepEqual(
      findChoices(choices, "jm@exam").map(({ label }) => label),
      ["Jörg Müller"],
    );
    assert.deepEqual(findChoices(choices, "nobody"), []);
  });

  test("without a query offers all actions, and the newest conversations only", () => {
    assert.equal(findChoices(choices, "").filter(({ group }) => group === "conversations").length, 6);
    assert.equal(findChoices(choices, "").filter(({ group }) => group !== "conversations").length, 2);
  });
});

describe("keys", () => {
  const page = { localName: "body" };
  const press = (/** @type {string} */ key, /** @type {any} */ more = {}) =>
    /** @type {any} */ ({ key, target: page, ctrlKey: false, metaKey: false, altKey: false, ...more });

  test("single letters act, capitals too", () => {
    const keyboard = new Keyboard();
    assert.equal(keyboard.actOf(press("j"), 0), "next");
    assert.equal(keyboard.actOf(press("E"), 0), "toggle_state");
    assert.equal(keyboard.actOf(press("?"), 0), "keys");
  });

  test("g waits for its letter, but not for long", () => {
    const keyboard = new Keyboard();
    assert.equal(keyboard.actOf(press("g"), 0), null);
    assert.equal(keyboard.actOf(press("u"), 500), "filter.unread");
    keyboard.actOf(press("g"), 1_000);
    assert.equal(keyboard.actOf(press("o"), 9_000), "open");
  });

  test("in a field every key is text, but for the palette's", () => {
    const keyboard = new Keyboard();
    for (const target of [
      { localName: "textarea" },
      { localName: "input", type: "search" },
      { isContentEditable: true },
    ]) {
      assert.equal(keyboard.actOf(press("e", { target }), 0), null);
      assert.equal(keyboard.actOf(press("k", { target, ctrlKey: true }), 0), "palette");
    }
    assert.equal(keyboard.actOf(press("x", { target: { localName: "input", type: "checkbox" } }), 0), "tick");
  });

  test("the browser keeps its own, and a held key closes one conversation, not all", () => {
    const keyboard = new Keyboard();
    assert.equal(keyboard.actOf(press("r", { ctrlKey: true }), 0), null);
    assert.equal(keyboard.actOf(press("e", { repeat: true }), 0), null);
    assert.equal(keyboard.actOf(press("j", { repeat: true }), 0), "next");
  });

  test("no two mean different things", () => {
    const typed = SHORTCUTS.map(({ keys }) => keys.join(" ").toLowerCase());
    assert.equal(new Set(typed).size, typed.length);
  });
});

describe("emoji", () => {
  test("stand once each, with a name", () => {
    assert.equal(new Set(EMOJI.map(({ emoji }) => emoji)).size, EMOJI.length);
    for (const { emoji, name } of EMOJI) assert.ok(name.length > 1 && !/[a-z]/.test(emoji), `${emoji} ${name}`);
  });

  test("are found by the beginnings of their words", () => {
    assert.ok(findEmoji("thumb", 3).some(({ emoji }) => emoji === "👍"));
    assert.ok(findEmoji("red_heart", 1).some(({ emoji }) => emoji === "❤️"));
    assert.deepEqual(findEmoji("zzz"), []);
  });

  test("a colon asks for one only where a word begins", () => {
    assert.deepEqual(emojiQueryAt("well :smi", 9), { start: 5, query: "smi" });
    for (const text of ["10:30", "https://x", "a:smi", ":s", ": smile"])
      assert.equal(emojiQueryAt(text, text.length), null, text);
  });
});

describe("what is kept in the browser", () => {
  /** @returns {any} */
  const storage = () => {
    const items = new Map();
    return {
      items,
      getItem: (/** @type {string} */ key) => items.get(key) ?? null,
      setItem: (/** @type {string} */ key, /** @type {string} */ value) => items.set(key, value),
      removeItem: (/** @type {string} */ key) => items.delete(key),
    };
  };
  const forbidden = /** @type {any} */ ({
    getItem() {
      throw new Error("no");
    },
    setItem() {
      throw new Error("full");
    },
    removeItem() {},
  });

  test("a draft is there for the next page, and for another tab", () => {
    const shared = storage();
    const [one, other] = [new Drafts(shared, "d"), new Drafts(shared, "d")];
    one.set("co-1", "Dear Emma");
    assert.equal(other.get("co-1"), "Dear Emma");
    other.set("co-2", "x");
    one.set("co-1", "  ");
    assert.deepEqual([other.get("co-1"), one.get("co-2")], ["", "x"]);
  });

  test("drafts have a bound, and the oldest goes first", () => {
    const drafts = new Drafts(storage(), "d");
    for (let index = 0; index < 205; index += 1) drafts.set(`co-${index}`, "x");
    assert.deepEqual([drafts.texts.size, drafts.get("co-4"), drafts.get("co-5")], [200, "", "x"]);
  });

  test("without storage, or with nonsense in it, they last as long as the page", () => {
    const drafts = new Drafts(forbidden, "d");
    drafts.set("co-1", "x");
    assert.equal(drafts.get("co-1"), "x");
    const odd = storage();
    odd.items.set("d", "{not json");
    assert.equal(new Drafts(odd, "d").get("co-1"), "");
  });

  test("a setting that is unknown counts as the usual one", () => {
    const shared = storage();
    shared.items.set("chatd.inbox.setting.theme", "pink");
    const settings = new Settings(shared);
    assert.equal(settings.get("theme"), "system");
    settings.set("theme", "dark");
    assert.equal(new Settings(shared).get("theme"), "dark");
    const unkept = new Settings(forbidden);
    unkept.set("sound", "off");
    assert.equal(unkept.get("sound"), "off");
  });
});
