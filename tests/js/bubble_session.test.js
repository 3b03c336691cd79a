// @ts-check
/** What a page knows of its customer before the panel is opened, what the panel makes of it, and tabs that begin at once. */

import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";

import { Chat } from "../../static/bubble/chat.js";
import { Session } from "../../static/bubble/session.js";
import { FakeSocket, FakeStorage, settle } from "./fake_browser.js";

const LEO = { kind: "staff", id: "leo", name: "Leo" };
const MIA = { kind: "customer", id: "mia", name: "" };
/** Where the stream is at the welcome. */
const NUMBER = 10;
const TOKEN = "chatd:KEY:token";
const LINE = { id: "a", title: "Lamp", quantity: 1, price: 12900 };

/** What `chatd.web` answers, as far as it matters here: each hello without a token is somebody new. */
class Server {
  #tokens = 0;
  /** Every command by the token of who sent it. @type {[string, any][]} */
  commands = [];

  welcome(hello, conversations = []) {
    const token = hello.token ?? `token${(this.#tokens += 1)}`;
    return {
      ...{ type: "welcome", version: 1, epoch: `e.${token}`, number: NUMBER, resumed: false, you: {}, limits: {} },
      ...(hello.token ? {} : { token }),
      shop_online: true,
      snapshot: { shop: {}, customer: { id: token, name: "", email: "", verified: false }, conversations },
    };
  }
}

/** The tabs that are open, by the address of their socket: modules find their browser in what is global. @type {Map<string, Tab>} */
const tabs = new Map();
afterEach(() => {
  for (const tab of tabs.values()) tab.session.logout();
  tabs.clear();
});

/** A tab of a shop's page, with real modules and a server that the test speaks for. */
class Tab {
  /** @type {FakeSocket[]} */ sockets = [];
  window = new EventTarget();
  told = /** @type {[string, any][]} */ ([]);
  #who = new Map();

  constructor(server, storage) {
    const address = `wss://chat.example/${tabs.size}`;
    tabs.set(address, this);
    this.server = server;
    this.storage = storage.view(this.window);
    const document = Object.assign(new EventTarget(), { visibilityState: "visible", title: "A shop", baseURI: "https://shop.example/" });
    const page = {
      document,
      location: { origin: "https://shop.example", pathname: "/", search: "" },
      addEventListener: this.window.addEventListener.bind(this.window),
      removeEventListener: this.window.removeEventListener.bind(this.window),
      WebSocket: class extends FakeSocket {
        constructor(url, protocols) {
          super(url, protocols);
          tabs.get(url)?.sockets.push(this);
        }
      },
    };
    for (const [name, value] of Object.entries(page)) Object.defineProperty(globalThis, name, { value, configurable: true });
    if (!globalThis.navigator) Object.defineProperty(globalThis, "navigator", { value: { language: "en" }, configurable: true });
    this.session = new Session({ settings: { shop: "KEY", socket: address }, storage: this.storage, outbox: this.storage });
    for (const name of ["unread", "message", "ended"])
      this.session.addEventListener(name, (event) => this.told.push([name, /** @type {any} */ (event).detail]));
    this.client = this.session.client;
    this.client.connect();
  }

  get socket() {
    return /** @type {FakeSocket} */ (this.sockets.at(-1));
  }

  /** The socket opens; the hello. */
  async hello() {
    await settle();
    await this.socket.open();
    return this.socket.take("hello")[0];
  }

  async welcomed(conversations = []) {
    await this.answer(await this.hello(), conversations);
  }

  async answer(hello, conversations = []) {
    const { socket } = this;
    const welcome = this.server.welcome(hello, conversations);
    this.#who.set(socket, hello.token ?? welcome.token);
    await socket.tell(welcome);
  }

