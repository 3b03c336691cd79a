// @ts-check
/**
 * `<customer-panel>`: who the customer is, as far as anybody knows, and what is in their cart now. All of it can be
 * copied.
 */

import "./copy-button.js";
import "./person-avatar.js";
import { fill, h, icon } from "../dom.js";
import { nameOf, shortIdOf } from "../people.js";
import { nameOfTopic, originOf } from "../topics.js";
import { InboxElement } from "./inbox-element.js";

export class CustomerPanel extends InboxElement {
  static topics = ["thread", "place"];
  #shown = "";

  build() {
    this.setAttribute("role", "complementary");
    this.setAttribute("aria-label", this.t("customer.title"));
    const close = h(
      "button.icon-button",
      { type: "button", "aria-label": this.t("customer.hide"), onclick: () => this.tell("close-drawer") },
      icon("close"),
    );
    this.content = h("div", null);
    this.append(h("div.panel-close", null, close), this.content);
  }

  draw() {
    const { inbox } = this;
    const row = inbox.openRow;
    const cart = inbox.openThread && { known: inbox.openThread.cart };
    const online = row !== null && inbox.isOnline(row.customer.id);
    const topics = row ? inbox.topics.of(row) : [];
    const shown = JSON.stringify([row?.customer, row?.started_at, cart, online, topics]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    if (row)
      fill(
        this.content,
        this.#card(row.customer, online),
        this.#facts(row),
        topics.length > 0 && this.#topics(topics),
        cart && this.#cart(cart.known),
      );
    else fill(this.content);
  }

  /** @param {import("../../state.js").CustomerCard} customer @param {boolean} online */
  #card(customer, online) {
    const avatar = /** @type {any} */ (document.createElement("person-avatar"));
    avatar.show(customer, online);
    const verified = customer.verified === true;
    return h(
      "div.person-card",
      null,
      avatar,
      h("h2", null, h("bdi", null, nameOf(customer, this.words.t))),
      h(
        "div.person-badges",
        null,
        h("span.badge", null, icon("person"), this.t(`customer.${customer.kind}`)),
        h(
          "span.badge",
          {
            "data-tone": verified ? "positive" : null,
            title: this.t(verified ? "customer.verified_means" : "customer.unverified_means"),
          },
          icon(verified ? "verified" : "unverified"),
          this.t(verified ? "customer.verified" : "customer.unverified"),
        ),
      ),
    );
  }

  /** @param {import("../../state.js").Row} row */
  #facts({ customer, started_at }) {
    const { words } = this;
    return h(
      "section.panel-part",
      null,
      h(
        "dl.facts",
        null,
        this.#fact(this.t("customer.name"), customer.name ?? "", this.t("customer.no_name")),
        this.#fact(this.t("customer.email"), customer.email ?? "", this.t("customer.no_email")),
        this.#fact(this.t("customer.since"), words.date(started_at), "", words.fullTime(started_at)),
        this.#fact(this.t("customer.id"), shortIdOf(customer.id), "", customer.id),
      ),
    );
  }

  /**
   * @param {string} label
   * @param {string} value
   * @param {string} none what stands there without a value
   * @param {string} [copied] what is copied instead
   */
  #fact(label, value, none, copied = value) {
    return h(
      "div.fact",
      null,
      h("dt", null, label),
      h(
        value ? "dd" : "dd.none",
        { title: copied === value ? null : copied },
        h("bdi", null, value || none),
        value && this.#copy(copied, label),
      ),
    );
  }

  /** @param {string} value @param {string} what */
  #copy(value, what) {
    const button = /** @type {any} */ (document.createElement("copy-button"));
    Object.assign(button, { value, label: this.t("copy_what", { what }), done: this.t("copied") });
    return button;
  }

  /** What the conversation is about, and how that is known. @param {import("../../wire.js").Topic[]} topics */
  #topics(topics) {
    const { words, inbox } = this;
    return h(
      "section.panel-part",
      null,
      h("h3", null, this.t("topics.title")),
      h(
        "ul.panel-topics",
        null,
        ...topics.map((topic) =>
          h(
            "li",
            null,
            h("span.topic-chip", null, nameOfTopic(topic.topic, words.t)),
            h("bdi", null, originOf(topic, words, inbox.state?.me.id)),
          ),
        ),
      ),
    );
  }

  /** @param {{cart: any, at: number} | null} known */
  #cart(known) {
    const { words } = this;
    const lines = known?.cart.lines ?? [];
    if (known === null || lines.length === 0) {
      return h(
        "section.panel-part",
        null,
        h("h3", null, this.t("cart.title")),
        h("p.quiet", null, this.t(known === null ? "cart.unknown" : "cart.empty")),
      );
    }
    const { currency, subtotal } = known.cart;
    const text = lines
      .map(
        (/** @type {any} */ line) =>
          `${line.quantity} × ${line.title}\t${words.money(line.price * line.quantity, currency)}`,
      )
      .concat(`${this.t("cart.subtotal")}\t${words.money(subtotal, currency)}`)
      .join("\n");
    return h(
      "section.panel-part",
      null,
      h("h3", null, this.t("cart.title"), this.#copy(text, this.t("cart.title"))),
      h(
        "ul.cart-lines",
        null,
        ...lines.map((/** @type {any} */ line) =>
          h(
            "li",
            null,
            h("span.quantity", null, `${words.number(line.quantity)} ×`),
            h("bdi", { title: line.title }, line.title),
            h("span", null, words.money(line.price * line.quantity, currency)),
          ),
        ),
        h("li.total", null, h("span", null, this.t("cart.subtotal")), h("span", null, words.money(subtotal, currency))),
      ),
    );
  }
}

customElements.define("customer-panel", CustomerPanel);
