// @ts-check
/**
 * `<bulk-bar>`: what can be done with the ticked conversations (feature A5, in bulk). Stands in the list's head while
 * any is ticked.
 */

import { h, icon, setText } from "../dom.js";
import { InboxElement } from "./inbox-element.js";

export class BulkBar extends InboxElement {
  static topics = ["ticks", "rows"];

  build() {
    this.setAttribute("role", "toolbar");
    this.setAttribute("aria-label", this.t("bulk.label"));
    this.told = h("span.selected", { role: "status" });
    this.close = h(
      "button.button",
      { type: "button", onclick: () => this.#set("closed") },
      icon("closed", "small"),
      this.t("close"),
    );
    this.open = h(
      "button.button",
      { type: "button", onclick: () => this.#set("open") },
      icon("reopen", "small"),
      this.t("open"),
    );
    const all = h(
      "button.icon-button",
      {
        type: "button",
        "aria-label": this.t("bulk.all"),
        "data-tip": this.t("bulk.all"),
        onclick: () => this.inbox.tickAll(),
      },
      icon("checks"),
    );
    const none = h(
      "button.icon-button",
      {
        type: "button",
        "aria-label": this.t("bulk.none"),
        "data-tip": this.t("bulk.none"),
        "data-tip-side": "end",
        onclick: () => this.inbox.clearTicks(),
      },
      icon("close"),
    );
    this.append(this.told, this.close, this.open, all, none);
  }

  /** @param {"open" | "closed"} state */
  #set(state) {
    this.inbox.setState([...this.inbox.ticked], state);
    this.tell("ticks-done");
  }

  draw() {
    const { inbox } = this;
    const states = new Set([...inbox.ticked].map((id) => inbox.row(id)).map((row) => row && inbox.stateOf(row)));
    this.hidden = inbox.ticked.size === 0;
    setText(this.told, this.hidden ? "" : this.t("bulk.selected", { count: inbox.ticked.size }));
    this.close.hidden = !states.has("open");
    this.open.hidden = !states.has("closed");
  }
}

customElements.define("bulk-bar", BulkBar);
