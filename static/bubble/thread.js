// @ts-check
/**
 * The thread on the screen: the list of messages, where one is in it, and what has been seen of it.
 *
 * Promises: at the bottom it stays at the bottom, elsewhere nothing moves under the reader and a button tells what is new;
 * older pages come as one scrolls up, and what is read stays where it is; screen readers are told what arrives, and not
 * what is loaded; a message is reported as seen only when it was in view, on a visible page.
 * Leaves to others: loading and reporting.
 */

import { avatar, h, icon } from "./dom.js";
import { itemsOf } from "./items.js";
import { MessageView } from "./message.js";

/** Within this distance of the end one is at the end: a finger or a zoomed page does not stop on the pixel. */
const NEAR_PX = 48;
const OLDER_PX = 300;

export class Thread {
  /** @type {Map<string, {element: HTMLElement, view?: MessageView, position: number, own: boolean}>} */
  #rows = new Map();
  #atEnd = true;
  #loading = false;
  #new = 0;
  #seen = 0;
  #fresh = 0;
  #started = false;
  /** @type {Options} */
  #options;

  /**
   * @typedef {object} Options
   * @property {import("./composer.js").Translate} t
   * @property {import("./message.js").Options} message
   * @property {(at: number) => string} day
   * @property {{name: string, greeting: string}} shop
   * @property {() => Promise<unknown>} loadOlder
   * @property {(position: number) => void} seen
   */
  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    const { t, shop } = options;
    this.welcome = h(
      "div.welcome",
      null,
      avatar(shop.name, "shop"),
      shop.greeting && h("p.greeting", { dir: "auto" }, shop.greeting),
    );
    this.older = h("p.older", { hidden: true }, t("loading_older"));
    this.log = h("ol.log", { role: "list" });
    this.live = h("div", { role: "log", "aria-label": t("messages"), "aria-live": "off" }, this.log);
    this.dots = h("div.dots", { "aria-hidden": "true" }, h("i"), h("i"), h("i"));
    this.typist = h("span");
    this.typing = h("div.typing", { hidden: true }, this.dots, this.typist);
    this.element = h(
      "div.thread",
      { tabindex: 0, role: "region", "aria-label": t("thread"), onscroll: () => this.#scrolled() },
      this.older,
      this.welcome,
      this.live,
      this.typing,
    );
    this.newer = h("button.newer", { type: "button", hidden: true, onclick: () => this.toEnd({ smooth: true }) });
  }

  /** The place for what belongs to the end of the thread but is no message, as the introduction. @param {HTMLElement | null} card */
  set appended(card) {
    if (this.element.lastChild === card) return;
    if (this.element.lastChild !== this.typing) this.element.lastChild?.remove();
    if (card) this.element.append(card);
    this.#keep();
  }

