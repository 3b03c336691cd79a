// @ts-check
/** How a thread is laid out: groups, days, the *New* line, event lines, and what became of each message. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { eventWords } from "../../static/inbox/event-words.js";
import { lastSeenOf } from "../../static/inbox/last-seen.js";
import { markOf } from "../../static/inbox/marks.js";
import { previewOf } from "../../static/inbox/preview.js";
import { replyRouteOf } from "../../static/inbox/reply-route.js";
import { firstUnread, itemsOf } from "../../static/inbox/thread-items.js";

const MINUTE = 60_000;
const NOON = new Date(2025, 10, 22, 12).getTime();
const EMMA = { kind: "customer", id: "cu-emma", name: "Emma" };
const MIA = { kind: "staff", id: "st-mia", name: "Mia" };
const LEO = { kind: "staff", id: "st-leo", name: "Leo" };

/** A thread told in short: each line has who, minutes after noon and words, or an event. */
function thread(/** @type {any[][]} */ ...lines) {
  let incoming = 0;
  let position = 0;
  return lines.map(([who, minutes, what], index) => {
    const at = NOON + minutes * MINUTE;
    if (typeof what !== "string") return { number: index + 1, event: { at, ...what } };
    position += 1;
    if (who === EMMA) incoming += 1;
    const message = {
      id: `me-${index}`,
      client_id: `client-${index}`,
      position,
      incoming,
      author: who,
      channel: "chat",
      parts: [{ type: "text", text: what }],
    };
    return { number: index + 1, event: { type: "message_sent", at, message } };
  });
}

const CAME = { type: "customer_came" };
const LEFT = { type: "customer_left" };
const CLOSED = { type: "conversation_closed", by: LEO };
/** @param {any[]} items */
const kinds = (items) => items.map(({ kind }) => kind).join(" ");
const view = { me: MIA.id };

describe("groups", () => {
  test("messages of one person within five minutes stand together", () => {
    const items = itemsOf(
      thread([EMMA, 0, "a"], [EMMA, 4, "b"], [EMMA, 5, "c"], [MIA, 5, "d"], [LEO, 6, "e"]),
      view,
    ).filter(({ kind }) => kind === "message");
    assert.deepEqual(
      items.map(({ opens, ends }) => [opens, ends]),
      [
        [true, false],
        [false, true],
        [true, true],
        [true, true],
        [true, true],
      ],
    );
  });

  test("five minutes count from the beginning of the group, so that a steady writer gets a time now and then", () => {
    const items = itemsOf(thread([EMMA, 0, "a"], [EMMA, 3, "b"], [EMMA, 6, "c"]), view).filter(
      ({ kind }) => kind === "message",
    );
    assert.deepEqual(
      items.map(({ opens }) => opens),
      [true, false, true],
    );
  });

  test("an event between them, or a new day, parts them", () => {
    const items = itemsOf(thread([EMMA, 0, "a"], [null, 1, CAME], [EMMA, 2, "b"]), view);
    assert.equal(kinds(items), "day message line message");
    assert.ok(items[3].opens);
  });

  test("what waits to be sent joins one's own, under the key that it keeps", () => {
    const entry = {
      number: Infinity,
      event: {
        type: "message_sent",
        at: NOON + 2 * MINUTE,
        message: {
          id: "own",
          client_id: "own",
          position: Infinity,
          author: null,
          parts: [{ type: "text", text: "b" }],
        },
      },
      pending: { id: "own", state: "sending" },
    };
    const before = itemsOf([...thread([MIA, 0, "a"]), entry], view);
    const sent = {
      number: 2,
      event: {
        type: "message_sent",
        at: entry.event.at,
        message: { ...entry.event.message, position: 2, incoming: 0, author: MIA, channel: "chat" },
      },
    };
    const after = itemsOf([...thread([MIA, 0, "a"]), sent], view);
    assert.ok(before[2].own && !before[2].opens);
    assert.deepEqual(
      before.map(({ key }) => key),
      after.map(({ key }) => key),
    );
  });
});

