// @ts-check
/**
 * The customer's side of the connection on this page, before anybody opens the panel: who they are, that they are here,
 * what their cart holds, and how many messages of the shop they have not seen.
 *
 * Promises: the visitor's token and whatever chatd gave lie in the page's own storage and nowhere else; all tabs are one
 * customer, also when they begin at once; a message of the shop is reported as delivered when it is here; the same cart is
 * told once; a refused identity is dropped, not used.
 * Leaves to others: staying connected and the outbox (`client.js`); what the frames mean for a thread (`chat.js`, which
 * comes with the panel: a page that only waits for a reply does not pay for it).
 *
 * Dispatches "change" (something was heard, or waits to be said), "message" and "unread" (for the shop's page), "ended"
 * (logged out, here or in another tab).
 */

import { Client } from "../client.js";
import { readCart } from "./cart.js";

/** Close codes of docs/protocol.md, section 6. */
const NOT_AUTHENTICATED = 4502;
const SESSION_ENDED = 4503;
/** Frames that wait for the panel; beyond this, a fresh snapshot is less than all of them. */
const FRAMES_MAX = 500;

/** @typedef {Pick<Storage, "getItem" | "setItem" | "removeItem">} Memory */

/** @param {any} event */
const isOfShop = ({ type, message }) => type === "message_sent" && message.author.kind !== "customer";

export class Session extends EventTarget {
  /**
   * The welcome with the snapshot and what followed, each with the time when it was heard, oldest first. Whoever takes
   * them out (`chat.js`) has to keep what they say.
   * @type {any[]}
   */
  frames = [];
  /**
   * By conversation, the positions of the shop's messages that the customer has not seen.
   * @type {Map<string, number[]>}
   */
  #unseen = new Map();
  #unread = 0;
  /** @type {string | null} whose connection this is: the token of the last hello, or what the welcome gave */
  #token = null;
  #identity;
  #refused = false;
  /** @type {import("./cart.js").Cart | null} */
  #cart = null;
  #cartUnderWay = "";
  #off = new AbortController();

