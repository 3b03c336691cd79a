// @ts-check
/** `<shortcut-sheet>`: the keys and what they do, drawn from the table that works them. */

import { h, icon } from "../dom.js";
import { SHORTCUTS } from "../keys.js";
import { InboxElement } from "./inbox-element.js";

export class ShortcutSheet extends InboxElement {
  build() {
    const close = h(
      "button.icon-button",
      { type: "button", "aria-label": this.t("dismiss"), onclick: () => this.dialog.close() },
      icon("close"),
    );
    const groups = [...new Set(SHORTCUTS.map(({ group }) => group))];
    this.dialog = h(
      "dialog.sheet",
      { "aria-labelledby": "keys-title" },
      h("div.sheet-head", null, h("h2", { id: "keys-title" }, this.t("keys.title")), close),
      h(
        "div.sheet-body",
        null,
        ...groups.map((group) =>
          h("section", null, h("h3", null, this.t(`keys.${group}`)), h("ul", null, ...this.#lines(group))),
        ),
      ),
    );
    this.dialog.addEventListener("click", (/** @type {Event} */ event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
    this.append(this.dialog);
  }

  /** @param {string} group */
  #lines(group) {
    const acts = [...new Set(SHORTCUTS.filter((one) => one.group === group).map(({ act }) => act))];
    return acts.map((act) => {
      const ways = SHORTCUTS.filter((one) => one.act === act);
      return h(
        "li",
        null,
        h("span", null, this.t(`keys.act.${act}`)),
        h(
          "span.keys",
          null,
          ...ways.flatMap(({ keys }, index) => [
            index > 0 && h("span", null, this.t("keys.or")),
            ...keys.map((key) =>
              h("kbd", null, key === "Ctrl" ? this.words.commandKey : key.length === 1 ? key.toUpperCase() : key),
            ),
          ]),
        ),
      );
    });
  }

  show() {
    if (!this.dialog.open) this.dialog.showModal();
  }
}

customElements.define("shortcut-sheet", ShortcutSheet);
