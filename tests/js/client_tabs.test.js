// @ts-check
/** The outbox over reloads, crashes and tabs, without storage, and with a page that comes and goes. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { FakeClock, FakeStorage, FakeTab, settle, WELCOME } from "./fake_browser.js";

const say = (text) => ({ parts: [{ type: "text", text }] });
const stored = (storage) => [...storage.items.keys()].filter((key) => key.startsWith("chatd.outbox."));

describe("storage and tabs", () => {
  test("a reload sends what was not answered, with the old id and in the old order", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    for (const text of ["a", "b", "c"]) tab.client.send("send_message", say(text));
    const [a] = socket.take("send_message");
    await tab.fire("pagehide");
    assert.equal(socket.closedWith, 1000);

    const next = new FakeTab({ clock: tab.clock, storage: tab.storage });
    next.client.connect();
    assert.deepEqual(
      next.client.pending.map((entry) => entry.parts[0].text),
      ["a", "b", "c"],
    );
    const fresh = await next.connected();
    const [again] = fresh.take("send_message");
    assert.deepEqual(again, a);
    await fresh.tell({ type: "ack", id: again.id, result: {} });
    assert.equal(fresh.take("send_message")[0].parts[0].text, "b");
  });

  test("two tabs do not send each other's messages", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock, storage });
    await one.connected();
    await two.connected();
    one.client.send("send_message", say("from one"));
    await clock.advance(4_000);
    assert.equal(two.client.pending.length, 0);
    assert.equal(two.socket.take("send_message").length, 0);
    assert.equal(one.socket.take("send_message").length, 1);
  });

  test("what a crashed tab left is sent by another one, when the lease has run out", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock: new FakeClock(), storage });
    two.clock.now = clock.now;
    await two.connected();
    one.client.connect();
    one.client.send("send_message", say("last words"));
    one.crash();
    await two.clock.advance(14_000);
    await two.socket.tell({ type: "pong" });
    assert.deepEqual(two.client.pending, []);
    await two.clock.advance(2_000);
    assert.equal(two.socket.take("send_message")[0].parts[0].text, "last words");
  });

  test("what has waited for long is everybody's: the tab that finds the network first sends it", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock, storage });
    one.client.connect();
    two.client.connect();
    const promise = one.client.send("send_message", say("offline for long"));
    await clock.advance(60_000);
    assert.deepEqual(
      two.client.pending.map((entry) => entry.parts[0].text),
      ["offline for long"],
    );
    await two.fire("online");
    await two.socket.open();
    await two.socket.tell(WELCOME);
    const [{ id }] = two.socket.take("send_message");
    await two.socket.tell({ type: "ack", id, result: {} });
    await promise;
    assert.deepEqual([one.client.pending, two.client.pending], [[], []]);
  });

  test("older words go first, whichever tab they were written in", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock, storage });
    one.client.connect();
    one.client.send("send_message", say("first"));
    await clock.advance(10);
    const socket = await two.connected();
    two.client.send("send_message", say("second"));
    const [first] = socket.take("send_message");
    assert.equal(first.parts[0].text, "first");
    await socket.tell({ type: "ack", id: first.id, result: {} });
    assert.equal(socket.take("send_message")[0].parts[0].text, "second");
    assert.deepEqual(one.client.pending, []);
  });

  test("what was refused in one tab is seen, and can be done with, in every tab", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock, storage });
    await two.connected();
    const socket = await one.connected();
    one.client.send("send_message", say("no"));
    const [{ id }] = socket.take("send_message");
    await socket.tell({ type: "error", id, code: "not_permitted", message: "…", temporary: false, facts: {} });
    assert.deepEqual(
      two.client.pending.map((entry) => entry.error.code),
      ["not_permitted"],
    );
    two.client.retry(id);
    await settle();
    assert.equal(one.client.pending[0].state, "sending");
    two.client.discard(id);
    assert.equal(two.client.pending.length, 1, "it is on its way");
    await two.socket.tell({ type: "ack", id, result: {} });
    assert.deepEqual(one.client.pending, []);
  });

  test("a closed tab hands over at once to one that is open", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock, storage });
    await two.connected();
    one.client.send("send_message", say("bye"));
    one.client.connect();
    await one.fire("pagehide");
    storage.forget(one.window);
    await settle();
    assert.equal(two.socket.take("send_message")[0].parts[0].text, "bye");
  });

  test("a tab that slept and lost its lease lets the other one finish, and hears of it", async () => {
    const storage = new FakeStorage();
    const one = new FakeTab({ storage }),
      two = new FakeTab({ storage });
    one.client.connect();
    const promise = one.client.send("send_message", say("a")); // the clock of `one` stands still from here
    const socket = await two.connected();
    await two.clock.advance(20_000);
    const [{ id }] = socket.take("send_message");
    await socket.tell({ type: "ack", id, result: {} });
    assert.deepEqual(one.client.pending, []);
    await promise;
  });

  test("the cart of the tab that told it last wins, whichever tab has the network first", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock, storage });
    one.client.connect();
    two.client.connect();
    one.client.send("update_cart", { cart: { subtotal: 1 } });
    await settle();
    two.client.send("update_cart", { cart: { subtotal: 2 } });
    await settle();
    assert.deepEqual(one.client.pending, []);
    assert.equal(two.client.pending.length, 1);
    assert.equal(stored(storage).length, 1);
  });

  test("a mark of another tab that reaches further is not forgotten", async () => {
    const clock = new FakeClock(),
      storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }),
      two = new FakeTab({ clock, storage });
    one.client.connect();
    two.client.connect();
    one.client.send("mark_seen", { conversation: "k1", position: 9 });
    await settle();
    two.client.send("mark_seen", { conversation: "k1", position: 7 });
    assert.equal(two.client.pending[0].position, 9);
  });

  for (const [name, storage] of [
    ["no storage", null],
    [
      "forbidden storage",
      new Proxy(
        {},
        {
          get() {
            throw new DOMException("denied", "SecurityError");
          },
        },
      ),
    ],
    ["full storage", Object.assign(new FakeStorage(), { full: true })],
  ]) {
    test(`${name}: it works from memory`, async () => {
      const tab = new FakeTab({ storage });
      const promise = tab.client.send("send_message", say("a"));
      const socket = await tab.connected();
      await tab.fire("pagehide");
      await tab.fire("pageshow", { persisted: true });
      await tab.socket.open();
      await tab.socket.tell(WELCOME);
      const [{ id }] = tab.socket.take("send_message");
      await tab.socket.tell({ type: "ack", id, result: { position: 1 } });
      assert.deepEqual(await promise, { position: 1 });
      assert.equal(socket.closedWith, 1000);
    });
  }

  test("strange items under our names are left alone", async () => {
    const storage = new FakeStorage();
    for (const value of ["", "null", "{", "[]", '{"entry":null}', '{"entry":{"id":"other"}}'])
      storage.items.set(`chatd.outbox.${value}`, value);
    storage.items.set("chatd.token", "keep");
    const tab = new FakeTab({ storage });
    const promise = tab.client.send("send_message", say("a"));
    await tab.fire("pagehide");
    const next = new FakeTab({ storage, clock: tab.clock });
    await next.connected();
    assert.equal(next.socket.take("send_message").length, 1);
    assert.equal(storage.items.size, 8);
    void promise;
  });

  test("a clock that was set back does not keep an entry for ever", async () => {
    const tab = new FakeTab();
    tab.client.connect();
    tab.client.send("send_message", say("a"));
    tab.crash();
    const clock = new FakeClock();
    clock.now = tab.clock.now - 86_400_000;
    const next = new FakeTab({ clock, storage: tab.storage });
    next.client.connect();
    assert.equal(next.client.pending.length, 1);
  });
});

describe("the page around it", () => {
  test("a page that goes closes the socket at once; one that comes back from the cache resumes", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 4 });
    await tab.fire("pagehide");
    assert.equal(socket.closedWith, 1000);
    await tab.clock.advance(600_000);
    assert.equal(tab.sockets.length, 1, "in the cache nothing runs");
    await tab.fire("pageshow", { persisted: true });
    await tab.socket.open();
    assert.deepEqual(tab.socket.take("hello")[0].resume, { epoch: "e1", number: 4 });
  });

  test("what its owner has cleared from storage does not come back by closing: it may be somebody else's browser now", async () => {
    const tab = new FakeTab();
    await tab.connected();
    tab.client.send("send_message", say("of the one who logs out"));
    tab.storage.items.clear();
    tab.client.close();
    assert.deepEqual([stored(tab.storage), tab.client.pending], [[], []]);
  });

  test("whoever hears of a refusal may write at once, also when the connection has just gone", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.client.addEventListener("refused", () => {
      tab.client.signal("set_typing", { conversation: "k1", on: false });
      tab.client.send("send_message", say("shorter"));
    });
    tab.client.send("send_message", say("too big"));
    await socket.end(1009);
    await tab.clock.advance(30_000);
    await tab.socket.open();
    await tab.socket.tell(WELCOME);
    assert.equal(tab.socket.take("send_message")[0].parts[0].text, "shorter");
  });

  test("close leaves nothing behind: no timer, no listener, no socket", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.client.send("send_message", say("a"));
    const query = assert.rejects(tab.client.ask("load_history", { conversation: "k1" }), { code: "ended" });
    tab.client.close();
    await query;
    assert.equal(socket.closed, true);
    assert.equal(tab.clock.timers, 0);
    await tab.fire("online");
    await tab.fire("pageshow");
    assert.equal(tab.sockets.length, 1);
    assert.equal(stored(tab.storage).length, 1, "the message waits for the next page");
  });
});