  /** Answers everything that is asked, on every socket that is open, until there is silence. */
  async served() {
    for (let again = true; again;) {
      again = false;
      if (this.socket && !this.socket.opened) (await this.welcomed(), (again = true));
      for (const socket of this.sockets)
        for (const frame of socket.take()) {
          if (!frame.id) continue;
          this.server.commands.push([this.#who.get(socket), frame]);
          await socket.tell({ type: "ack", id: frame.id, result: {} });
          again = true;
        }
    }
  }

  /** @param {number} count how many after the welcome it is */
  event(count, fields) {
    const number = NUMBER + count;
    return this.socket.tell({ type: "event", number, event: { at: number, customer: "mia", conversation: "k1", ...fields } });
  }
}

const message = (position, author, text = `message ${position}`) => ({
  type: "message_sent",
  message: { id: `m${position}`, client_id: `c${position}`, position, author, parts: [{ type: "text", text }] },
});
const entry = (number, author) => ({ number, event: { at: number, customer: "mia", conversation: "k1", ...message(number, author) } });
const conversation = (fields = {}) => ({
  ...{ id: "k1", kind: "shop", state: "open", position: 3, unread: 1, seen_by_shop: 1, seen_by_customer: 2, delivered: 2 },
  ...{ thread: [entry(1, MIA), entry(2, LEO), entry(3, LEO)], more: false },
  ...fields,
});
const unread = (tab) => tab.told.filter(([name]) => name === "unread").map(([, count]) => count);
const sent = (tab, type) => tab.socket.take(type).map(({ id, type: _, ...fields }) => fields);

describe("before the panel is opened", () => {
  test("the shop's messages are counted, told to the page and reported as delivered; what was seen elsewhere is not counted", async () => {
    const tab = new Tab(new Server(), new FakeStorage());
    await tab.welcomed([conversation()]);
    assert.deepEqual(unread(tab), [1]);
    assert.deepEqual(sent(tab, "mark_delivered"), [{ conversation: "k1", position: 3 }]);
    await tab.event(1, message(4, LEO, "Hello?"));
    await tab.event(2, message(5, MIA, "from another tab"));
    await tab.event(3, message(6, LEO));
    assert.deepEqual(tab.told.filter(([name]) => name === "message").map(([, detail]) => detail), [
      { author: "Leo", text: "Hello?" },
      { author: "Leo", text: "message 6" },
    ]);
    await tab.event(4, { type: "messages_seen", by: "shop", position: 5 });
    await tab.event(5, { type: "messages_seen", by: "customer", position: 4 });
    await tab.event(6, { type: "messages_seen", by: "customer", position: 6 });
    assert.deepEqual(unread(tab), [1, 2, 3, 1, 0]);
  });

  test("nothing is reported as delivered twice", async () => {
    const tab = new Tab(new Server(), new FakeStorage());
    await tab.welcomed([conversation({ delivered: 3 })]);
    assert.deepEqual(sent(tab, "mark_delivered"), []);
  });

  test("the cart waits for a conversation, and the same one is told once", async () => {
    const storage = new FakeStorage();
    const cart = { currency: "EUR", subtotal: 12900, lines: [LINE] };
    const tab = new Tab(new Server(), storage);
    tab.session.setCart(cart);
    await tab.welcomed();
    assert.deepEqual(sent(tab, "update_cart"), []);
    await tab.event(1, { type: "conversation_started", kind: "shop", person: { id: "mia" } });
    const [{ id, cart: told }] = tab.socket.take("update_cart");
    assert.deepEqual(told, cart);
    await tab.socket.tell({ type: "ack", id, result: { kept: true } });
    tab.session.setCart(structuredClone(cart));
    assert.deepEqual(sent(tab, "update_cart"), []);
    const next = new Tab(new Server(), storage);
    next.session.setCart(cart);
    await next.welcomed([conversation()]);
    assert.deepEqual(sent(next, "update_cart"), []);
  });

  test("opened later, the panel shows the same as if it had been open all the time", async () => {
    const storage = new FakeStorage();
    storage.items.set(TOKEN, "mia");
    const early = new Tab(new Server(), storage);
    const open = new Chat(early.session);
    const late = new Tab(new Server(), storage);
    for (const tab of [early, late]) {
      await tab.welcomed([conversation()]);
      await tab.event(1, message(4, LEO));
      await tab.socket.tell({ type: "signal", name: "shop_presence", data: { online: false } });
      await tab.event(2, { type: "messages_seen", by: "shop", position: 4 });
      await tab.event(3, { type: "customer_introduced", person: { id: "mia", name: "Mia", email: "", verified: false } });
    }
    const opened = new Chat(late.session);
    assert.deepEqual(opened.state, open.state);
    assert.equal(opened.entries.length, 5);
    assert.equal(opened.state?.shop_online, false);
    await late.event(4, message(5, LEO));
    assert.equal(opened.entries.length, 6);
  });

  test("who stopped writing before the panel was opened is not writing in it", async (context) => {
    context.mock.timers.enable({ apis: ["Date"], now: 1_000 });
    const tab = new Tab(new Server(), new FakeStorage());
    await tab.welcomed([conversation()]);
    await tab.socket.tell({ type: "signal", name: "typing", data: { conversation: "k1", author: LEO, on: true } });
    context.mock.timers.tick(9_000);
    const chat = new Chat(tab.session);
    assert.equal(chat.typist, null);
    await tab.socket.tell({ type: "signal", name: "typing", data: { conversation: "k1", author: LEO, on: true } });
    assert.equal(chat.typist?.name, "Leo");
  });

  test("what waits for the panel is bounded: after 500 frames a fresh snapshot takes their place", async () => {
    const tab = new Tab(new Server(), new FakeStorage());
    await tab.welcomed([conversation()]);
    for (let number = 1; number < 500; number += 1) await tab.event(number, { type: "messages_seen", by: "shop", position: number });
    assert.equal(tab.sockets.length, 1);
    await tab.event(500, { type: "messages_seen", by: "shop", position: 500 });
    assert.equal((await tab.hello()).resume, undefined);
    await tab.socket.tell(tab.server.welcome({ token: "token1" }, [conversation({ seen_by_shop: 500 })]));
    assert.equal(tab.session.frames.length, 1);
    assert.equal(new Chat(tab.session).conversation?.seen_by_shop, 500);
  });
});

describe("two tabs of somebody new that begin at once", () => {
  const say = (tab, text) => tab.client.send("send_message", { parts: [{ type: "text", text }] });

  test("are one customer when the second hears of the first one's token before its own welcome", async () => {
    const storage = new FakeStorage();
    const server = new Server();
    const both = [new Tab(server, storage), new Tab(server, storage)];
    const hellos = await Promise.all(both.map((tab) => tab.hello()));
    assert.deepEqual(hellos.map(({ token }) => token), [undefined, undefined]);
    const [one, two] = both;
    await one.answer(hellos[0]);
    await two.served();
    assert.equal(storage.items.get(TOKEN), "token1");
    say(one, "from one");
    say(two, "from two");
    for (const tab of [one, two]) await tab.served();
    const said = server.commands.map(([who, { parts }]) => `${who}: ${parts[0].text}`);
    assert.deepEqual(new Set(said), new Set(["token1: from one", "token1: from two"]));
  });

  /** Storage as it is between processes: for a moment each tab sees its own writing and not the other's. */
  class SlowStorage extends FakeStorage {
    /** @type {(() => void)[]} */ #late = [];
    view(window) {
      const real = super.view(window);
      const own = new Map();
      const late = this.#late;
      return {
        get length() {
          return real.length;
        },
        key: (index) => real.key(index),
        getItem: (key) => own.get(key) ?? (key === TOKEN && late.length ? null : real.getItem(key)),
        setItem(key, value) {
          if (key !== TOKEN) return real.setItem(key, value);
          own.set(key, value);
          late.push(() => (own.delete(key), real.setItem(key, value)));
        },
        removeItem: (key) => real.removeItem(key),
      };
    }
    async arrive() {
      for (const write of this.#late.splice(0)) write();
      await settle();
    }
  }

  for (const wrote of [true, false])
    test(`are one customer when both store a token unseen by the other, ${wrote ? "with words that wait" : "with nothing to say yet"}`, async () => {
      const storage = new SlowStorage();
      const server = new Server();
      const both = [new Tab(server, storage), new Tab(server, storage)];
      const texts = ["from one", "from two"];
      if (wrote) both.forEach((tab, index) => say(tab, texts[index]));
      const hellos = await Promise.all(both.map((tab) => tab.hello()));
      for (const [index, tab] of both.entries()) {
        await tab.answer(hellos[index]);
        assert.deepEqual(sent(tab, "send_message"), [], "nothing is said before the two agree");
      }
      await storage.arrive();
      if (!wrote) both.forEach((tab, index) => say(tab, texts[index]));
      for (const tab of both) await tab.served();
      const kept = storage.items.get(TOKEN);
      const said = server.commands.filter(([, { type }]) => type === "send_message");
      assert.deepEqual(new Set(said.map(([who]) => who)), new Set([kept]));
      assert.deepEqual(new Set(said.map(([, { parts }]) => parts[0].text)), new Set(texts));
    });

  test("another tab's log-out still ends this one", async () => {
    const storage = new FakeStorage();
    const server = new Server();
    const [one, two] = [new Tab(server, storage), new Tab(server, storage)];
    await one.welcomed();
    await two.served();
    one.storage.removeItem(TOKEN);
    await settle();
    assert.deepEqual(two.told.map(([name]) => name), ["ended"]);
  });
});
