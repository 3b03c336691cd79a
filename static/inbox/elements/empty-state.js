// @ts-check
/** `<empty-state>`: says what will come here and how to make it come. Properties: `inbox`, `kind`. */

import { h, icon } from "../dom.js";
import { InboxElement } from "./inbox-element.js";

/** @type {Record<string, string>} */
const ICONS = {
  nothing: "chats",
  install: "code",
  empty_open: "closed",
  empty_unread: "check",
  empty_closed: "inbox",
  empty_topic: "tag",
  no_selection: "inbox",
  not_found: "alert",
  failed: "alert",
};

export class EmptyState extends InboxElement {
  kind = "nothing";

  build() {
    const { t, inbox } = { t: this.t.bind(this), inbox: this.inbox };
    this.append(
      icon(ICONS[this.kind] ?? "inbox"),
      h("h2", null, t(`empty.${this.kind}.title`)),
      h("p", null, t(`empty.${this.kind}.text`, { command: inbox.words.command })),
    );
    if (this.kind === "install") this.append(this.#snippet());
    // On a phone there is no other pane that would say how to make it come.
    if (this.kind === "nothing")
      this.append(h("div.only-phone", null, h("p", null, t("empty.install.text")), this.#snippet()));
    if (this.kind === "empty_topic")
      this.append(
        h("button.button", { type: "button", onclick: () => inbox.go({ topic: null }) }, t("topics.show_all")),
      );
    if (this.kind === "failed")
      this.append(h("button.button", { type: "button", onclick: () => inbox.reopen() }, t("try_again")));
  }

  #snippet() {
    const snippet = `<script src="${location.origin}/bubble/${this.inbox.state?.shop.key ?? ""}.js" async></script>`;
    return h("div.snippet", null, h("code", { dir: "ltr" }, snippet), this.#copy(snippet));
  }

  /** @param {string} snippet */
  #copy(snippet) {
    const words = h("span", null, this.t("copy"));
    return h(
      "button.button",
      {
        type: "button",
        onclick: async () => {
          try {
            await navigator.clipboard.writeText(snippet);
            words.textContent = this.t("copied");
          } catch {} // forbidden: the snippet can be selected
        },
      },
      icon("copy", "small"),
      words,
    );
  }
}

customElements.define("empty-state", EmptyState);
