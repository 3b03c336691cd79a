// @ts-check
/**
 * `<topic-strip>`: what the open conversation is about (feature I2): each topic with how it is known, a button that takes
 * it away, and one that opens all ten.
 */

import { h, icon, reconcile, setAttribute, setText } from "../dom.js";
import { nameOfTopic, originOf } from "../topics.js";
import { InboxElement } from "./inbox-element.js";

/** @typedef {import("../../wire.js").Topic} Topic */

export class TopicStrip extends InboxElement {
  static topics = ["thread", "place"];

  build() {
    this.list = h("ul", { "aria-label": this.t("topics.title") });
    this.pick = h(
      "button.icon-button",
      {
        type: "button",
        "aria-haspopup": "menu",
        "aria-expanded": "false",
        "aria-label": this.t("topics.pick"),
        "data-tip": this.t("topics.pick"),
        "data-tip-side": "end",
        onclick: () => this.tell("pick-topics", { anchor: this.pick }),
      },
      icon("tag"),
    );
    this.append(this.list, this.pick);
  }

  draw() {
    const { inbox } = this;
    const row = inbox.openRow;
    const topics = row ? inbox.topics.of(row) : [];
    this.list.hidden = topics.length === 0;
    this.pick.hidden = !row || !inbox.topics.changeable;
    const focused = this.list.contains(document.activeElement);
    reconcile(
      this.list,
      topics,
      (topic) => topic.topic,
      () => this.#chip(),
      (chip, topic) => this.#show(chip, topic),
    );
    // The chip that had the focus has gone: what is beside it has it now.
    if (focused && !this.list.contains(document.activeElement))
      (this.list.querySelector("button") ?? this.pick).focus({ preventScroll: true });
  }

  #chip() {
    return h(
      "li.topic-chip",
      null,
      h("span.label", null),
      h("span.unseen", null),
      h("button.topic-remove", { type: "button" }, icon("close", "small")),
    );
  }

  /** @param {any} chip @param {Topic} topic */
  #show(chip, topic) {
    const { inbox, words } = this;
    const [label, said, remove] = chip.children;
    const name = nameOfTopic(topic.topic, words.t);
    const origin = originOf(topic, words, inbox.state?.me.id);
    setText(label, name);
    setText(said, `, ${origin}`);
    setAttribute(chip, "data-tip", `${name}: ${origin}`);
    setAttribute(remove, "aria-label", this.t("topics.remove", { topic: name }));
    remove.hidden = !inbox.topics.changeable;
    remove.onclick = () => {
      if (inbox.openRow) inbox.topics.set(inbox.openRow.id, topic.topic, false);
    };
  }
}

customElements.define("topic-strip", TopicStrip);