describe("days and the New line", () => {
  test("each day begins with its break", () => {
    const items = itemsOf(thread([EMMA, 0, "a"], [EMMA, 13 * 60, "b"], [EMMA, 14 * 60, "c"]), view);
    assert.equal(kinds(items), "day message day message message");
  });

  test("New stands before the first message that was unread, and once", () => {
    const entries = thread([EMMA, 0, "a"], [MIA, 1, "b"], [EMMA, 2, "c"], [EMMA, 3, "d"]);
    const newFrom = firstUnread(entries, 1);
    assert.equal(newFrom, 3);
    assert.equal(kinds(itemsOf(entries, { ...view, newFrom })), "day message message new message message");
    assert.equal(firstUnread(entries, 3), null);
    assert.ok(!kinds(itemsOf(entries, view)).includes("new"));
  });

  test("a clock that went back reorders nothing", () => {
    const items = itemsOf(thread([EMMA, 0, "a"], [EMMA, -3, "b"]), view);
    assert.deepEqual(
      items.slice(1).map(({ text }) => text),
      ["a", "b"],
    );
  });
});

describe("event lines", () => {
  test("a cart with several changes is told in as many lines", () => {
    const changes = [
      { kind: "added", title: "Cup", quantity: 2, was: 0 },
      { kind: "removed", title: null, quantity: 0, was: 1 },
    ];
    const items = itemsOf(thread([null, 0, { type: "cart_changed", changes }]), view);
    assert.equal(kinds(items), "day line line");
    assert.equal(new Set(items.map(({ key }) => key)).size, 3);
  });

  test("the middle of a long run is folded, and unfolds", () => {
    const entries = thread(...Array.from({ length: 9 }, (_, index) => [null, index, CLOSED]));
    const folded = itemsOf(entries, view);
    assert.equal(kinds(folded), "day line fold line line");
    assert.equal(folded[2].count, 6);
    assert.equal(kinds(itemsOf(entries, { ...view, unfolded: new Set([folded[2].key]) })), `day${" line".repeat(9)}`);
  });

  test("of coming and going in a row the newest is told, in the place and with the key of the first", () => {
    const lines = [[EMMA, 0, "a"], [null, 1, LEFT], [null, 2, CAME], [null, 3, LEFT], [null, 4, CLOSED], [null, 5, CAME]];
    const items = itemsOf(thread(...lines), view);
    assert.deepEqual(
      items.slice(2).map(({ event, at }) => [event.type, (at - NOON) / MINUTE]),
      [
        ["customer_left", 3],
        ["conversation_closed", 4],
        ["customer_came", 5],
      ],
    );
    // As it was when only the first had happened: the line changes where it stands, and nothing jumps.
    assert.equal(items[2].key, itemsOf(thread(...lines.slice(0, 2)), view)[2].key);
  });

  test("coming and going of another day keeps its own line", () => {
    const items = itemsOf(thread([null, 0, LEFT], [null, 13 * 60, CAME], [null, 13 * 60 + 1, LEFT]), view);
    assert.equal(kinds(items), "day line day line");
    assert.equal(items[3].event.type, "customer_left");
  });

  const t = (/** @type {string} */ key, /** @type {any} */ facts = {}) => `${key} ${JSON.stringify(facts)}`;
  const say = (/** @type {any} */ event, /** @type {any} */ change) =>
    eventWords(event, change, { t, me: MIA.id, customer: EMMA })?.text;
  const cart = { type: "cart_changed" };

  test("a product is named when chatd names it, and its quantity is told from two on", () => {
    assert.match(
      say(cart, { kind: "added", title: "Blue cup", quantity: 2, was: 0 }) ?? "",
      /^event.cart.added.several .*"title":"Blue cup","quantity":2/,
    );
    assert.match(say(cart, { kind: "added", title: "Blue cup", quantity: 1, was: 0 }) ?? "", /^event.cart.added.named/);
    assert.match(say(cart, { kind: "added", title: null, quantity: 2, was: 0 }) ?? "", /^event.cart.added.unnamed/);
    assert.match(
      say(cart, { kind: "quantity", title: null, quantity: 2, was: 1 }) ?? "",
      /^event.cart.quantity.unnamed/,
    );
  });

  test("closing and opening tell who did it", () => {
    assert.match(say({ type: "conversation_closed", by: MIA }) ?? "", /^event.closed.you/);
    assert.match(say({ type: "conversation_closed", by: LEO }) ?? "", /^event.closed.colleague .*Leo/);
    assert.match(say({ type: "conversation_opened", by: EMMA }) ?? "", /^event.opened.customer/);
  });

  test("an event of a later chatd is passed over", () => assert.equal(say({ type: "order_paid" }), undefined));
});

