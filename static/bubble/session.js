// @ts-check
/**
 * The customer's side of the connection on this page: who they are, what is known, what the cart holds.
 *
 * Promises: the visitor's token and whatever chatd gave lie in the page's own storage and nowhere else; a message of the
 * shop is reported as delivered when it is here; the same cart is told once; a refused identity is dropped, not used.
 * Leaves to others: staying connected and the outbox (`client.js`), the state (`state.js`), all that is drawn.
 *
 * Dispatches "change" (something that is drawn is other than before), "message" and "unread" (for the shop's page), "ended"
 * (logged out, here or in another tab).
 */

import { Client } from "../client.js";
import {
  applySignal,
  applyToCustomer,
  applyWelcome,
  customerState,
  mergeHistory,
  threadOf,
  typingIn,
} from "../state.js";
import { readCart } from "./cart.js";

/** Close codes of docs/protocol.md, section 6. */
const NOT_AUTHENTICATED = 4502;
const SESSION_ENDED = 4503;
const PAGE_OF_HISTORY = 50;

/** @typedef {Pick<Storage, "getItem" | "setItem" | "removeItem">} Memory */

export class Session extends EventTarget {
  /** @type {import("../state.js").CustomerState | null} */
  state = null;
  #identity;
  #refused = false;
  #delivered = 0;
  /** @type {import("./cart.js").Cart | null} */
  #cart = null;
  #cartUnderWay = "";
  #unread = 0;
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
    listen("event", ({ number, event }) => this.#happened(number, event));
    listen("signal", (frame) => this.state && applySignal(this.state, frame).kind !== "none" && this.#changed());
    listen("pending", () => this.#changed());
    listen("status", () => this.#statusChanged());
    document.addEventListener("visibilitychange", () => this.client.signal("set_active", this.#page()), { signal });
    // Another tab has logged out. (A null key: everything was cleared.)
    addEventListener(
      "storage",
      ({ key, newValue }) =>
        (key === null || key === `${this.prefix}token`) && newValue === null && this.dispatchEvent(new Event("ended")),
      { signal },
    );
  }

  connect() {
    this.client.connect();
  }

  /** The connection ends, and with it everything that was known. Clearing the storage is left to its owner. */
  logout() {
    this.#off.abort();
    this.client.close();
    this.state = null;
  }

  /** @param {string} token */
  identify(token) {
    if (token === this.#identity) return;
    this.#identity = token;
    this.#refused = false;
    this.client.reset();
    this.client.connect();
  }

  // ------------------------------------------------------------------ what is drawn

  get status() {
    return this.client.status;
  }

  /** Whether chatd may know this customer from before. */
  get isKnown() {
    return Boolean(this.#identity || this.storage.getItem(`${this.prefix}token`));
  }

  /** The one conversation that is shown, once it exists. */
  get conversation() {
    const all = [...(this.state?.conversations.values() ?? [])];
    return all.find(({ kind }) => kind === "shop") ?? all[0] ?? null;
  }

  get entries() {
    return threadOf(this.conversation, this.client.pending);
  }

  /** Who is writing to the customer now, or null. */
  get typist() {
    const author = this.state && this.conversation ? typingIn(this.state, this.conversation.id) : null;
    return author?.kind === "staff" ? author : null;
  }

  // ------------------------------------------------------------------ what the customer does

  /** @param {string} text */
  say(text) {
    // Already now, and not when chatd has answered: the next page must connect by itself to bring this message out.
    this.storage.setItem(`${this.prefix}talked`, "1");
    const conversation = this.channel === "page" ? this.conversation?.id : undefined;
    this.client
      .send("send_message", { parts: [{ type: "text", text }], ...(conversation && { conversation }) })
      .catch(() => {});
  }

  /** Rejects when chatd refuses the name or the address. @param {{name: string, email: string}} answer */
  async introduce(answer) {
    try {
      const { person } = await this.client.send("introduce", answer);
      // Before the first message there is no event that would tell it.
      if (this.state && person) this.state.customer = person;
      this.#changed();
    } catch (error) {
      for (const entry of this.client.pending)
        if (entry.type === "introduce" && entry.state === "failed") this.client.discard(entry.id);
      throw error;
    }
  }

  /** @param {number} position */
  seen(position) {
    const { conversation } = this;
    if (conversation && position > conversation.seen_by_customer)
      this.client.send("mark_seen", { conversation: conversation.id, position }).catch(() => {});
  }

  /** @param {boolean} on */
  typing(on) {
    if (this.conversation) this.client.signal("set_typing", { conversation: this.conversation.id, on });
  }

  async loadOlder() {
    const { conversation } = this;
    if (!conversation?.more) return;
    const page = await this.client.ask("load_history", {
      conversation: conversation.id,
      before: conversation.entries[0]?.number,
      limit: PAGE_OF_HISTORY,
    });
    if (this.conversation !== conversation) return;
    mergeHistory(conversation, page);
    this.#changed();
  }

  /** The whole cart as it is now. @param {unknown} value */
  setCart(value) {
    const read = readCart(value);
    if ("mistake" in read) return console.warn(`chatd.cart: ${read.mistake}`);
    this.#cart = read.cart;
    this.#tellCart();
  }

  // ------------------------------------------------------------------ the connection

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
    const { active, ...page } = this.#page();
    return {
      token: this.storage.getItem(`${this.prefix}token`) ?? undefined,
      identity: this.#identity || undefined,
      channel: this.channel,
      active,
      locale: navigator.language,
      page,
    };
  }

  /** @param {any} frame */
  #welcomed(frame) {
    if (frame.token) {
      this.storage.setItem(`${this.prefix}token`, frame.token);
      // Somebody new to chatd: what it was told of the cart before, it was told of somebody else.
      this.storage.removeItem(`${this.prefix}cart`);
    }
    if (frame.resumed && this.state) applyWelcome(this.state, frame);
    else this.state = customerState(frame);
    if (this.conversation) this.storage.setItem(`${this.prefix}talked`, "1");
    this.#refused = false;
    this.#reportDelivered();
    this.#tellCart();
    this.#changed();
  }

  /** @param {number} number @param {any} event */
  #happened(number, event) {
    if (!this.state) return;
    applyToCustomer(this.state, number, event);
    if (event.type === "message_sent" && event.message.author.kind !== "customer") {
      this.#reportDelivered();
      const { author, parts } = event.message;
      this.dispatchEvent(
        new CustomEvent("message", { detail: { author: author.name ?? "", text: parts[0]?.text ?? "" } }),
      );
    }
    if (event.type === "conversation_started") this.#tellCart();
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
        console.warn("chatd: the identity was refused; is the JWT signed with the shop's secret, and not expired?");
      else this.storage.removeItem(`${this.prefix}token`);
      this.#identity = "";
      this.client.connect();
    }
    this.#changed();
  }

  #changed() {
    const unread = this.state?.unread ?? 0;
    if (unread !== this.#unread) this.dispatchEvent(new CustomEvent("unread", { detail: (this.#unread = unread) }));
    this.dispatchEvent(new Event("change"));
  }

  #reportDelivered() {
    const { conversation } = this;
    const newest = conversation?.entries.findLast(
      ({ event }) => event.type === "message_sent" && event.message.author.kind !== "customer",
    );
    const position = newest?.event.message.position ?? 0;
    if (!conversation || position <= Math.max(conversation.delivered, this.#delivered)) return;
    this.#delivered = position;
    this.client.send("mark_delivered", { conversation: conversation.id, position }).catch(() => {});
  }

  #tellCart() {
    if (!this.#cart || !this.conversation || this.status !== "open") return;
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
