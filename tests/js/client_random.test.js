// @ts-check
/**
 * Two tabs of one customer against a server that keeps its promises (once per id, numbers without a hole) over a network
 * that keeps none: connections drop, frames are lost with them, acknowledgements are late, tabs are reloaded and killed.
 * Whatever happens, everything that was written arrives once, each tab's words in the order in which they were written, and
 * every page ends with the same thread.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeClock, FakeStorage, FakeTab, settle } from "./fake_browser.js";
import { forSeeds } from "./random.js";

class Server {
  /** @type {any[]} */ events = [];
  /** @type {Map<string, any>} */ answers = new Map();
  /** @type {Map<any, {fate: string, queue: any[]}>} */ sockets = new Map();
  epoch = "e1";

  constructor(random) {
    this.random = random;
  }

  /** Everything that a socket has sent since, and what it gets back: at once, later, or never because it dies. */
  async serve(socket) {
    const { random } = this;
    if (socket.closed) return this.sockets.delete(socket);
    if (!socket.opened) {
      if (random.chance(0.3)) return socket.end();
      await socket.open();
    }
    for (const frame of socket.take()) {
      if (random.chance(0.05)) return this.#die(socket); // received or not: the client cannot know
      if (frame.type === "hello") this.#hello(socket, frame);
      else if (frame.type === "ping") this.#queue(socket, { type: "pong" });
      else if (frame.type === "send_message") this.#message(socket, frame);
      else if (frame.type === "mark_seen") this.#once(socket, frame, () => ({ position: frame.position }));
      if (random.chance(0.05)) return this.#die(socket); // done, but the answer is lost
    }
    const { queue } = this.sockets.get(socket) ?? { queue: [] };
    const ready = queue.splice(0, random.between(0, queue.length));
    if (random.chance(0.05)) ready.splice(random.between(0, ready.length), 0, ...ready.slice(0, 2)); // twice
    await socket.tell(...ready);
  }

  async flush(socket) {
    await socket.tell(...(this.sockets.get(socket)?.queue.splice(0) ?? []));
  }

  #queue(socket, frame) {
    this.sockets.get(socket)?.queue.push(frame);
  }

  async #die(socket) {
    this.sockets.delete(socket);
    await socket.end(this.random.pick([1006, 1006, 1011, 4000, 4001]), this.random.pick(["", '{"delay_ms": 300}']));
  }

  #hello(socket, { resume }) {
    const resumed = resume?.epoch === this.epoch && this.events.length - resume.number <= 10;
    this.sockets.set(socket, { fate: "open", queue: [] });
    this.#queue(socket, {
      type: "welcome",
      version: 1,
      epoch: this.epoch,
      number: this.events.length,
      resumed,
      heartbeat_seconds: 25,
      ...(!resumed && { snapshot: { thread: this.events.slice() } }),
    });
    if (resumed)
      for (let n = resume.number; n < this.events.length; n++)
        this.#queue(socket, { type: "event", number: n + 1, event: this.events[n] });
  }

  #once(socket, frame, act) {
    if (!this.sockets.has(socket)) return;
    if (!this.answers.has(frame.id)) {
      if (this.random.chance(0.1)) {
        const facts = { retry_after_ms: this.random.between(1, 900) };
        return this.#queue(socket, {
          type: "error",
          id: frame.id,
          code: "too_fast",
          message: "…",
          temporary: true,
          facts,
        });
      }
      this.answers.set(frame.id, act());
    }
    this.#queue(socket, { type: "ack", id: frame.id, result: this.answers.get(frame.id) });
  }

  #message(socket, frame) {
    this.#once(socket, frame, () => {
      this.events.push({ type: "message_sent", message: { client_id: frame.id, parts: frame.parts } });
      for (const [other, { queue }] of this.sockets) {
        const event = { type: "event", number: this.events.length, event: this.events.at(-1) };
        // The bus may lose a publication; the next one makes the hole seen.
        if (other === socket || !this.random.chance(0.05)) queue.push(event);
      }
      return { number: this.events.length };
    });
  }
}

class Page extends FakeTab {
  /** What this page shows. @type {any[]} */
  thread = [];

  constructor(options) {
    super(options);
    this.client.addEventListener("welcome", (/** @type {any} */ { detail }) => {
      if (!detail.resumed) this.thread = [...detail.snapshot.thread];
    });
    this.client.addEventListener("event", (/** @type {any} */ { detail }) => this.thread.push(detail.event));
  }
}

const words = (events) => events.map((event) => event.message.parts[0].text);

test("nothing is lost, nothing is there twice, and the order stays", () =>
  forSeeds(40, async (random) => {
    const clock = new FakeClock(),
      storage = new FakeStorage(),
      server = new Server(random);
    const open = () => {
      const page = new Page({ clock, storage });
      page.client.connect();
      return page;
    };
    /** @type {Page[]} */
    let pages = [open(), open()];
    let written = 0;
    const said = new Map();
    const promises = [];

    for (let step = 0; step < 120; step++) {
      for (const page of pages) page.random = random.next();
      const page = random.pick(pages);
      const does = random.weighted({
        say: 4,
        mark: 1,
        wait: 6,
        serve: 10,
        drop: 1,
        wake: 1,
        reload: 0.5,
        crash: 0.2,
        cache: 0.3,
        epoch: 0.1,
      });
      if (does === "say") {
        const text = `w${++written}`;
        said.set(text, page);
        promises.push(page.client.send("send_message", { parts: [{ type: "text", text }] }));
      }
      if (does === "mark") page.client.send("mark_seen", { conversation: "k", position: step });
      if (does === "wait") await clock.advance(random.pick([1, 50, 500, 4_000, 20_000]));
      if (does === "serve") for (const one of pages) if (one.socket) await server.serve(one.socket);
      if (does === "drop" && page.socket && !page.socket.closed) await page.socket.end();
      if (does === "wake") await page.fire(random.pick(["online", "visibilitychange", "pageshow"]));
      if (does === "reload" || does === "crash") {
        if (does === "reload") await page.fire("pagehide");
        page.crash();
        server.sockets.delete(page.socket);
        pages = pages.map((one) => (one === page ? open() : one));
      }
      if (does === "cache") {
        await page.fire("pagehide");
        await clock.advance(random.between(0, 30_000));
        await page.fire("pageshow", { persisted: true });
      }
      if (does === "epoch") server.epoch += "x";
    }

    // Then everything works: within a minute all is there.
    server.random = /** @type {any} */ ({
      chance: () => false,
      between: (_, to) => to,
      pick: (list) => list[0],
      next: () => 0,
    });
    const done = () =>
      storage.items.size === 0 &&
      server.events.length === said.size &&
      pages.every((page) => page.client.pending.length === 0 && page.thread.length === said.size);
    for (let i = 0; i < 300 && !done(); i++) {
      for (const page of pages) {
        page.random = 0.1;
        if (page.socket) await server.serve(page.socket);
        if (page.socket) await server.flush(page.socket);
      }
      await clock.advance(200);
    }
    await settle();

    const arrived = words(server.events);
    assert.deepEqual([...arrived].sort(), [...said.keys()].sort(), "everything, once");
    for (const page of new Set(said.values())) {
      const own = [...said].filter(([, by]) => by === page).map(([text]) => text);
      assert.deepEqual(
        arrived.filter((text) => own.includes(text)),
        own,
        "in the order of writing",
      );
    }
    for (const page of pages) {
      assert.deepEqual(words(page.thread), arrived, "every page shows the same");
      assert.deepEqual(page.client.pending, []);
    }
    assert.equal([...storage.items.keys()].length, 0);
    assert.ok(promises.length === said.size);
  }));
