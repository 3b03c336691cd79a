// @ts-check
/**
 * The conversation as a customer has it before their eyes: the thread, how things stand, where replies go, the field.
 * The bubble's panel and the hosted page both show this.
 *
 * Promises: the state of the connection is always told in words, and what cannot be known without one is not claimed; the
 * introduction is asked for once, after the first message (or before it, when the shop wants that), and can be skipped,
 * also by writing on; whoever skips it reads that no mail can reach them.
 * Leaves to others: what there is to show (`chat.js`), the frame around (`panel.js`, `messages.js`).
 */

import { Composer } from "./composer.js";
import { h } from "./dom.js";
import { Introduction } from "./introduction.js";
import { Thread } from "./thread.js";

/** A page change reconnects in less; "Connecting…" shorter than this would only flicker. */
const CONNECTING_AFTER_MS = 1_200;
const TYPING_CHECK_MS = 1_000;
const CHARACTERS_MAX = 4_000;

/** @param {import("../state.js").Entry} entry what waits to be sent has no author yet */
const isOwn = ({ event }) =>
  event.type === "message_sent" && (event.message.author?.kind ?? "customer") === "customer";

export class ConversationView {
  /** @type {{name: string, email: string} | null} what was given and is not confirmed yet */
  #given = null;
  #changing = false;
  /** @type {Introduction | null} */
  #introduction = null;
  #slow = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #slowTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #typingTimer;
  #scheduled = false;

