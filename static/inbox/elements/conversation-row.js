// @ts-check
/** `<conversation-row>`: one conversation in the list. `show` brings it up to date; a click on its link opens it. */

import { makeCount, showCount } from "../count.js";
import { fill, h, icon, setAttribute, setText } from "../dom.js";
import { nameOf } from "../people.js";
import { addressOf } from "../place.js";
import { previewOf } from "../preview.js";
import { nameOfTopic, originOf } from "../topics.js";
import { typingIn } from "../../signals.js";

/** @typedef {import("../inbox.js").Inbox} Inbox */
/** @typedef {import("../../state.js").Row} Row */

export class ConversationRow extends HTMLElement {
  #preview = "";
  #topics = "";

  /** @param {Inbox} inbox @param {Row} row */
  show(inbox, row) {
    if (!this.firstChild) this.#build(inbox);
    const { words, place, state } = inbox;
    const { t } = words;
    const name = nameOf(row.customer, t);
    const online = inbox.isOnline(row.customer.id);
    const ticked = inbox.ticked.has(row.id);
    const closed = inbox.stateOf(row) === "closed";
    this.dataset.id = row.id;
    this.toggleAttribute("data-unread", row.unread > 0);
    this.toggleAttribute("data-ticked", ticked);
    setAttribute(this.link, "href", addressOf({ ...place, conversation: row.id }));
    setAttribute(this.link, "aria-current", place.conversation === row.id ? "true" : null);
    this.avatar.show(row.customer, online);
    setText(this.name, name);
    setText(this.presence, online ? t("presence.online") : "");
    setText(this.time, words.rowTime(row.last?.at ?? row.started_at));
    setAttribute(this.time, "datetime", new Date(row.last?.at ?? row.started_at).toISOString());
    this.closed.hidden = !closed || place.filter === "closed"; // there it would be on every row
    this.box.checked = ticked;
    this.ticking.hidden = !inbox.mayChat;
    setAttribute(this.box, "aria-label", t("list.tick", { name }));
    showCount(this.count, row.unread, words);
    this.#showTopics(inbox, row);
    const open = place.conversation === row.id;
    this.#showPreview(
      previewOf(row, {
        me: state?.me.id,
        draft: open ? "" : inbox.drafts.peek(row.id),
        typing: typingIn(state, row.id),
      }),
      t,
    );
  }

  /** @param {Inbox} inbox */
  #build(inbox) {
    const { t } = inbox.words;
    this.setAttribute("role", "listitem");
    this.avatar = h("person-avatar", null);
    this.name = h("span.row-name.own-way", { dir: "auto" });
    this.presence = h("span.unseen", null);
    this.closed = h("span.row-closed", null, icon("closed", "small"), t("row.closed"));
    this.time = h("time.row-time", null);
    this.preview = h("span.row-preview", null);
    this.topics = h("span.row-topics", { hidden: true });
    this.count = makeCount();
    this.box = h("input", { type: "checkbox", tabindex: -1 });
    this.link = h(
      "a.row-link",
      { tabindex: -1, draggable: "false", "aria-keyshortcuts": "x e" },
      this.avatar,
      h("span.row-head", null, this.name, this.presence, this.closed, this.time),
      h("span.row-body", null, this.preview, this.count),
      this.topics,
    );
    this.ticking = h("label.row-tick", null, this.box);
    this.append(this.link, this.ticking);
  }

  /** The two most recent, most recent first (feature I2). @param {Inbox} inbox @param {Row} row */
  #showTopics(inbox, row) {
    const { words, state } = inbox;
    const topics = inbox.topics
      .of(row)
      .map((topic) => ({ name: nameOfTopic(topic.topic, words.t), origin: originOf(topic, words, state?.me.id) }));
    const key = JSON.stringify(topics);
    if (key === this.#topics) return;
    this.#topics = key;
    this.topics.hidden = topics.length === 0;
    fill(
      this.topics,
      h("span.unseen", null, words.t("row.topics")),
      ...topics.map(({ name, origin }) => h("span.topic-chip", { title: `${name}: ${origin}` }, name)),
    );
  }

  /** @param {ReturnType<typeof previewOf>} preview @param {(key: string, facts?: any) => string} t */
  #showPreview({ kind, who, name, text }, t) {
    const key = [kind, who, name, text].join("\n");
    if (key === this.#preview) return;
    this.#preview = key;
    this.preview.className = `row-preview ${kind}`;
    if (kind === "typing") {
      fill(
        this.preview,
        h(
          "span.own-way",
          { dir: "auto" },
          who === "colleague" ? t("typing.colleague", { name }) : t("typing.customer"),
        ),
      );
    } else if (kind === "draft") {
      fill(this.preview, h("span.who", null, t("row.draft")), h("span.said.own-way", { dir: "auto" }, text));
    } else {
      const prefix = who === "you" ? t("row.you") : who === "colleague" ? t("row.colleague", { name }) : "";
      fill(this.preview, prefix && h("span.who.own-way", null, prefix), h("span.said.own-way", { dir: "auto" }, text));
    }
    // The arrow says "answered" without the words and without colour.
    const arrow = this.preview.parentElement?.querySelector(":scope > .icon");
    const replied = kind === "message" && (who === "you" || who === "colleague");
    if (replied && !arrow) this.preview.before(icon("reply", "small turns"));
    else if (!replied) arrow?.remove();
  }
}

customElements.define("conversation-row", ConversationRow);
