// @ts-check
/** The parts of the bubble that need no page: what stands in a thread, addresses, carts, colours, languages. */

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, test } from "node:test";

import { addressMistake, likelyAddress } from "../../static/bubble/address.js";
import { readCart } from "../../static/bubble/cart.js";
import { itemsOf } from "../../static/bubble/items.js";
import { palette } from "../../static/bubble/styles.js";
import { FakeTab, settle } from "./fake_browser.js";

const MINUTE = 60_000;
const NOON = new Date(2025, 10, 22, 12).getTime();
const LEO = { kind: "staff", id: "leo", name: "Leo" };
const MIA = { kind: "customer", id: "mia", name: "Mia" };

/** A thread of messages: who, minutes after noon. */
function thread(...said) {
  return said.map(([author, minutes, text = "…"], index) => ({
    number: index + 1,
    event: {
      type: "message_sent",
      at: NOON + minutes * MINUTE,
      message: { client_id: `c${index + 1}`, position: index + 1, author, parts: [{ type: "text", text }] },
    },
  }));
}
const draw = (entries, facts = {}) => itemsOf(entries, { seenByShop: 0, freshFrom: 0, ...facts });
const messages = (items) => items.filter((item) => item.kind === "message");

describe("a thread", () => {
  test("one person's messages within five minutes stand together", () => {
    const items = messages(draw(thread([LEO, 0], [LEO, 3], [LEO, 5], [LEO, 6], [MIA, 7])));
    assert.deepEqual(
      items.map(({ first, last }) => [first, last]),
      [
        [true, false],
        [false, false],
        [false, true],
        [true, true],
        [true, true],
      ],
    );
  });

  test("a new day has a line and parts a group", () => {
    const items = draw(thread([LEO, 12 * 60 - 1], [LEO, 12 * 60 + 1]));
    assert.deepEqual(
      items.map((item) => item.kind),
      ["day", "message", "day", "message"],
    );
    assert.ok(messages(items).every(({ first, last }) => first && last));
  });

  test("what was unread when the view opened begins with a line, above the shop's message", () => {
    const items = draw(thread([LEO, 0], [MIA, 1], [LEO, 2], [LEO, 3]), { freshFrom: 2 });
    assert.deepEqual(
      items.map((item) => item.kind),
      ["day", "message", "message", "fresh", "message", "message"],
    );
  });

  test("Sent and Seen stand where they tell something: under the newest, and under the newest that was seen", () => {
    const marks = (seenByShop) =>
      messages(draw(thread([MIA, 0], [MIA, 1], [LEO, 2], [MIA, 9]), { seenByShop })).map((item) => item.mark);
    assert.deepEqual(marks(0), ["", "", "", "sent"]);
    assert.deepEqual(marks(2), ["", "seen", "", "sent"]);
    assert.deepEqual(marks(4), ["", "", "", "seen"]);
  });

  test("a message keeps its key from pending to sent, and one that was refused stands alone", () => {
    const command = { id: "c2", at: NOON, state: "failed" };
    const waiting = {
      number: Infinity,
      pending: command,
      event: {
        type: "message_sent",
        at: NOON,
        message: { client_id: "c2", position: Infinity, author: null, parts: [] },
      },
    };
    const items = messages(draw([...thread([MIA, 0]), waiting]));
    assert.deepEqual(
      items.map(({ key, own, first, last }) => [key, own, first, last]),
      [
        ["c1", true, true, true],
        ["c2", true, true, true],
      ],
    );
    assert.equal(messages(draw(thread([MIA, 0], [MIA, 0])))[1].key, "c2");
  });

  test("events that customers need not read leave no line", () => {
    const at = NOON;
    const quiet = ["customer_introduced", "conversation_opened", "of_a_later_version"].map((type, index) => ({
      number: 9 + index,
      event: { type, at },
    }));
    assert.deepEqual(
      messages(draw([...thread([MIA, 0]), ...quiet, { number: 20, event: { type: "conversation_closed", at } }]))
        .length,
      1,
    );
  });

  test("that a conversation was closed says how to go on, until somebody has gone on", () => {
    const closed = { number: 2, event: { type: "conversation_closed", at: NOON } };
    const [first, , third] = thread([MIA, 0], [MIA, 1], [MIA, 2]);
    assert.deepEqual(
      draw([first, closed]).map((item) => item.kind),
      ["day", "message", "closed_now"],
    );
    assert.deepEqual(
      draw([first, closed, third]).map((item) => item.kind),
      ["day", "message", "closed", "message"],
    );
  });
});

describe("an address", () => {
  test("what can be written to is taken", () => {
    for (const good of ["mia@example.com", "o'neil+shop@sub.example.co.uk", "用户@例子.广告", "a@b.de"])
      assert.equal(addressMistake(good), "", good);
  });

  test("what surely cannot is explained", () => {
    assert.equal(addressMistake("mia"), "email_at");
    for (const bad of [
      "mia@",
      "@example.com",
      "mia@example",
      "mia@example..com",
      "mia @example.com",
      "mia@example.com,leo@example.com",
      "mia@example.com\r\nBcc: x@y.z",
    ])
      assert.equal(addressMistake(bad), "email_incomplete", bad);
    assert.equal(addressMistake(`${"a".repeat(250)}@example.com`), "email_long");
  });

  test("a slip in a well-known domain is noticed, another domain is not touched", () => {
    for (const typed of ["gmial.com", "gmal.com", "gmail.con", "gmaill.com", "GMIAL.com"])
      assert.equal(likelyAddress(`mia@${typed}`), "mia@gmail.com", typed);
    for (const typed of ["gmail.com", "example.com", "mail.com", "gmx.de", "email.com", "gmail.co.uk"])
      assert.equal(likelyAddress(`mia@${typed}`), "", typed);
  });
});

