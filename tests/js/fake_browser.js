// @ts-check
/**
 * A browser for `client.js` under node: a clock that moves when told, storage shared by tabs, a page that can be hidden,
 * and a WebSocket whose other end is the test. Nothing here waits for real time.
 */

import { Client } from "../../static/client.js";

/** Lets everything that is ready run: promise callbacks, and no timers. */
export async function settle() {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

export class FakeClock {
  now = 1_763_790_000_000;
  #timers = new Map();
  #last = 0;

  setTimeout = (run, ms) => {
    this.#timers.set(++this.#last, { at: this.now + Math.max(0, ms || 0), run, id: this.#last });
    return this.#last;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  get timers() {
    return this.#timers.size;
  }

  /** Moves on by `ms`, running what falls due in its order. */
  async advance(ms) {
    const until = this.now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers.values()]
        .filter((one) => one.at <= until)
        .sort((a, b) => a.at - b.at || a.id - b.id)[0];
      if (!due) break;
      this.#timers.delete(due.id);
      this.now = Math.max(this.now, due.at);
      due.run();
    }
    this.now = until;
    await settle();
  }
}

/** `localStorage` of one origin. `view()` gives each tab its own, with the storage events of the others. */
export class FakeStorage {
  items = new Map();
  #views = [];
  full = false;

  view(window) {
    const all = this;
    const view = {
      window,
      get length() {
        return all.items.size;
      },
      key: (index) => [...all.items.keys()][index] ?? null,
      getItem: (key) => all.items.get(key) ?? null,
      setItem(key, value) {
        if (all.full) throw new DOMException("full", "QuotaExceededError");
        const oldValue = all.items.get(key) ?? null;
        all.items.set(key, String(value));
        if (oldValue !== value) all.#tell(view, key, oldValue, String(value));
      },
      removeItem(key) {
        const oldValue = all.items.get(key) ?? null;
        if (all.items.delete(key)) all.#tell(view, key, oldValue, null);
      },
    };
    this.#views.push(view);
    return view;
  }

  /** The tab is gone; nobody hears its events any more. */
  forget(window) {
    this.#views = this.#views.filter((view) => view.window !== window);
  }

  #tell(from, key, oldValue, newValue) {
    for (const view of this.#views) {
      if (view === from) continue;
      // Another process's event comes later, never in the middle of somebody's call.
      queueMicrotask(() => view.window.dispatchEvent(Object.assign(new Event("storage"), { key, oldValue, newValue })));
    }
  }
}

/** The server's end of one socket. */
export class FakeSocket {
  /** Frames that the client has sent, oldest first; `take()` empties it. */
  frames = [];
  opened = false;
  closed = false;
  closedWith = 0;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  // ------------------------------------------------ what the client calls
  send(text) {
    if (!this.opened) throw new DOMException("not open", "InvalidStateError");
    if (!this.closed) this.frames.push(JSON.parse(text));
  }

  close(code = 1000) {
    if (code !== 1000 && !(code >= 3000 && code < 5000)) throw new DOMException("code", "InvalidAccessError");
    this.closed = true;
    this.closedWith = code;
  }

  // ------------------------------------------------ what the test does
  async open() {
    this.opened = true;
    this.onopen?.({});
    await settle();
    return this;
  }

  async tell(...frames) {
    for (const frame of frames) this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
    await settle();
    return this;
  }

  /** The connection ends, by the server's close frame or (1006) without one. */
  async end(code = 1006, reason = "") {
    this.closed = true;
    this.onclose?.({ code, reason, wasClean: code !== 1006 });
    await settle();
  }

  take(type) {
    const taken = this.frames.filter((frame) => !type || frame.type === type);
    this.frames = this.frames.filter((frame) => type && frame.type !== type);
    return taken;
  }
}

/** One tab. `browser.sockets` are all that were ever made, the newest last. */
export class FakeTab {
  sockets = [];
  dead = false;
  random = 0.5;
  navigator = { onLine: true };
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  /** Every event of the client, in its order. */
  log = [];

  constructor({
    clock = new FakeClock(),
    storage = new FakeStorage(),
    hello = () => ({ token: "t" }),
    storageKey = "chatd",
  } = {}) {
    this.clock = clock;
    this.storage = storage;
    const tab = this;
    this.client = new Client({
      url: "wss://chat.example/v1/socket/KEY",
      hello,
      storage: storage instanceof FakeStorage ? storage.view(this.window) : storage,
      storageKey,
      environment: {
        WebSocket: class extends FakeSocket {
          constructor(url, protocols) {
            super(url, protocols);
            tab.sockets.push(this);
          }
        },
        setTimeout: (run, ms) => clock.setTimeout(() => this.dead || run(), ms),
        clearTimeout: clock.clearTimeout,
        Date: { now: () => clock.now },
        Math: { random: () => this.random },
        window: this.window,
        document: this.document,
        navigator: this.navigator,
      },
    });
    for (const name of ["welcome", "event", "signal", "status", "pending", "refused"]) {
      this.client.addEventListener(name, (event) => this.log.push([name, /** @type {any} */ (event).detail]));
    }
  }

  get socket() {
    return this.sockets.at(-1);
  }

  /** The numbers of the events that the page was given. */
  get numbers() {
    return this.log.filter(([name]) => name === "event").map(([, { number }]) => number);
  }

  heard(name) {
    return this.log.filter(([one]) => one === name).map(([, detail]) => detail);
  }

  fire(name, fields = {}) {
    const target = name === "visibilitychange" ? this.document : this.window;
    target.dispatchEvent(Object.assign(new Event(name), fields));
    return settle();
  }

  /** The tab is killed: no pagehide, its timers die with it. */
  crash() {
    this.dead = true;
    this.storage.forget(this.window);
    const socket = this.socket;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
  }

  /** Connects and is welcomed. */
  async connected(welcome = {}) {
    this.client.connect();
    await settle();
    await this.socket.open();
    await this.socket.tell({ ...WELCOME, ...welcome });
    return this.socket;
  }
}

export const WELCOME = {
  type: "welcome",
  version: 1,
  connection: "c1",
  epoch: "e1",
  number: 0,
  resumed: false,
  you: { kind: "visitor", id: "v1" },
  limits: {},
  heartbeat_seconds: 25,
  shop_online: true,
  snapshot: {},
};

/** An event of the stream, as the server would send it. */
export const event = (number, fields = {}) => ({
  type: "event",
  number,
  event: { type: "message_sent", at: number, customer: "v1", conversation: "k1", ...fields },
});