describe("what became of a message", () => {
  const row = { seen_by_customer: 2, delivered: 3 };
  const mail = (/** @type {string} */ state, first = 4, last = 5, reason = "") => ({
    mail: `${state} ${first}`,
    first,
    last,
    email: "emma@example.com",
    state,
    reason,
  });

  test("seen, delivered, sent", () => {
    assert.deepEqual(
      [2, 3, 4].map((position) => markOf(position, row, []).mark),
      ["seen", "delivered", "sent"],
    );
  });

  test("by mail: queued, sent, tried again, failed with the reason", () => {
    for (const state of ["queued", "sent", "retrying"])
      assert.equal(markOf(4, row, [mail(state)]).mark, `mail_${state}`);
    assert.deepEqual(markOf(5, row, [mail("failed", 4, 5, "550 no such user")]), {
      mark: "mail_failed",
      email: "emma@example.com",
      reason: "550 no such user",
    });
    assert.equal(markOf(6, row, [mail("queued")]).mark, "sent");
  });

  test("seen beats the mail, a withdrawn mail says nothing, a later mail beats one that failed", () => {
    assert.equal(markOf(2, row, [mail("sent", 1, 5)]).mark, "seen");
    assert.equal(markOf(4, row, [mail("withdrawn")]).mark, "sent");
    assert.equal(markOf(4, row, [mail("failed"), mail("sent", 4, 6)]).mark, "mail_sent");
  });
});

describe("the row's line", () => {
  const row = /** @type {any} */ ({
    id: "co-1",
    customer: { id: EMMA.id },
    last: { number: 1, at: NOON, author: LEO, text: "So it is\nindeed" },
  });

  test("tells who spoke last", () => {
    assert.deepEqual(previewOf(row, { me: MIA.id }), {
      kind: "message",
      who: "colleague",
      name: "Leo",
      text: "So it is indeed",
    });
    assert.equal(previewOf(row, { me: LEO.id }).who, "you");
    assert.equal(previewOf({ ...row, last: null }, { me: MIA.id }).who, "customer");
  });

  test("somebody who writes now beats a draft, and a draft the last message; one's own typing is no news", () => {
    assert.equal(previewOf(row, { me: MIA.id, draft: "Well", typing: EMMA }).kind, "typing");
    assert.equal(previewOf(row, { me: MIA.id, draft: "Well", typing: MIA }).kind, "draft");
    assert.equal(previewOf(row, { me: MIA.id, draft: "  " }).kind, "message");
  });
});

test("the reply goes to the screen, to the mail, or waits", () => {
  const row = { customer: { id: "cu-1", email: "a@example.com" } };
  const nobody = new Set(), her = new Set(["cu-1"]);
  const away = { online: nobody, reading: nobody };
  assert.equal(replyRouteOf(row, { online: her, reading: her }).route, "online");
  assert.equal(replyRouteOf(row, { online: nobody, reading: her }).route, "reading", "by a mail's link: not at the shop");
  assert.deepEqual(replyRouteOf(row, away), { route: "email", email: "a@example.com" });
  assert.equal(replyRouteOf({ customer: { id: "cu-1", email: "" } }, away).route, "none");
  const cut = replyRouteOf(row, { online: her, reading: nobody }, false);
  assert.equal(cut.route, "waiting", "nobody knows while it is not connected");
});

test("last seen is when the customer last did anything, a mail from them not counting", () => {
  const entries = thread([EMMA, 0, "a"], [null, 5, { type: "customer_left" }], [MIA, 9, "b"]);
  assert.equal(lastSeenOf(entries), NOON + 5 * MINUTE);
  assert.equal(lastSeenOf([]), null);
});
