// @ts-check
/** What is asked for: commands, queries and signals, and every answer that they can get. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { event, FakeTab, WELCOME } from "./fake_browser.js";

const say = (text) => ({ parts: [{ type: "text", text }] });
const stored = (storage) => [...storage.items.keys()].filter((key) => key.startsWith("chatd.outbox."));

describe("commands", () => {
  test("resolve with the ack's result", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    const promise = tab.client.send("introduce", { name: "Mia" });
    const [frame] = socket.take("introduce");
    assert.match(frame.id, /^[A-Za-z0-9_-]{8,64}$/);
    assert.deepEqual(Object.keys(frame).sort(), ["id", "name", "type"], "the outbox's own fields stay at home");
    await socket.tell({ type: "ack", id: frame.id, result: { person: {} } });
    assert.deepEqual(await promise, { person: {} });
    assert.deepEqual(tab.client.pending, []);
    assert.deepEqual(stored(tab.storage), []);
  });

  test("have ids that begin with the time, and are never the same", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    const before = Date.now();
    const asked = [1, 2, 3].map(() => tab.client.ask("load_conversation", { conversation: "c" }));
    asked.forEach((one) => one.catch(() => {}));
    const ids = socket.take("load_conversation").map((frame) => frame.id);
    assert.equal(new Set(ids).size, 3);
    for (const id of ids) {
      assert.match(id, /^[0-9a-f]{32}$/);
      const at = parseInt(id.slice(0, 12), 16);
      assert.ok(before <= at && at <= Date.now());
    }
  });

  test("leave one after another, in their order, each after the other's answer", async () => {
    const tab = new FakeTab();
    for (const text of ["a", "b", "c"]) tab.client.send("send_message", say(text));
    assert.equal(tab.client.pending.length, 3);
    const socket = await tab.connected();
    const order = [];
    for (let i = 0; i < 3; i++) {
      const sent = socket.take("send_message");
      assert.equal(sent.length, 1);
      order.push(sent[0].parts[0].text);
      await socket.tell({ type: "ack", id: sent[0].id, result: {} });
    }
    assert.deepEqual(order, ["a", "b", "c"]);
  });

  test("too fast: it waits as long as it was told, and keeps the order", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    const promise = tab.client.send("send_message", say("a"));
    tab.client.send("send_message", say("b"));
    const [first] = socket.take("send_message");
    await socket.tell({
      type: "error",
      id: first.id,
      code: "too_fast",
      message: "…",
      temporary: true,
      facts: { retry_after_ms: 900 },
    });
    await tab.clock.advance(899);
    assert.deepEqual(socket.take("send_message"), []);
    await tab.clock.advance(1);
    assert.deepEqual(socket.take("send_message"), [first]);
    await socket.tell({ type: "ack", id: first.id, result: { position: 1 } });
    assert.deepEqual(await promise, { position: 1 });
    assert.equal(socket.take("send_message")[0].parts[0].text, "b");
  });

  test("a store that cannot now is asked again, ever more patiently, and nothing is lost", async () => {
    const tab = new FakeTab();
    tab.random = 0.999;
    const socket = await tab.connected();
    tab.client.send("send_message", say("a"));
    let asked = 0;
    for (let waited = 0; waited < 120_000; waited += 500) {
      for (const { id } of socket.take("send_message")) {
        asked += 1;
        await socket.tell({
          type: "error",
          id,
          code: "store_unavailable",
          message: "disk full",
          temporary: true,
          facts: {},
        });
      }
      if (socket.take("ping").length) await socket.tell({ type: "pong" });
      await tab.clock.advance(500);
    }
    assert.ok(asked > 4 && asked < 12, `${asked} times in two minutes`);
    assert.equal(tab.client.pending[0].state, "sending");
  });

  test("refused for good: what was written stays, with the reason, over a reload, until it is discarded", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    const promise = tab.client.send("send_message", say("much too long"));
    const [{ id }] = socket.take("send_message");
    await socket.tell({
      type: "error",
      id,
      code: "too_large",
      message: "4,001 characters",
      temporary: false,
      facts: { limit: 4000 },
    });
    await assert.rejects(promise, {
      code: "too_large",
      message: "4,001 characters",
      temporary: false,
      facts: { limit: 4000 },
    });
    assert.deepEqual(
      tab.heard("refused").map(({ command, error }) => [command.id, error.code]),
      [[id, "too_large"]],
    );
    await tab.fire("pagehide");

    const next = new FakeTab({ clock: tab.clock, storage: tab.storage });
    const fresh = await next.connected();
    const [entry] = next.client.pending;
    assert.equal(entry.state, "failed");
    assert.equal(entry.parts[0].text, "much too long");
    assert.deepEqual(entry.error, {
      code: "too_large",
      message: "4,001 characters",
      facts: { limit: 4000 },
      temporary: false,
    });
    assert.deepEqual(fresh.take("send_message"), [], "it is not sent by itself");
    next.client.discard(id);
    assert.deepEqual(next.client.pending, []);
    assert.deepEqual(stored(tab.storage), []);
  });

  test("a refused one holds up nobody, and may be tried again by hand", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.client.send("send_message", say("a"));
    tab.client.send("send_message", say("b"));
    const [a] = socket.take("send_message");
    await socket.tell({ type: "error", id: a.id, code: "not_permitted", message: "…", temporary: false, facts: {} });
    const [b] = socket.take("send_message");
    await socket.tell({ type: "ack", id: b.id, result: {} });
    tab.client.retry(a.id);
    assert.deepEqual(socket.take("send_message"), [a]);
    await socket.tell({ type: "ack", id: a.id, result: {} });
    assert.deepEqual(tab.client.pending, []);
  });

  test("a refused mark or cart is told and forgotten: nobody wrote it", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    const promise = tab.client.send("mark_seen", { conversation: "k1", position: 3 });
    const [{ id }] = socket.take("mark_seen");
    await socket.tell({ type: "error", id, code: "not_found", message: "…", temporary: false, facts: {} });
    await assert.rejects(promise, { code: "not_found" });
    assert.deepEqual(tab.client.pending, []);
    assert.deepEqual(stored(tab.storage), []);
  });

  test("an unreadable frame has no id: the command that flew is meant", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.client.send("send_message", say("a"));
    await socket.tell({ type: "error", id: null, code: "malformed_frame", message: "…", temporary: false, facts: {} });
    assert.equal(tab.client.pending[0].state, "failed");
    await socket.tell({ type: "ack", id: tab.client.pending[0].id, result: {} });
    assert.deepEqual(tab.client.pending, [], "it was another frame, and the ack sets it right");
  });

  for (const code of [1002, 1003, 1007, 1009]) {
    test(`after ${code} it comes back, but not with the same frame`, async () => {
      const tab = new FakeTab();
      const socket = await tab.connected();
      tab.client.send("send_message", say("a"));
      tab.client.send("send_message", say("b"));
      await socket.end(code);
      assert.deepEqual(
        tab.client.pending.map((entry) => entry.state),
        ["failed", "sending"],
      );
      await tab.clock.advance(30_000);
      await tab.socket.open();
      await tab.socket.tell(WELCOME);
      assert.deepEqual(
        tab.socket.take("send_message").map((frame) => frame.parts[0].text),
        ["b"],
      );
    });
  }

  test("an acknowledged message stays pending until its event is there, so that it does not blink", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 5 });
    const promise = tab.client.send("send_message", say("a"));
    const [{ id }] = socket.take("send_message");
    await socket.tell({ type: "ack", id, result: { number: 7 } });
    assert.equal((await promise).number, 7);
    assert.equal(tab.client.pending.length, 1);
    assert.deepEqual(stored(tab.storage), [], "a reload would not send it again");
    await socket.tell(event(6));
    assert.equal(tab.client.pending.length, 1);
    await socket.tell(event(7));
    assert.deepEqual(tab.client.pending, []);
  });

  test("the event before the ack is as good", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 5 });
    tab.client.send("send_message", say("a"));
    const [{ id }] = socket.take("send_message");
    await socket.tell(event(6), { type: "ack", id, result: { number: 6 } });
    assert.deepEqual(tab.client.pending, []);
  });

  test("acknowledged and then cut off: it is not sent again, and a snapshot ends the waiting", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 5 });
    tab.client.send("send_message", say("a"));
    const [{ id }] = socket.take("send_message");
    await socket.tell({ type: "ack", id, result: { number: 6 } });
    await socket.end();
    await tab.clock.advance(30_000);
    await tab.socket.open();
    await tab.socket.tell({ ...WELCOME, number: 9 });
    assert.deepEqual(tab.socket.take("send_message"), []);
    assert.deepEqual(tab.client.pending, []);
  });

  test("only the newest mark of a conversation and the newest cart are kept", async () => {
    const tab = new FakeTab();
    const promises = [
      tab.client.send("mark_seen", { conversation: "k1", position: 3 }),
      tab.client.send("mark_seen", { conversation: "k2", position: 1 }),
      tab.client.send("mark_seen", { conversation: "k1", position: 5 }),
      tab.client.send("mark_seen", { conversation: "k1", position: 4 }),
      tab.client.send("update_cart", { cart: { subtotal: 1 } }),
      tab.client.send("update_cart", { cart: { subtotal: 2 } }),
    ];
    const socket = await tab.connected();
    socket.take("hello");
    const sent = [];
    for (let frame; ([frame] = socket.take()), frame;) {
      sent.push([frame.type, frame.conversation, frame.position ?? frame.cart.subtotal]);
      await socket.tell({ type: "ack", id: frame.id, result: { for: frame.position ?? frame.cart.subtotal } });
    }
    assert.deepEqual(sent, [
      ["mark_seen", "k2", 1],
      ["mark_seen", "k1", 5],
      ["update_cart", undefined, 2],
    ]);
    assert.deepEqual(
      (await Promise.all(promises)).map((result) => result.for),
      [5, 1, 5, 5, 2, 2],
    );
  });

  test("a mark that is on its way is not touched by the next one", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.client.send("mark_seen", { conversation: "k1", position: 3 });
    tab.client.send("mark_seen", { conversation: "k1", position: 4 });
    const [first] = socket.take("mark_seen");
    assert.equal(first.position, 3);
    await socket.tell({ type: "ack", id: first.id, result: {} });
    assert.equal(socket.take("mark_seen")[0].position, 4);
  });

  test("the outbox is bounded, and says so instead of losing something", async () => {
    const tab = new FakeTab();
    for (let i = 0; i < 500; i++) tab.client.send("send_message", say(String(i)));
    await assert.rejects(tab.client.send("send_message", say("one more")), { code: "outbox_full" });
    assert.equal(tab.client.pending.length, 500);
  });

  test("what has left cannot be discarded; what has not can", async () => {
    const tab = new FakeTab();
    await tab.connected();
    tab.client.send("send_message", say("a"));
    const b = tab.client.send("send_message", say("b"));
    for (const { id } of tab.client.pending) tab.client.discard(id);
    assert.deepEqual(
      tab.client.pending.map((entry) => entry.parts[0].text),
      ["a"],
    );
    await assert.rejects(b, { code: "discarded" });
  });

  test("the wishes of an ended client wait for the next login", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    await socket.end(4503);
    tab.client.send("send_message", say("a"));
    tab.client.close();
    const next = new FakeTab({ clock: tab.clock, storage: tab.storage });
    assert.equal((await next.connected()).take("send_message").length, 1);
  });
});

describe("queries", () => {
  test("resolve with the data; several may be on their way", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    const one = tab.client.ask("load_history", { conversation: "k1", before: 7 });
    const two = tab.client.ask("load_history", { conversation: "k2" });
    const [first, second] = socket.take("load_history");
    await socket.tell(
      { type: "result", id: second.id, data: { two: 2 } },
      { type: "result", id: first.id, data: { one: 1 } },
    );
    assert.deepEqual([await one, await two], [{ one: 1 }, { two: 2 }]);
  });

  test("wait for the connection, outlive the loss of one, and not of two", async () => {
    const tab = new FakeTab();
    const promise = tab.client.ask("load_history", { conversation: "k1" });
    promise.catch(() => {});
    tab.random = 0;
    await tab.connected();
    const ids = new Set();
    for (let i = 0; i < 2; i++) {
      for (const { id } of tab.socket.take("load_history")) ids.add(id);
      await tab.socket.end();
      await tab.clock.advance(1_000);
      await tab.socket.open();
      await tab.socket.tell(WELCOME);
    }
    assert.equal(ids.size, 1);
    assert.deepEqual(tab.socket.take("load_history"), []);
    await assert.rejects(promise, { code: "temporary", temporary: true });
  });

  test("give up after 15 s, wherever they are", async () => {
    const tab = new FakeTab();
    const never = tab.client.ask("load_history", { conversation: "k1" });
    const caught = assert.rejects(never, { code: "unanswered", temporary: true });
    await tab.clock.advance(15_000);
    await caught;
    assert.equal(tab.clock.timers, 0);
  });

  test("a refusal for good rejects; a temporary one is asked again in time", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    const bad = assert.rejects(tab.client.ask("load_history", { conversation: "no" }), { code: "not_found" });
    const [{ id }] = socket.take("load_history");
    await socket.tell({ type: "error", id, code: "not_found", message: "…", temporary: false, facts: {} });
    await bad;
    const slow = tab.client.ask("load_history", { conversation: "k1" });
    const [again] = socket.take("load_history");
    await socket.tell({
      type: "error",
      id: again.id,
      code: "too_fast",
      message: "…",
      temporary: true,
      facts: { retry_after_ms: 900 },
    });
    await tab.clock.advance(900);
    assert.deepEqual(socket.take("load_history"), [again]);
    await socket.tell({ type: "result", id: again.id, data: 1 });
    assert.equal(await slow, 1);
  });
});

describe("signals", () => {
  test("are dropped when nobody would hear them", async () => {
    const tab = new FakeTab();
    tab.client.signal("set_typing", { conversation: "k1", on: true });
    const socket = await tab.connected();
    assert.deepEqual(socket.take("set_typing"), []);
    tab.client.signal("set_typing", { conversation: "k1", on: false });
    assert.deepEqual(socket.take("set_typing"), [{ conversation: "k1", on: false, type: "set_typing" }]);
    await socket.tell({ type: "signal", name: "shop_presence", data: { online: false } });
    assert.equal(tab.heard("signal")[0].data.online, false);
  });
});