describe("a cart", () => {
  const line = { id: "a", title: "Lamp", quantity: 1, price: 12900 };
  const cart = (/** @type {object} */ changes = {}, /** @type {object} */ lineChanges = {}) =>
    readCart({ currency: "EUR", subtotal: 12900, lines: [{ ...line, ...lineChanges }], ...changes });

  test("what a shop tells arrives as chatd takes it, without what it does not know", () => {
    assert.deepEqual(cart({ note: "gift" }, { id: 7, colour: "red" }), {
      cart: { currency: "EUR", subtotal: 12900, lines: [{ ...line, id: "7" }] },
    });
    assert.deepEqual(cart({}, { quantity: 0 }), { cart: { currency: "EUR", subtotal: 12900, lines: [] } });
  });

  test("a mistake is named, with the place", () => {
    const mistake = (/** @type {any} */ read) => read.mistake;
    assert.match(mistake(readCart(undefined)), /currency is undefined, expected/);
    assert.match(mistake(cart({ currency: "eur" })), /currency is "eur"/);
    assert.match(mistake(cart({ subtotal: 129.5 })), /subtotal is 129\.5, expected integer minor units/);
    assert.match(mistake(cart({ lines: null })), /lines is null, expected a list/);
    assert.match(mistake(cart({ lines: [null] })), /lines\[0\]\.id is undefined, expected the line's or variant's key/);
    assert.match(mistake(cart({}, { price: "129.00" })), /lines\[0\]\.price is "129\.00"/);
    assert.match(mistake(cart({ lines: [line, line] })), /lines\[1\]\.id is "a", which an earlier line has/);
  });
});

describe("a shop's colour", () => {
  const channels = (/** @type {string} */ rgb) => rgb.split(" ").map((value) => Number(value) / 255);
  const luminance = (/** @type {number[]} */ rgb) => {
    const [red, green, blue] = rgb.map((value) =>
      value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (/** @type {number[]} */ ...both) => {
    const [low, high] = both.sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };

  test("keeps words readable, whatever colour it is", () => {
    const steps = [0, 51, 102, 153, 204, 255].map((value) => value.toString(16).padStart(2, "0"));
    for (const red of steps)
      for (const green of steps)
        for (const blue of steps) {
          const css = palette(`#${red}${green}${blue}`);
          const schemes = [
            ...css.matchAll(/--accent:rgb\(([^)]*)\);--on-accent:rgb\(([^)]*)\);--accent-text:rgb\(([^)]*)\)/g),
          ];
          assert.equal(schemes.length, 2);
          for (const [index, [, fill, on, text]] of schemes.entries()) {
            const grounds = [
              ["242 241 238", "255 255 255"],
              ["45 48 54", "24 25 28"],
            ][index];
            assert.ok(
              contrast(luminance(channels(fill)), luminance(channels(on))) >= 4.5,
              `${css}: words on the colour`,
            );
            for (const ground of grounds)
              assert.ok(
                contrast(luminance(channels(text)), luminance(channels(ground))) >= 4.5,
                `${css}: the colour as words`,
              );
          }
        }
  });

  test("is a colour and nothing else", () => {
    assert.equal(palette("red;}*{background:url(//canary)}"), palette("#0f766e"));
  });
});

describe("the languages", () => {
  test("all have the same texts with the same facts", async () => {
    const folder = new URL("../../static/bubble/locales/", import.meta.url);
    const { default: english } = await import(new URL("en.js", folder).href);
    const facts = (/** @type {unknown} */ text) =>
      [...new Set([...JSON.stringify(text).matchAll(/\{(\w+)\}/g)].map(([, name]) => name))].sort();
    for (const file of await readdir(folder)) {
      const { default: catalogue } = await import(new URL(file, folder).href);
      assert.deepEqual(Object.keys(catalogue), Object.keys(english), file);
      for (const [key, text] of Object.entries(catalogue)) {
        assert.deepEqual(facts(text), facts(english[key]), `${file}: ${key}`);
        if (typeof text === "string") continue;
        const forms = new Intl.PluralRules(file.replace(".js", "")).resolvedOptions().pluralCategories;
        for (const form of forms) assert.ok(text[form], `${file}: ${key} has no form "${form}"`);
      }
    }
  });
});

describe("half a character", () => {
  test("never leaves the browser: chatd would refuse the frame, and a hello that it refuses is the last", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.client.signal("set_active", { active: true, url: "https://shop.example/", title: "x😀".slice(0, 2) });
    tab.client.send("introduce", { name: "\ude00 😀" });
    await settle();
    const sent = socket.take();
    assert.equal(sent.find((/** @type {any} */ frame) => frame.type === "set_active").title, "x\ufffd");
    assert.equal(sent.find((/** @type {any} */ frame) => frame.type === "introduce").name, "\ufffd 😀");
  });
});

describe("a storefront of another age", () => {
  test("whose library gives arrays a toJSON does not change what is sent", async () => {
    const arrays = /** @type {any} */ (Array.prototype);
    arrays.toJSON = () => "a string";
    try {
      const tab = new FakeTab();
      const socket = await tab.connected();
      tab.client.send("send_message", { parts: [{ type: "text", text: "Hi" }] });
      await settle();
      assert.equal(arrays.toJSON(), "a string", "the page keeps its own");
      const sent = socket.take().find((/** @type {any} */ frame) => frame.type === "send_message");
      assert.deepEqual(sent.parts, [{ type: "text", text: "Hi" }]);
    } finally {
      delete arrays.toJSON;
    }
  });
});