  /**
   * @param {object} facts
   * @param {import("../state.js").Entry[]} facts.entries
   * @param {boolean} facts.more whether chatd has older ones
   * @param {number} facts.seenByShop
   * @param {number} facts.seenByCustomer
   * @param {boolean} facts.online
   */
  update({ entries, more, seenByShop, seenByCustomer, online }) {
    // A thread that nobody sees has no place where one is in it.
    const first = !this.#started && this.element.clientHeight > 0;
    if (first && entries.length) {
      this.#started = true;
      this.#seen = seenByCustomer;
      const unread = entries.find(
        ({ event }) =>
          event.type === "message_sent" &&
          event.message.author?.kind !== "customer" &&
          event.message.author &&
          event.message.position > seenByCustomer,
      );
      this.#fresh = unread?.event.message.position ?? 0;
    }
    this.#seen = Math.max(this.#seen, seenByCustomer);
    this.more = more;
    this.welcome.hidden = more;
    this.older.hidden = !more;
    const known = this.#rows.size;
    const items = itemsOf(entries, { seenByShop, freshFrom: this.#fresh });
    const anchor = this.#anchor();
    const arrived = this.#draw(items, online);
    if (!this.#started || first) this.#begin();
    else if (known === 0 || this.#atEnd || arrived.own) this.toEnd();
    else this.#restore(anchor);
    if (!this.#atEnd && this.#started && !first) this.#new += arrived.others;
    this.#tell();
    this.reportSeen();
  }

  /** It is no longer looked at; when it is again, it opens afresh where the unread begins. */
  leave() {
    this.#started = false;
    this.#fresh = 0;
    this.live.setAttribute("aria-live", "off");
  }

  /** @param {string} text "Leo is typing…", or "" */
  set typingText(text) {
    this.typing.hidden = !text;
    if (text) this.typist.textContent = text;
    this.#keep();
  }

  /** @param {{smooth?: boolean}} [how] */
  toEnd({ smooth = false } = {}) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#atEnd = true;
    this.#new = 0;
    this.element.scrollTo({ top: this.element.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
    this.#tell();
  }

  /** To be called when the size of the view has changed, or it has become visible. */
  fit() {
    this.#keep();
    this.reportSeen();
  }

  /** Tells how far the shop's messages have been before somebody's eyes. */
  reportSeen() {
    const view = this.element.getBoundingClientRect();
    if (document.visibilityState !== "visible" || view.height === 0 || !this.element.isConnected) return;
    let seen = 0;
    for (const row of this.#rows.values()) {
      if (row.own || row.position <= Math.max(seen, this.#seen)) continue;
      // A long message is seen when its end has come into view, or when it fills the view.
      const { top, bottom } = row.element.getBoundingClientRect();
      if (bottom <= view.bottom + 8 || top < view.top) seen = row.position;
    }
    if (seen <= this.#seen) return;
    this.#seen = seen;
    this.#options.seen(seen);
  }

  /** @param {import("./items.js").Item[]} items @param {boolean} online @returns {{own: boolean, others: number}} what came at the end */
  #draw(items, online) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    const arrived = { own: false, others: 0 };
    const live = this.#started && this.#rows.size > 0;
    // What is put before a row that is there already is older, and not news.
    const last = [...this.#rows.keys()].pop();
    let after = live ? items.findIndex((item) => item.key === last) < 0 : false;
    /** @type {Element | null} */
    let next = this.log.firstElementChild;
    for (const item of items) {
      let row = this.#rows.get(item.key);
      if (!row) {
        row = this.#make(item);
        this.#rows.set(item.key, row);
        if (live && after && item.kind === "message") {
          row.element.classList.add("arriving");
          if (item.own) arrived.own = true;
          else arrived.others += 1;
        }
      }
      if (item.key === last) after = true;
      if (item.kind === "message") {
        row.position = Number.isFinite(item.position) ? item.position : 0;
        row.view?.update(item, online);
      }
      if (row.element === next) next = next.nextElementSibling;
      else this.log.insertBefore(row.element, next);
    }
    // The order of the map is the order on the screen.
    this.#rows = new Map(items.map((item) => [item.key, /** @type {any} */ (this.#rows.get(item.key))]));
    return arrived;
  }

  /** @param {import("./items.js").Item} item */
  #make(item) {
    const { t, day, message } = this.#options;
    if (item.kind === "message") {
      const view = new MessageView(item, message);
      return { element: view.element, view, position: 0, own: item.own };
    }
    const words = item.kind === "day" ? day(item.at) : t(item.kind);
    const name = item.kind.startsWith("closed") ? "line" : item.kind;
    return { element: h("li", { class: name }, h("span", null, words)), position: 0, own: true };
  }

  /** The view opens at the end, or where the unread begins when that is more than a view full. */
  #begin() {
    this.toEnd();
    const fresh = this.#rows.get("fresh");
    if (fresh && fresh.element.offsetTop < this.element.scrollTop) {
      this.element.scrollTop = fresh.element.offsetTop - 8;
      this.#atEnd = false;
    }
    // Only from now on is something that comes in news to a screen reader.
    requestAnimationFrame(() => this.live.setAttribute("aria-live", "polite"));
  }

  /** The first row in view, and how far it is from the top of it. */
  #anchor() {
    const top = this.element.scrollTop;
    for (const { element } of this.#rows.values()) {
      if (element.offsetTop + element.offsetHeight > top) return { element, from: element.offsetTop - top };
    }
    return null;
  }

  /** @param {{element: HTMLElement, from: number} | null} anchor */
  #restore(anchor) {
    if (anchor?.element.isConnected) this.element.scrollTop = anchor.element.offsetTop - anchor.from;
  }

  #keep() {
    if (this.#atEnd) this.toEnd();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    if (clientHeight === 0) return;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#atEnd) this.#new = 0;
    this.#tell();
    this.reportSeen();
    if (scrollTop < OLDER_PX && this.more) void this.#load();
  }

  async #load() {
    if (this.#loading) return;
    this.#loading = true;
    this.live.setAttribute("aria-live", "off");
    try {
      await this.#options.loadOlder();
    } catch {
      // The connection is gone; scrolling on asks again.
    } finally {
      this.#loading = false;
      requestAnimationFrame(() => this.live.setAttribute("aria-live", "polite"));
    }
  }

  #tell() {
    this.newer.hidden = this.#atEnd;
    const text = this.#new ? this.#options.t("new_messages", { count: this.#new }) : this.#options.t("to_end");
    if (this.newer.dataset.text === text) return;
    this.newer.dataset.text = text;
    this.newer.replaceChildren(icon("down"), text);
  }
}
