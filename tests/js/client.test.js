// @ts-check
/** The socket that stays: hello, resume, back-off, silence, outbox. The other end is scripted, the clock is told. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { event, FakeClock, FakeStorage, FakeTab, settle, WELCOME } from "./fake_browser.js";

const say = (text) => ({ parts: [{ type: "text", text }] });
const stored = (storage) => [...storage.items.keys()].filter((key) => key.startsWith("chatd.outbox."));

describe("hello and welcome", () => {
  test("the first frame is hello, with the page's fields and without a place to resume", async () => {
    const tab = new FakeTab({ hello: () => ({ token: "secret", channel: "bubble" }) });
    tab.client.connect();
    tab.client.connect();
    await settle();
    assert.equal(tab.sockets.length, 1);
    assert.deepEqual(tab.socket.protocols, ["chatd.v1.json"]);
    assert.equal(tab.client.status, "connecting");
    await tab.socket.open();
    assert.deepEqual(tab.socket.take(), [{ token: "secret", channel: "bubble", type: "hello", version: 1 }]);
    await tab.socket.tell({ ...WELCOME, token: "fresh" });
    assert.equal(tab.client.status, "open");
    assert.equal(tab.heard("welcome")[0].token, "fresh");
  });

  test("after a lost connection it resumes where the page has got to", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 40 });
    await socket.tell(event(41), event(42));
    await socket.end();
    assert.equal(tab.client.status, "waiting");
    await tab.clock.advance(30_000);
    await tab.socket.open();
    assert.deepEqual(tab.socket.take("hello")[0].resume, { epoch: "e1", number: 42 });
    await tab.socket.tell({ ...WELCOME, resumed: true, number: 44, snapshot: undefined }, event(43), event(44));
    assert.deepEqual(tab.numbers, [41, 42, 43, 44]);
  });

  test("hello may be a promise; when it fails that is a failed try, with endedCode it is the end", async () => {
    let outcome = Promise.reject(new Error("no network"));
    const tab = new FakeTab({ hello: () => outcome });
    tab.client.connect();
    await settle();
    assert.equal(tab.client.status, "waiting");
    outcome = Promise.reject(Object.assign(new Error("logged out"), { endedCode: 4503 }));
    await tab.clock.advance(30_000);
    assert.equal(tab.client.status, "ended");
    assert.equal(tab.client.endedCode, 4503);
    assert.equal(tab.sockets.length, 0);
    outcome = Promise.resolve({ ticket: "x" });
    tab.client.connect();
    await settle();
    await tab.socket.open();
    assert.equal(tab.socket.take("hello")[0].ticket, "x");
  });

  test("a connection that never comes to a welcome is given up", async () => {
    const tab = new FakeTab();
    tab.client.connect();
    await settle();
    await tab.clock.advance(15_000);
    assert.equal(tab.client.status, "waiting");
    assert.equal(tab.socket.closed, true);
  });

  test("reset asks for a fresh snapshot", async () => {
    const tab = new FakeTab();
    await tab.connected({ number: 40 });
    tab.client.reset();
    await settle();
    await tab.socket.open();
    assert.equal(tab.sockets.length, 2);
    assert.equal(tab.socket.take("hello")[0].resume, undefined);
  });

  test("a page may reset or close from within the welcome", async () => {
    const tab = new FakeTab();
    tab.client.addEventListener("welcome", () => tab.client.close(), { once: true });
    await tab.connected();
    assert.equal(tab.client.status, "ended");
    assert.equal(tab.clock.timers, 0);
  });
});

describe("numbers", () => {
  test("what was applied already is skipped", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 5 });
    await socket.tell(event(5), event(6), event(6), event(2), event(7));
    assert.deepEqual(tab.numbers, [6, 7]);
  });

  test("a hole leads to a resume from before it", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 5 });
    await socket.tell(event(6), event(8), event(9));
    assert.deepEqual(tab.numbers, [6]);
    assert.equal(socket.closed, true);
    await tab.clock.advance(30_000);
    await tab.socket.open();
    assert.deepEqual(tab.socket.take("hello")[0].resume, { epoch: "e1", number: 6 });
  });

  test("a hole that resuming does not fill leads to a snapshot", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 5 });
    await socket.tell(event(7));
    await tab.clock.advance(30_000);
    await tab.socket.open();
    await tab.socket.tell({ ...WELCOME, resumed: true, number: 7, snapshot: undefined }, event(7));
    await tab.clock.advance(30_000);
    await tab.socket.open();
    assert.equal(tab.socket.take("hello")[0].resume, undefined);
    await tab.socket.tell({ ...WELCOME, number: 9 }, event(10));
    assert.deepEqual(tab.numbers, [10]);
  });

  test("resumed in another epoch than ours is not believed", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ number: 5 });
    await socket.end();
    await tab.clock.advance(30_000);
    await tab.socket.open();
    await tab.socket.tell({ ...WELCOME, epoch: "e2", resumed: true, number: 3, snapshot: undefined });
    assert.equal(tab.client.status, "waiting");
  });
});

describe("frames that are none", () => {
  const NONSENSE = [
    "", "{", "null", "[]", "7", '"x"', "true", "[{}]", "{}", '{"type":7}', '{"type":"event"}', '{"type":"event","number":1}',
    '{"type":"event","number":"1","event":{"type":"x"}}', '{"type":"event","number":1,"event":null}', '{"type":"event","number":1,"event":[]}',
    '{"type":"event","number":1.5,"event":{"type":"x"}}', '{"type":"event","number":null,"event":{"type":"x"}}',
    '{"type":"ack"}', '{"type":"ack","id":null,"result":null}', '{"type":"ack","id":"no-such-id","result":{}}',
    '{"type":"result","id":"no-such-id"}', '{"type":"error"}', '{"type":"error","id":null,"code":null,"temporary":true,"facts":null}',
    '{"type":"error","id":"no-such-id","code":"conflict"}', '{"type":"signal"}', '{"type":"pong"}', '{"type":"welcome"}',
    '{"type":"from_the_future","field":{}}', '{"type":"__proto__"}', '{"__proto__":{"type":"event"}}',
  ];

  test("nothing of it throws or moves the number, and the connection goes on", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    await socket.tell(...NONSENSE);
    await socket.tell(event(1));
    assert.equal(tab.client.status, "open");
    assert.deepEqual(tab.numbers, [1]);
  });

  test("before the welcome too", async () => {
    const tab = new FakeTab();
    tab.client.connect();
    await settle();
    await tab.socket.open();
    await tab.socket.tell(...NONSENSE.filter((text) => !text.includes('"welcome"')), event(1));
    await tab.socket.tell(WELCOME, event(1));
    assert.deepEqual(tab.numbers, [1]);
  });

  test("binary data is not read", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    socket.onmessage({ data: new ArrayBuffer(8) });
    socket.onmessage({ data: new Blob(["{}"]) });
    assert.equal(tab.client.status, "open");
  });
});

describe("coming back", () => {
  test("full jitter: between nothing and the doubled bound, at most 30 s", async () => {
    const tab = new FakeTab();
    tab.random = 0.999999;
    tab.client.connect();
    await settle();
    const delays = [];
    for (let i = 0; i < 9; i++) {
      await tab.socket.end();
      delays.push(Math.ceil((tab.client.retryAt - tab.clock.now) / 1000));
      await tab.clock.advance(tab.client.retryAt - tab.clock.now);
    }
    assert.deepEqual(delays, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    tab.random = 0;
    await tab.socket.end();
    assert.equal(tab.client.retryAt, tab.clock.now);
  });

  test("the server's wish for the delay is kept, within reason", async () => {
    for (const [reason, delay] of [
      ['{"delay_ms":1500}', 1500], ['{"delay_ms":1e15}', 600_000], ["{", 0], ["null", 0], ['{"delay_ms":"soon"}', 0], ['{"delay_ms":-5}', 0],
    ]) {
      const tab = new FakeTab();
      const socket = await tab.connected();
      tab.random = 0;
      await socket.end(4000, String(reason));
      assert.equal(tab.client.retryAt - tab.clock.now, delay, String(reason));
    }
  });

  test("a server that hangs up right after the welcome is not hammered", async () => {
    const tab = new FakeTab();
    tab.random = 0.999;
    let tries = 0;
    tab.client.connect();
    for (let waited = 0; waited < 60_000; waited += 100) {
      await tab.clock.advance(100);
      if (tab.socket.closed) continue;
      tries += 1;
      await tab.socket.open();
      await tab.socket.tell(WELCOME);
      await tab.socket.end(1011);
    }
    assert.ok(tries < 10, `${tries} tries in a minute`);
  });

  test("a connection that has held lets the back-off begin anew", async () => {
    const tab = new FakeTab();
    tab.random = 0.999;
    tab.client.connect();
    for (let i = 0; i < 5; i++) {
      await tab.clock.advance(30_000);
      await tab.socket.end();
    }
    await tab.clock.advance(30_000);
    await tab.socket.open();
    await tab.socket.tell(WELCOME);
    await tab.clock.advance(6_000);
    await tab.socket.end();
    assert.ok(tab.client.retryAt - tab.clock.now < 500);
  });

  for (const code of [4500, 4501, 4502, 4503, 4504, 4999]) {
    test(`${code} means: do not come back`, async () => {
      const tab = new FakeTab();
      const socket = await tab.connected();
      await socket.end(code);
      assert.equal(tab.client.status, "ended");
      assert.equal(tab.client.endedCode, code);
      await tab.clock.advance(600_000);
      await tab.fire("online");
      await tab.fire("visibilitychange");
      await tab.fire("pageshow", { persisted: false });
      assert.equal(tab.sockets.length, 1);
      tab.client.connect();
      await settle();
      assert.equal(tab.sockets.length, 2);
    });
  }

  for (const name of ["online", "pageshow", "visibilitychange"]) {
    test(`at once on ${name}`, async () => {
      const tab = new FakeTab();
      const socket = await tab.connected();
      tab.random = 0.9;
      await socket.end(4000, '{"delay_ms": 20000}');
      await tab.fire(name);
      assert.equal(tab.sockets.length, 2);
      assert.equal(tab.client.status, "connecting");
    });
  }

  test("a page that is hidden does not hurry", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    await socket.end(4000, '{"delay_ms": 20000}');
    tab.document.visibilityState = "hidden";
    await tab.fire("visibilitychange");
    assert.equal(tab.sockets.length, 1);
  });

  test("without a network the status says so, and it comes back with it", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.navigator.onLine = false;
    await tab.fire("offline");
    assert.equal(tab.client.status, "open", "the socket may live on: it is asked");
    await tab.clock.advance(5_000);
    assert.equal(socket.closed, true);
    assert.equal(tab.client.status, "offline");
    tab.navigator.onLine = true;
    await tab.fire("online");
    await tab.socket.open();
    await tab.socket.tell(WELCOME);
    assert.equal(tab.client.status, "open");
  });

  test("a browser that wrongly thinks it is offline is tried all the same", async () => {
    const tab = new FakeTab();
    tab.navigator.onLine = false;
    tab.client.connect();
    await settle();
    await tab.socket.end();
    assert.equal(tab.client.status, "offline");
    await tab.clock.advance(30_000);
    await tab.socket.open();
    await tab.socket.tell(WELCOME);
    assert.equal(tab.client.status, "open");
  });
});

describe("silence", () => {
  test("after the heartbeat's time it asks, and goes when nothing comes", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ heartbeat_seconds: 10 });
    socket.take();
    await tab.clock.advance(9_999);
    assert.deepEqual(socket.take(), []);
    await tab.clock.advance(1);
    assert.deepEqual(socket.take(), [{ type: "ping" }]);
    await tab.clock.advance(4_999);
    assert.equal(tab.client.status, "open");
    await tab.clock.advance(1);
    assert.equal(tab.client.status, "waiting");
  });

  test("any frame is a sign of life", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected({ heartbeat_seconds: 10 });
    for (let i = 0; i < 20; i++) {
      await tab.clock.advance(9_000);
      await socket.tell({ type: "signal", name: "shop_presence", data: { online: true } });
    }
    await tab.clock.advance(11_000);
    assert.equal(socket.take("ping").length, 1);
    await socket.tell({ type: "pong" });
    await tab.clock.advance(9_000);
    assert.equal(tab.client.status, "open");
    assert.equal(tab.sockets.length, 1);
  });

  test("a phone that wakes up asks whether the old socket still lives", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    socket.take();
    await tab.fire("visibilitychange");
    assert.deepEqual(socket.take(), [{ type: "ping" }]);
    await tab.clock.advance(5_000);
    assert.equal(tab.client.status, "waiting");
  });

  test("a command without an answer within 10 s is sent again on a new connection, with its id", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.client.send("send_message", say("hello"));
    const [first] = socket.take("send_message");
    await tab.clock.advance(9_000);
    await socket.tell(event(1, { type: "messages_seen" })); // only half of the way is broken
    await tab.clock.advance(1_000);
    assert.equal(socket.closed, true);
    await tab.clock.advance(30_000);
    await tab.socket.open();
    assert.equal(tab.socket.take("send_message").length, 0, "not before the welcome");
    await tab.socket.tell({ ...WELCOME, resumed: true, number: 1, snapshot: undefined });
    assert.deepEqual(tab.socket.take("send_message"), [first]);
  });
});

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
    await socket.tell({ type: "error", id: first.id, code: "too_fast", message: "…", temporary: true, facts: { retry_after_ms: 900 } });
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
        await socket.tell({ type: "error", id, code: "store_unavailable", message: "disk full", temporary: true, facts: {} });
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
    await socket.tell({ type: "error", id, code: "too_large", message: "4,001 characters", temporary: false, facts: { limit: 4000 } });
    await assert.rejects(promise, { code: "too_large", message: "4,001 characters", temporary: false, facts: { limit: 4000 } });
    assert.deepEqual(tab.heard("refused").map(({ command, error }) => [command.id, error.code]), [[id, "too_large"]]);
    await tab.fire("pagehide");

    const next = new FakeTab({ clock: tab.clock, storage: tab.storage });
    const fresh = await next.connected();
    const [entry] = next.client.pending;
    assert.equal(entry.state, "failed");
    assert.equal(entry.parts[0].text, "much too long");
    assert.deepEqual(entry.error, { code: "too_large", message: "4,001 characters", facts: { limit: 4000 }, temporary: false });
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
      assert.deepEqual(tab.client.pending.map((entry) => entry.state), ["failed", "sending"]);
      await tab.clock.advance(30_000);
      await tab.socket.open();
      await tab.socket.tell(WELCOME);
      assert.deepEqual(tab.socket.take("send_message").map((frame) => frame.parts[0].text), ["b"]);
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
    for (let frame; ([frame] = socket.take()), frame; ) {
      sent.push([frame.type, frame.conversation, frame.position ?? frame.cart.subtotal]);
      await socket.tell({ type: "ack", id: frame.id, result: { for: frame.position ?? frame.cart.subtotal } });
    }
    assert.deepEqual(sent, [["mark_seen", "k2", 1], ["mark_seen", "k1", 5], ["update_cart", undefined, 2]]);
    assert.deepEqual((await Promise.all(promises)).map((result) => result.for), [5, 1, 5, 5, 2, 2]);
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
    assert.deepEqual(tab.client.pending.map((entry) => entry.parts[0].text), ["a"]);
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
    await socket.tell({ type: "result", id: second.id, data: { two: 2 } }, { type: "result", id: first.id, data: { one: 1 } });
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
    await socket.tell({ type: "error", id: again.id, code: "too_fast", message: "…", temporary: true, facts: { retry_after_ms: 900 } });
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
    assert.deepEqual(next.client.pending.map((entry) => entry.parts[0].text), ["a", "b", "c"]);
    const fresh = await next.connected();
    const [again] = fresh.take("send_message");
    assert.deepEqual(again, a);
    await fresh.tell({ type: "ack", id: again.id, result: {} });
    assert.equal(fresh.take("send_message")[0].parts[0].text, "b");
  });

  test("two tabs do not send each other's messages", async () => {
    const clock = new FakeClock(), storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }), two = new FakeTab({ clock, storage });
    await one.connected();
    await two.connected();
    one.client.send("send_message", say("from one"));
    await clock.advance(4_000);
    assert.equal(two.client.pending.length, 0);
    assert.equal(two.socket.take("send_message").length, 0);
    assert.equal(one.socket.take("send_message").length, 1);
  });

  test("what a crashed tab left is sent by another one, when the lease has run out", async () => {
    const clock = new FakeClock(), storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }), two = new FakeTab({ clock: new FakeClock(), storage });
    two.clock.now = clock.now;
    await two.connected();
    one.client.send("send_message", say("last words"));
    await one.connected();
    one.crash(); // its clock stands still from here
    await two.clock.advance(14_000);
    await two.socket.tell({ type: "pong" });
    assert.deepEqual(two.client.pending, []);
    await two.clock.advance(6_000);
    assert.equal(two.socket.take("send_message")[0].parts[0].text, "last words");
  });

  test("a living tab keeps its lease, however long it takes", async () => {
    const clock = new FakeClock(), storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }), two = new FakeTab({ clock, storage });
    one.client.connect();
    two.client.connect();
    one.client.send("send_message", say("offline for long"));
    await clock.advance(120_000);
    assert.equal(one.client.pending.length, 1);
    assert.equal(two.client.pending.length, 0);
  });

  test("a closed tab hands over at once to one that is open", async () => {
    const clock = new FakeClock(), storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }), two = new FakeTab({ clock, storage });
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
    const one = new FakeTab({ storage }), two = new FakeTab({ storage });
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
    const clock = new FakeClock(), storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }), two = new FakeTab({ clock, storage });
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
    const clock = new FakeClock(), storage = new FakeStorage();
    const one = new FakeTab({ clock, storage }), two = new FakeTab({ clock, storage });
    one.client.connect();
    two.client.connect();
    one.client.send("mark_seen", { conversation: "k1", position: 9 });
    await settle();
    two.client.send("mark_seen", { conversation: "k1", position: 7 });
    assert.equal(two.client.pending[0].position, 9);
  });

  for (const [name, storage] of [
    ["no storage", null],
    ["forbidden storage", new Proxy({}, { get() { throw new DOMException("denied", "SecurityError"); } })],
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
    for (const value of ["", "null", "{", "[]", '{"entry":null}', '{"entry":{"id":"other"}}']) storage.items.set(`chatd.outbox.${value}`, value);
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
