// @ts-check
/**
 * `<topic-menu>`: a list of topics to choose from, beside what opened it. Once for the topics of a conversation, where
 * several may be on, once for the list, which is narrowed to one. A menu after the ARIA practices: arrow keys, Home, End
 * and first letters move, Enter and Space choose, Escape leaves; the focus goes back to where it was.
 */

import { h, icon } from "../dom.js";
import { InboxElement } from "./inbox-element.js";

/** @typedef {{key: string, words: string, on: boolean, aside?: string, said?: string}} Choice */

export class TopicMenu extends InboxElement {
  build() {
    this.menu = h("div.topic-menu", { popover: "auto", role: "menu" });
    this.append(this.menu);
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    this.menu.addEventListener(
      "toggle",
      (/** @type {any} */ { newState }) => {
        this.anchor?.setAttribute("aria-expanded", String(newState === "open"));
        if (newState === "closed") this.#restore();
      },
      { signal },
    );
    this.menu.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event), { signal });
  }

  /**
   * @param {object} what
   * @param {HTMLElement} what.anchor
   * @param {string} what.label
   * @param {Choice[]} what.choices
   * @param {"menuitemcheckbox" | "menuitemradio"} what.role
   * @param {(key: string) => void} what.choose
   */
  show({ anchor, label, choices, role, choose }) {
    if (this.menu.matches(":popover-open")) return this.menu.hidePopover();
    this.anchor = anchor;
    this.before = /** @type {HTMLElement | null} */ (document.activeElement);
    this.menu.setAttribute("aria-label", label);
    this.menu.replaceChildren(
      ...choices.map(({ key, words, on, aside, said }) =>
        h(
          "button",
          {
            type: "button",
            role,
            "aria-checked": String(on),
            tabindex: -1,
            onclick: () => {
              this.menu.hidePopover();
              choose(key);
            },
          },
          icon("check"),
          h("span.label", null, words),
          aside && h("span.number", { "aria-hidden": "true" }, aside),
          said && h("span.unseen", null, said),
        ),
      ),
    );
    this.menu.showPopover();
    this.#place(anchor);
    (this.menu.querySelector("[aria-checked=true]") ?? this.menu.firstElementChild)?.focus();
  }

  /** Below the anchor or above it, wherever there is room, and inside the window. @param {HTMLElement} anchor */
  #place(anchor) {
    const at = anchor.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.menu;
    const rtl = getComputedStyle(this).direction === "rtl";
    const left = rtl ? at.right - width : at.left;
    const top = at.bottom + 6 + height > innerHeight ? at.top - 6 - height : at.bottom + 6;
    this.menu.style.setProperty("left", `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`);
    this.menu.style.setProperty("top", `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`);
  }

  /** Unless somebody has gone elsewhere with the pointer. */
  #restore() {
    if (document.activeElement === document.body && this.before?.isConnected) this.before.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const items = /** @type {HTMLElement[]} */ ([...this.menu.children]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 };
    let next = Object.hasOwn(steps, event.key) ? items[steps[event.key] % items.length] : null;
    if (!next && event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const letter = event.key.toLocaleLowerCase();
      const order = [...items.slice(at + 1), ...items.slice(0, at + 1)];
      next = order.find((item) => wordsOf(item).startsWith(letter)) ?? null;
    }
    if (event.key === "Tab") this.menu.hidePopover();
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    next.focus();
  }
}

/** @param {HTMLElement} item */
const wordsOf = (item) => item.querySelector(".label")?.textContent?.toLocaleLowerCase() ?? "";

customElements.define("topic-menu", TopicMenu);
