// @ts-check
/** `<command-palette>`: everything by its name, from one field (Ctrl+K). A combobox after the ARIA practices. */

import "./person-avatar.js";
import { choicesOf, findChoices } from "../commands.js";
import { fill, h, icon, setAttribute } from "../dom.js";
import { InboxElement } from "./inbox-element.js";

export class CommandPalette extends InboxElement {
  /** @type {import("../commands.js").Choice[]} */
  #found = [];
  #at = 0;

  build() {
    this.field = h("input", {
      type: "text",
      role: "combobox",
      "aria-expanded": "true",
      "aria-controls": "palette-list",
      "aria-autocomplete": "list",
      "aria-label": this.t("palette.placeholder"),
      placeholder: this.t("palette.placeholder"),
      autocomplete: "off",
      spellcheck: "false",
    });
    this.list = h("div.palette-list", { id: "palette-list", role: "listbox", "aria-label": this.t("palette.title") });
    this.dialog = h(
      "dialog.palette",
      { "aria-label": this.t("palette.title") },
      h("div.palette-search", null, icon("search"), this.field, h("kbd", null, "Esc")),
      this.list,
    );
    this.append(this.dialog);
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    this.field.addEventListener("input", () => this.#search(), { signal });
    this.field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event), { signal });
    this.list.addEventListener("pointermove", (/** @type {Event} */ event) => this.#point(event), { signal });
    this.list.addEventListener(
      "click",
      (/** @type {Event} */ event) => {
        if (/** @type {Element} */ (event.target).closest("[role=option]")) this.#run();
      },
      { signal },
    );
    this.dialog.addEventListener(
      "click",
      (/** @type {Event} */ event) => {
        if (event.target === this.dialog) this.dialog.close();
      },
      { signal },
    );
  }

  show() {
    if (this.dialog.open) return this.dialog.close();
    this.choices = choicesOf(this.inbox, (act) => this.tell("act", act));
    this.field.value = "";
    this.#search();
    this.dialog.showModal();
    this.field.focus();
  }

  #search() {
    this.#found = findChoices(this.choices ?? [], this.field.value);
    this.#at = 0;
    if (this.#found.length === 0) {
      fill(this.list, h("p.palette-none", null, this.t(this.inbox.listing?.complete ? "palette.none" : "palette.none_loaded")));
      this.field.removeAttribute("aria-activedescendant");
      return;
    }
    const groups = [...new Set(this.#found.map(({ group }) => group))];
    fill(
      this.list,
      ...groups.map((group) =>
        h(
          "div",
          { role: "group", "aria-label": this.t(`palette.group.${group}`) },
          h("div.palette-group", { "aria-hidden": "true" }, this.t(`palette.group.${group}`)),
          ...this.#found.flatMap((choice, index) => (choice.group === group ? [this.#option(choice, index)] : [])),
        ),
      ),
    );
    this.list.scrollTop = 0;
    this.#mark();
  }

  /** @param {import("../commands.js").Choice} choice @param {number} index */
  #option(choice, index) {
    let sign = choice.icon ? icon(choice.icon) : null;
    if (choice.person) {
      const avatar = /** @type {any} */ (document.createElement("person-avatar"));
      avatar.show(choice.person, this.inbox.isOnline(choice.person.id));
      sign = avatar;
    }
    return h(
      "div.palette-option",
      { id: `palette-${index}`, role: "option", "data-index": index, "aria-selected": "false" },
      sign,
      h("span.label.own-way", { dir: "auto" }, choice.label),
      h("span.aside.own-way", { dir: "auto" }, choice.aside ?? ""),
    );
  }

  #mark() {
    for (const option of this.list.querySelectorAll("[role=option]")) {
      const chosen = /** @type {HTMLElement} */ (option).dataset.index === String(this.#at);
      setAttribute(option, "aria-selected", String(chosen));
      if (chosen) option.scrollIntoView({ block: "nearest" });
    }
    this.field.setAttribute("aria-activedescendant", `palette-${this.#at}`);
  }

  /** @param {Event} event */
  #point(event) {
    const option = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("[role=option]"));
    if (!option || Number(option.dataset.index) === this.#at) return;
    this.#at = Number(option.dataset.index);
    this.#mark();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return;
    const { length } = this.#found;
    if (event.key === "Enter") {
      event.preventDefault();
      this.#run();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (length) this.#at = (this.#at + (event.key === "ArrowDown" ? 1 : length - 1)) % length;
      this.#mark();
    }
  }

  #run() {
    const choice = this.#found[this.#at];
    if (!choice) return;
    this.dialog.close();
    choice.run();
  }
}

customElements.define("command-palette", CommandPalette);