  /**
   * @param {object} options
   * @param {{shop: string, socket: string}} options.settings
   * @param {Memory} options.storage what outlives the page
   * @param {Storage | null} options.outbox the same storage as the browser has it, for the client's outbox
   * @param {string} [options.identity] a JWT of the shop's backend
   * @param {"bubble" | "page"} [options.channel]
   */
  constructor({ settings, storage, outbox, identity = "", channel = "bubble" }) {
    super();
    this.prefix = `chatd:${settings.shop}:`;
    this.storage = storage;
    this.channel = channel;
    this.#identity = identity;
    this.client = new Client({
      url: settings.socket,
      hello: () => this.#hello(),
      storage: outbox,
      storageKey: `${this.prefix}client`,
    });
    const { signal } = this.#off;
    const listen = (/** @type {string} */ name, /** @type {(frame: any) => void} */ listener) =>
      this.client.addEventListener(name, (event) => listener(/** @type {CustomEvent} */ (event).detail), { signal });
    listen("welcome", (frame) => this.#welcomed(frame));
    listen("event", (frame) => this.#happened(frame));
    listen("signal", (frame) => this.#heard(frame));
    listen("pending", () => this.#changed());
    listen("status", () => this.#statusChanged());
    document.addEventListener("visibilitychange", () => this.client.signal("set_active", this.#page()), { signal });
    // Another tab has logged out (a null key: everything was cleared), or was given a token at the same time as this one.
    addEventListener(
      "storage",
      ({ key, newValue }) => {
        if (key !== null && key !== `${this.prefix}token`) return;
        if (newValue === null) this.dispatchEvent(new Event("ended"));
        else if (this.#kept !== this.#token) this.client.reset();
      },
      { signal },
    );
  }

  /** The connection ends, and with it everything that was known. Clearing the storage is left to its owner. */
  logout() {
    this.#off.abort();
    this.client.close();
    this.frames = [];
  }

  /** @param {string} token */
  identify(token) {
    if (token === this.#identity) return;
    this.#identity = token;
    this.#refused = false;
    this.client.reset();
    this.client.connect();
  }

  /** Whether chatd may know this customer from before. */
  get isKnown() {
    return Boolean(this.#identity || this.#kept);
  }

  /** The whole cart as it is now. @param {unknown} value */
  setCart(value) {
    const read = readCart(value);
    if ("mistake" in read) return console.warn(`chatd.cart: ${read.mistake}`);
    this.#cart = read.cart;
    this.#tellCart();
  }

  // ------------------------------------------------------------------ who they are

  /** The token that this browser keeps: of all its tabs. */
  get #kept() {
    return this.storage.getItem(`${this.prefix}token`);
  }

  #page() {
    // Without the fragment: some shops keep secrets there.
    const { origin, pathname, search } = location;
    return {
      active: document.visibilityState === "visible",
      url: (origin + pathname + search).slice(0, 2_000),
      title: document.title.slice(0, 300),
    };
  }

  #hello() {
    this.#token = this.#kept;
    const { active, ...page } = this.#page();
    return {
      token: this.#token ?? undefined,
      identity: this.#identity || undefined,
      channel: this.channel,
      active,
      locale: navigator.language,
      page,
    };
  }

  /**
   * Two tabs that begin at once are each given a token, and one of the two stays. So nothing that waits is said before this
   * tab has come again with the one that is kept by then: it would be said by a customer of whom nobody knows any more.
   * With nothing to say there is nothing to lose; if the other one stays, the storage tells.
   *
   * @param {string} token a new customer's @returns {boolean} whether this connection may go on as that customer
   */
  #becomes(token) {
    if (this.#kept !== this.#token) return false; // another tab was given one since the hello
    this.storage.setItem(`${this.prefix}token`, token);
    // Somebody new to chatd: what it was told of the cart before, it was told of somebody else.
    this.storage.removeItem(`${this.prefix}cart`);
    this.#token = token;
    return this.client.pending.length === 0;
  }

  // ------------------------------------------------------------------ what is heard

  /** @param {any} frame */
  #welcomed(frame) {
    if (frame.token && !this.#becomes(frame.token)) return this.client.reset();
    if (!frame.resumed) {
      this.frames = [];
      this.#unseen.clear();
      for (const { id, thread, seen_by_customer, delivered } of frame.snapshot.conversations) {
        const positions = thread
          .filter((/** @type {any} */ { event }) => isOfShop(event))
          .map((/** @type {any} */ { event }) => event.message.position);
        this.#begin(id, positions.filter((/** @type {number} */ position) => position > seen_by_customer));
        if (positions.at(-1) > delivered) this.#delivered(id, positions.at(-1));
      }
    }
    this.#refused = false;
    this.#tellCart();
    this.#heard(frame);
  }

  /** @param {any} frame */
  #happened(frame) {
    const { event } = frame;
    const { conversation, message, position } = event;
    const unseen = this.#unseen.get(conversation) ?? [];
    if (event.type === "conversation_started") {
      this.#begin(conversation, unseen);
      this.#tellCart();
    }
    if (event.type === "messages_seen" && event.by === "customer")
      this.#unseen.set(conversation, unseen.filter((one) => one > position));
    if (isOfShop(event)) {
      unseen.push(message.position);
      this.#delivered(conversation, message.position);
      const detail = { author: message.author.name ?? "", text: message.parts[0]?.text ?? "" };
      this.dispatchEvent(new CustomEvent("message", { detail }));
    }
    this.#heard(frame);
  }

  /** @param {any} frame */
  #heard(frame) {
    this.frames.push({ ...frame, heard_at: Date.now() });
    if (this.frames.length > FRAMES_MAX) this.client.reset();
    this.#changed();
  }

  #statusChanged() {
    const { endedCode, status } = this.client;
    const refused = endedCode === NOT_AUTHENTICATED;
    // What a reply link was exchanged for has no other self to fall back to.
    if (status === "ended" && (endedCode === SESSION_ENDED || (refused && this.channel === "page")))
      return this.dispatchEvent(new Event("ended"));
    if (status === "ended" && refused && !this.#refused) {
      // Once more without what was refused. Whoever it was that the identity named, it is not them.
      this.#refused = true;
      if (this.#identity)
        console.warn("chatd.identify: refused; is the JWT signed with the shop's secret, and not expired?");
      else this.storage.removeItem(`${this.prefix}token`);
      this.#identity = "";
      this.client.connect();
    }
    this.#changed();
  }

  #changed() {
    const unread = [...this.#unseen.values()].flat().length;
    if (unread !== this.#unread) this.dispatchEvent(new CustomEvent("unread", { detail: (this.#unread = unread) }));
    this.dispatchEvent(new Event("change"));
  }

  // ------------------------------------------------------------------ what is told

  /** There is a conversation, so every page connects by itself from now on. @param {string} id @param {number[]} unseen */
  #begin(id, unseen) {
    this.#unseen.set(id, unseen);
    this.storage.setItem(`${this.prefix}talked`, "1");
  }

  /** @param {string} conversation @param {number} position */
  #delivered(conversation, position) {
    this.client.send("mark_delivered", { conversation, position });
  }

  #tellCart() {
    if (!this.#cart || !this.#unseen.size || this.client.status !== "open") return;
    const key = `${this.prefix}cart`;
    const told = JSON.stringify(this.#cart);
    if (told === this.#cartUnderWay || told === this.storage.getItem(key)) return;
    this.#cartUnderWay = told;
    this.client
      .send("update_cart", { cart: this.#cart })
      .then(({ kept }) => kept && this.storage.setItem(key, told))
      .catch((error) => console.warn(`chatd.cart: ${error.message}`))
      .finally(() => this.#cartUnderWay === told && (this.#cartUnderWay = ""));
  }
}
