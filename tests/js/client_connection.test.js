// @ts-check
/** The socket that stays: hello, resume, back-off, silence. The other end is scripted, the clock is told. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { event, FakeTab, settle, WELCOME } from "./fake_browser.js";

const say = (text) => ({ parts: [{ type: "text", text }] });

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
    await tab.clock.advance(10_000);
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
    "",
    "{",
    "null",
    "[]",
    "7",
    '"x"',
    "true",
    "[{}]",
    "{}",
    '{"type":7}',
    '{"type":"event"}',
    '{"type":"event","number":1}',
    '{"type":"event","number":"1","event":{"type":"x"}}',
    '{"type":"event","number":1,"event":null}',
    '{"type":"event","number":1,"event":[]}',
    '{"type":"event","number":1.5,"event":{"type":"x"}}',
    '{"type":"event","number":null,"event":{"type":"x"}}',
    '{"type":"ack"}',
    '{"type":"ack","id":null,"result":null}',
    '{"type":"ack","id":"no-such-id","result":{}}',
    '{"type":"result","id":"no-such-id"}',
    '{"type":"error"}',
    '{"type":"error","id":null,"code":null,"temporary":true,"facts":null}',
    '{"type":"error","id":"no-such-id","code":"conflict"}',
    '{"type":"signal"}',
    '{"type":"pong"}',
    '{"type":"welcome"}',
    '{"type":"from_the_future","field":{}}',
    '{"type":"__proto__"}',
    '{"__proto__":{"type":"event"}}',
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
      ['{"delay_ms":1500}', 1500],
      ['{"delay_ms":1e15}', 600_000],
      ["{", 0],
      ["null", 0],
      ['{"delay_ms":"soon"}', 0],
      ['{"delay_ms":-5}', 0],
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

  for (const name of ["online", "visibilitychange"]) {
    test(`an attempt that hangs gives way to a new one on ${name}, and a young one goes on`, async () => {
      const tab = new FakeTab();
      tab.client.connect();
      await settle();
      await tab.clock.advance(1_500);
      await tab.fire(name);
      assert.equal(tab.sockets.length, 1, "it may be about to succeed");
      await tab.clock.advance(1_500);
      const [hung] = tab.sockets;
      await tab.fire(name);
      assert.equal(tab.sockets.length, 2);
      assert.equal(hung.closed, true);
      await tab.socket.open();
      await tab.socket.tell(WELCOME);
      assert.equal(tab.client.status, "open");
    });
  }

  test("a query outlives one connection however many tries the next one takes", async () => {
    const tab = new FakeTab();
    const socket = await tab.connected();
    tab.random = 0;
    const answer = tab.client.ask("load_history", {});
    const [{ id }] = socket.take("load_history");
    await socket.end();
    for (let tries = 0; tries < 3; tries++) {
      await tab.clock.advance(0);
      await tab.socket.end();
    }
    await tab.clock.advance(0);
    await tab.socket.open();
    await tab.socket.tell(WELCOME, { type: "result", id, data: { entries: [] } });
    assert.deepEqual(await answer, { entries: [] });
  });

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
