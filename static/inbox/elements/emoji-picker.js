// @ts-check
/** `<emoji-picker>`: search and grid. Property `words`; tells "emoji" with the one that was picked, and "close". */

import { EMOJI_GROUPS } from "../emoji-list.js";
import { EMOJI, findEmoji } from "../emoji.js";
import { fill, h } from "../dom.js";

export class EmojiPicker extends HTMLElement {
  /** @type {any} */
  words;

  connectedCallback() {
    const { t } = this.words;
    this.setAttribute("role", "dialog");
    this.setAttribute("aria-label", t("emoji.title"));
    this.search = h("input.field", {
      type: "search",
      placeholder: t("emoji.search"),
      "aria-label": t("emoji.search"),
      autocomplete: "off",
      spellcheck: "false",
      lang: "en",
    });
    this.grid = h("div.emoji-grid", null);
    fill(this, h("div.emoji-search", null, this.search), this.grid);
    this.search.addEventListener("input", () => this.#draw());
    this.addEventListener("keydown", (event) => this.#key(event));
    this.grid.addEventListener("click", (/** @type {Event} */ event) => {
      const button = /** @type {Element} */ (event.target).closest("button");
      if (button) this.dispatchEvent(new CustomEvent("emoji", { bubbles: true, detail: button.textContent }));
    });
    this.#draw();
  }

  focus() {
    this.search.focus();
  }

  #draw() {
    const { t } = this.words;
    const query = this.search.value.trim();
    const found = query ? findEmoji(query) : [];
    if (query) {
      fill(this.grid, found.length ? this.#set(found) : h("p", null, t("emoji.none")));
    } else {
      fill(
        this.grid,
        ...EMOJI_GROUPS.flatMap(({ id }) => [
          h("h3", null, t(`emoji.${id}`)),
          this.#set(EMOJI.filter(({ group }) => group === id)),
        ]),
      );
    }
    this.#buttons()[0]?.setAttribute("tabindex", "0");
    this.grid.scrollTop = 0;
  }

  /** @param {readonly import("../emoji.js").Emoji[]} emoji */
  #set(emoji) {
    return h(
      "div.set",
      null,
      ...emoji.map(({ emoji: glyph, name }) =>
        h("button", { type: "button", tabindex: -1, title: name, "aria-label": name, lang: "en" }, glyph),
      ),
    );
  }

  #buttons() {
    return /** @type {HTMLButtonElement[]} */ ([...this.grid.querySelectorAll("button")]);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.dispatchEvent(new CustomEvent("close"));
      return;
    }
    const buttons = this.#buttons();
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    if (at < 0) {
      if (event.key === "ArrowDown") this.#focus(event, buttons, 0);
      if (event.key === "Enter") {
        event.preventDefault();
        buttons[0]?.click();
      }
      return;
    }
    const along = getComputedStyle(this).direction === "rtl" ? -1 : 1;
    const steps = { ArrowRight: along, ArrowLeft: -along, Home: -at, End: buttons.length - 1 - at };
    if (Object.hasOwn(steps, event.key))
      this.#focus(event, buttons, at + steps[/** @type {keyof typeof steps} */ (event.key)]);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp")
      this.#focus(event, buttons, this.#vertical(buttons, at, event.key === "ArrowDown"));
  }

  /**
   * The nearest one in the row below or above, by where they stand: groups end in rows that are not full.
   *
   * @param {HTMLButtonElement[]} buttons
   * @param {number} at
   * @param {boolean} down
   */
  #vertical(buttons, at, down) {
    const { offsetTop: top, offsetLeft: left } = buttons[at];
    const row = (down ? buttons.slice(at) : buttons.slice(0, at).reverse()).find(
      (button) => button.offsetTop !== top,
    )?.offsetTop;
    if (row === undefined) return down ? at : -1;
    const near = buttons
      .filter((button) => button.offsetTop === row)
      .sort((a, b) => Math.abs(a.offsetLeft - left) - Math.abs(b.offsetLeft - left))[0];
    return buttons.indexOf(near);
  }

  /** @param {KeyboardEvent} event @param {HTMLButtonElement[]} buttons @param {number} to */
  #focus(event, buttons, to) {
    event.preventDefault();
    if (to < 0) return this.search.focus();
    const next = buttons[Math.min(to, buttons.length - 1)];
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next?.focus();
  }
}

customElements.define("emoji-picker", EmojiPicker);