  /**
   * @param {object} options
   * @param {import("./chat.js").Chat} options.chat
   * @param {import("./words.js").Words} options.words
   * @param {{name: string, greeting: string, ask_first: boolean}} options.shop
   * @param {() => boolean} options.isShown
   * @param {boolean} [options.introducible] a reply link opens a conversation and does not change who the customer is
   */
  constructor({ chat, words, shop, isShown, introducible = true }) {
    const { t } = words;
    const { session } = chat;
    this.chat = chat;
    this.session = session;
    this.t = t;
    this.shop = shop;
    this.isShown = isShown;
    this.introducible = introducible;
    const draft = `${session.prefix}draft`;
    this.thread = new Thread({
      t,
      day: words.dayBreak,
      shop,
      message: {
        t,
        time: words.time,
        moment: words.dateTime,
        shopName: shop.name,
        retry: (id) => chat.client.retry(id),
        discard: (id) => chat.client.discard(id),
      },
      loadOlder: () => chat.loadOlder(),
      seen: (position) => this.isShown() && chat.seen(position),
    });
    this.composer = new Composer({
      t,
      charactersMax: CHARACTERS_MAX,
      draft: session.storage.getItem(draft) ?? "",
      keep: (text) => (text ? session.storage.setItem(draft, text) : session.storage.removeItem(draft)),
      send: (text) => chat.say(text),
      typing: (on) => chat.typing(on),
    });
    /** Whether somebody of the shop is there. It stands in the head of whoever shows this view. */
    this.status = h("p.status", { role: "status" });
    this.stateLine = h("p.told.state", { role: "status", hidden: true });
    this.repliesLine = h("p.told", { hidden: true });
    this.before = h("div.before", { hidden: true });
    this.bottom = h("div.bottom", null, this.thread.newer, this.stateLine, this.repliesLine, this.composer.element);
    this.element = h("div.conversation", null, this.before, this.thread.element, this.bottom);
    this.observer = new ResizeObserver(() => this.thread.fit());
    this.observer.observe(this.thread.element);
    this.off = new AbortController();
    chat.addEventListener("change", () => this.#schedule(), { signal: this.off.signal });
    document.addEventListener("visibilitychange", () => this.thread.reportSeen(), { signal: this.off.signal });
    this.#typingTimer = setInterval(() => this.#drawTyping(), TYPING_CHECK_MS);
    this.draw();
  }

  focus() {
    (this.before.hidden ? this.composer : this.#introduction)?.focus();
  }

  remove() {
    this.off.abort();
    this.observer.disconnect();
    clearInterval(this.#typingTimer);
    clearTimeout(this.#slowTimer);
    this.element.remove();
  }

  /** Several changes of one moment are drawn once. */
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.draw();
    });
  }

  draw() {
    const { chat, thread, composer } = this;
    const { conversation, entries } = chat;
    if (chat.state?.limits?.message_characters_max)
      composer.charactersMax = chat.state.limits.message_characters_max;
    composer.placeholder = this.t(conversation?.state === "closed" ? "field_closed" : "field_placeholder");
    thread.update({
      entries,
      more: conversation?.more ?? false,
      online: chat.status === "open",
      seenByShop: conversation?.seen_by_shop ?? 0,
      seenByCustomer: conversation?.seen_by_customer ?? 0,
    });
    this.#drawState();
    this.#drawIntroduction();
    this.#drawTyping();
  }

  // ------------------------------------------------------------------ how things stand

  #drawState() {
    const { status } = this.chat;
    const waiting = status === "connecting" || status === "waiting";
    if (!waiting) {
      clearTimeout(this.#slowTimer);
      this.#slowTimer = undefined;
      this.#slow = false;
    } else {
      this.#slowTimer ??= setTimeout(() => {
        this.#slow = true;
        this.draw();
      }, CONNECTING_AFTER_MS);
    }
    const text =
      {
        open: "",
        connecting: this.#slow ? "connecting" : "",
        waiting: this.#slow ? "connecting" : "",
        offline: "offline",
        ended: "ended",
      }[status] ?? "";
    // Without a connection nobody knows whether the shop is there, so nothing is said of it.
    const there = text ? undefined : this.chat.state?.shop_online;
    this.status.classList.toggle("there", there === true);
    const words = there === undefined ? "" : this.t(there ? "shop_online" : "shop_away");
    if (this.status.textContent !== words) this.status.textContent = words;
    if (this.stateLine.dataset.text === text) return;
    this.stateLine.dataset.text = text;
    this.stateLine.hidden = !text;
    this.stateLine.replaceChildren(...(text ? [h("span", null, this.t(text))] : []));
    if (text === "ended")
      this.stateLine.append(
        h("button.plain", { type: "button", onclick: () => this.chat.client.connect() }, this.t("try_again")),
      );
  }

  #drawTyping() {
    const { typist } = this.chat;
    this.thread.typingText = typist ? this.t("typing", { name: typist.name || this.shop.name }) : "";
  }

  // ------------------------------------------------------------------ who are you

  #drawIntroduction() {
    const { chat, session, shop } = this;
    // Who has been here before may have said it before: that is known with the welcome.
    if (!this.introducible || (!chat.state && session.isKnown)) return;
    const { name = "", email = "" } = this.#given ?? chat.state?.customer ?? {};
    const customer = { name, email };
    const verified = chat.state?.customer.verified ?? false;
    const started = chat.entries.length > 0;
    const skipped = session.storage.getItem(`${session.prefix}skipped`) !== null;
    // Whoever writes on instead has answered: not now. The line above the field goes on offering it.
    const wroteOn = chat.entries.filter(isOwn).length > 1 && !this.#introduction?.isInUse;
    const wanted = !customer.email && !skipped && !verified && !wroteOn;
    const when = this.#changing ? "change" : !wanted ? null : started ? "later" : shop.ask_first ? "first" : null;
    if (when !== (this.#introduction?.when ?? null)) this.#ask(when, customer);
    this.#drawReplies(when ? null : customer.email, started || skipped || Boolean(customer.email), verified);
  }

  /** @param {"first" | "later" | "change" | null} when @param {{name: string, email: string}} customer */
  #ask(when, customer) {
    const focused = this.element.matches(":focus-within");
    const had = this.#introduction?.element.matches(":focus-within") ?? false;
    this.#introduction =
      when &&
      new Introduction({
        t: this.t,
        customer,
        when,
        save: (answer) => void this.#save(answer),
        skip: () => this.#skip(),
      });
    const first = when === "first";
    this.before.hidden = !first;
    this.thread.element.hidden = this.bottom.hidden = first;
    this.before.replaceChildren(
      ...(first && this.#introduction ? [this.thread.welcome.cloneNode(true), this.#introduction.element] : []),
    );
    this.thread.appended = first ? null : (this.#introduction?.element ?? null);
    if (when === "change" || (first && focused)) this.#introduction?.focus();
    else if (had) this.composer.focus();
    if (!first) this.composer.fit();
  }

  /** @param {{name: string, email: string}} answer */
  async #save(answer) {
    const form = this.#introduction;
    const changing = this.#changing;
    this.#given = answer;
    this.#changing = false;
    if (!answer.email) this.session.storage.setItem(`${this.session.prefix}skipped`, "1");
    this.draw();
    try {
      await this.chat.introduce(answer);
      this.#given = null;
    } catch {
      this.#given = null;
      this.#changing = changing || this.chat.entries.length > 0;
      this.draw();
      const again = this.#introduction ?? form;
      if (again) Object.assign(again.email, { value: answer.email });
      again?.refuse();
    }
    this.draw();
  }

  #skip() {
    if (!this.#changing) this.session.storage.setItem(`${this.session.prefix}skipped`, "1");
    this.#changing = false;
    this.draw();
  }

  /** @param {string | null} email null: nothing is told now @param {boolean} asked @param {boolean} verified */
  #drawReplies(email, asked, verified) {
    const text =
      email === null || !asked
        ? ""
        : email
          ? this.t("replies_to", { email: `\u2068${email}\u2069` })
          : this.t("replies_nowhere");
    // One line at a time: how the connection stands is the more urgent of the two.
    this.repliesLine.hidden = !text || !this.stateLine.hidden;
    if (this.repliesLine.dataset.text === text) return;
    this.repliesLine.dataset.text = text;
    const change = h(
      "button.plain",
      { type: "button", onclick: () => this.#change() },
      this.t(email ? "change" : "give_email"),
    );
    this.repliesLine.replaceChildren(h("span", null, text), ...(verified ? [] : [change]));
  }

  #change() {
    this.#changing = true;
    this.draw();
    this.thread.toEnd();
  }
}
