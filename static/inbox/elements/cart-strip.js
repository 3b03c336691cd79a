// @ts-check
/**
 * `<cart-strip>`: the cart in one line (feature C2): its subtotal and the quantity of each item. What does not fit
 * unfolds.
 */

import { fill, h, icon, setText } from "../dom.js";

export class CartStrip extends HTMLElement {
  #shown = "";
  #of = "";

  /** @param {any} cart @param {any} words @param {string} conversation */
  show(cart, words, conversation) {
    if (conversation !== this.#of) this.removeAttribute("data-open");
    this.#of = conversation;
    const shown = JSON.stringify([conversation, cart]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { t } = words;
    this.words = words;
    this.items = h(
      "ul.items",
      { "aria-label": t("cart.items") },
      ...cart.lines.map((/** @type {any} */ line) =>
        h(
          "li.item",
          null,
          h("span.quantity", null, `${words.number(line.quantity)} ×`),
          h("bdi", { title: line.title }, line.title),
        ),
      ),
    );
    this.more = h("button.text-button", { type: "button", hidden: true, onclick: () => this.#unfold() });
    fill(
      this,
      icon("cart"),
      h(
        "span.subtotal",
        null,
        h("span.unseen", null, t("cart.subtotal"), " "),
        words.money(cart.subtotal, cart.currency),
      ),
      this.items,
      this.more,
    );
    this.#fit();
  }

  connectedCallback() {
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(this);
  }

  disconnectedCallback() {
    this.observer?.disconnect();
  }

  #unfold() {
    this.toggleAttribute("data-open");
    this.#fit();
  }

  /** Says how many items do not fit into the line. */
  #fit() {
    if (!this.items || !this.isConnected) return;
    const open = this.hasAttribute("data-open");
    const items = /** @type {HTMLElement[]} */ ([...this.items.children]);
    const first = items[0]?.offsetTop ?? 0;
    const over = items.filter((item) => item.offsetTop > first + 4).length;
    this.more.hidden = over === 0;
    this.more.setAttribute("aria-expanded", String(open));
    setText(this.more, open ? this.words.t("cart.fewer") : this.words.t("cart.more", { count: over }));
  }
}

customElements.define("cart-strip", CartStrip);
