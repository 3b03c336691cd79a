// @ts-check
/** `<thread-header>`: whom one talks to, whether they are here, what is in their cart (C2), and Close or Open (A5). */

import "./cart-strip.js";
import "./person-avatar.js";
import "./topic-strip.js";
import { makeCount, showCount } from "../count.js";
import { fill, h, icon, setAttribute, setText } from "../dom.js";
import { nameOf } from "../people.js";
import { lastSeenOf } from "../last-seen.js";
import { InboxElement } from "./inbox-element.js";

export class ThreadHeader extends InboxElement {
  static topics = ["thread", "place", "rows"];
  #button = "";

  build() {
    this.unread = makeCount(); // of the other conversations, which a phone does not show beside this one
    this.back = h(
      "button.icon-button.only-phone.counted",
      { type: "button" },
      icon("back", "turns"),
      h("span.unseen", null, this.t("back")),
      this.unread,
    );
    this.back.addEventListener("click", () => this.inbox.go({ conversation: null }));
    this.avatar = h("person-avatar", null);
    this.heading = h("h2.own-way", { tabindex: -1, dir: "auto" });
    this.presence = h("div.thread-presence", null);
    this.acts = h("div.thread-acts", null);
    this.state = h("button.button", { type: "button", "data-tip-side": "end" });
    this.state.addEventListener("click", () => this.#toggle());
    this.panel = h(
      "button.icon-button",
      {
        type: "button",
        "aria-label": this.t("customer.show"),
        "data-tip": this.t("customer.show"),
        "data-tip-side": "end",
      },
      icon("panel", "turns"),
    );
    this.panel.addEventListener("click", () => this.tell("toggle-customer", { anchor: this.panel }));
    this.acts.append(this.state, this.panel);
    this.cart = /** @type {any} */ (h("cart-strip", { hidden: true }));
    this.topics = h("topic-strip", { ".inbox": this.inbox });
    this.append(
      h(
        "div.thread-bar",
        null,
        this.back,
        this.avatar,
        h("div.thread-who", null, this.heading, this.presence),
        this.topics,
        this.acts,
      ),
      this.cart,
    );
  }

  #toggle() {
    const row = this.inbox.openRow;
    if (row) this.inbox.setState([row.id], this.inbox.stateOf(row) === "open" ? "closed" : "open");
  }

  /** What is known of somebody who is not here; nothing, while the inbox itself is not connected. */
  #absence() {
    const { inbox } = this;
    if (!inbox.connected) return "";
    const seen = lastSeenOf(inbox.openThread?.entries ?? []);
    if (seen === null) return this.t("presence.offline");
    return this.t("presence.last_seen", { time: inbox.words.moment(seen) });
  }

  draw() {
    const { inbox } = this;
    const row = inbox.openRow;
    showCount(this.unread, Math.max(0, (inbox.state?.unread ?? 0) - (row?.unread ?? 0)), inbox.words);
    this.acts.hidden = !row;
    this.avatar.hidden = !row;
    this.presence.hidden = !row;
    if (!row) {
      setText(this.heading, "");
      this.cart.hidden = true;
      return;
    }
    const online = inbox.isOnline(row.customer.id);
    this.avatar.show(row.customer, online);
    setText(this.heading, nameOf(row.customer, inbox.words.t));
    this.toggleAttribute("data-online", online);
    setAttribute(this.presence, "data-online", online ? true : null);
    const reading = inbox.isReading(row.customer.id);
    setText(
      this.presence,
      online ? this.t("presence.online") : reading ? this.t("presence.reading") : this.#absence(),
    );
    this.state.hidden = !inbox.mayChat;
    const open = inbox.stateOf(row) === "open";
    if (this.#button !== String(open)) {
      this.#button = String(open);
      fill(this.state, icon(open ? "closed" : "reopen", "small"), h("span", null, this.t(open ? "close" : "open")));
      setAttribute(this.state, "data-tip", this.t(open ? "close_with_key" : "open_with_key"));
    }
    setAttribute(
      this.panel,
      "aria-expanded",
      String(this.closest("inbox-app")?.getAttribute("data-customer") === "shown"),
    );
    const cart = inbox.openThread?.cart?.cart;
    this.cart.hidden = !cart?.lines.length;
    if (cart?.lines.length) this.cart.show(cart, inbox.words, row.id);
  }
}

customElements.define("thread-header", ThreadHeader);
