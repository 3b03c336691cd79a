// @ts-check
/**
 * `<thread-message>`: one message, whether it is on its way, sent, or refused; the same element through all of it.
 * Tells "retry" and "discard" with the id of the message.
 */

import "./person-avatar.js";
import { fill, h, icon, setAttribute, setText } from "../dom.js";
import { isEmojiOnly, segmentsOf } from "../../links.js";
import { reasonWords } from "../mail-reasons.js";
import { MARK_ICONS } from "../marks.js";

/** Longer ones are folded, so that one message does not fill the screen. */
const LONG_CHARACTERS = 1_500;
const LONG_LINES = 22;

export class ThreadMessage extends HTMLElement {
  #text = "";
  #head = "";
  #foot = "";

  /**
   * @param {any} item of thread-items.js
   * @param {{name: string, mark: import("../marks.js").Mark | null, spoken: boolean, words: any}} facts `spoken`: the
   *   mark is told in words, not only by its icon
   */
  show(item, { name, mark, spoken, words }) {
    if (!this.bubble) this.append((this.bubble = h("div.bubble", { dir: "auto" })));
    this.item = item;
    this.toggleAttribute("data-own", item.own);
    this.toggleAttribute("data-opens", item.opens);
    this.toggleAttribute("data-ends", item.ends);
    setAttribute(this, "data-state", item.pending?.state ?? null);
    if (item.text !== this.#text) this.#showText(item.text, words);
    this.bubble.title = words.fullTime(item.at);
    this.#showHead(item, name, words);
    this.#showFoot(item, mark, spoken, words);
  }

  /** @param {string} text @param {any} words */
  #showText(text, words) {
    this.#text = text;
    this.toggleAttribute("data-emoji", isEmojiOnly(text));
    fill(
      this.bubble,
      ...segmentsOf(text).map((segment) =>
        // `ugc` and `nofollow`: the words are a person's, and the shop does not vouch for where they lead.
        segment.href
          ? h("a", { href: segment.href, target: "_blank", rel: "noopener noreferrer nofollow ugc" }, segment.text)
          : segment.text,
      ),
    );
    const long = text.length > LONG_CHARACTERS || text.split("\n").length > LONG_LINES;
    this.bubble.toggleAttribute("data-long", long);
    this.fold?.remove();
    if (!long) return;
    this.fold = h("button.text-button", { type: "button", "aria-expanded": "false" }, words.t("message.show_all"));
    this.fold.addEventListener("click", () => {
      const open = this.bubble.toggleAttribute("data-open");
      setText(this.fold, words.t(open ? "message.show_less" : "message.show_all"));
      this.fold.setAttribute("aria-expanded", String(open));
      if (!open) this.scrollIntoView({ block: "nearest" });
    });
    this.#foot = "";
  }

  /** @param {any} item @param {string} name @param {any} words */
  #showHead(item, name, words) {
    const key = item.opens ? `${name}\n${item.at}\n${item.channel}` : "";
    this.querySelector("person-avatar")?.classList.toggle("unseen", !item.opens);
    if (key === this.#head) return;
    this.#head = key;
    this.head?.remove();
    this.querySelector("person-avatar")?.remove();
    if (!item.opens) return;
    this.head = h(
      "div.message-head",
      null,
      h("bdi.message-author", null, name),
      item.channel === "email" &&
        h(
          "span.message-channel",
          { title: words.t("message.by_email") },
          icon("mail", "small"),
          h("span.unseen", null, words.t("message.by_email")),
        ),
      h("time", { datetime: new Date(item.at).toISOString() }, words.time(item.at)),
    );
    this.prepend(this.head);
    if (item.own) return;
    const avatar = /** @type {any} */ (document.createElement("person-avatar"));
    avatar.show({ id: item.author.id, name: item.author.name });
    this.bubble.before(avatar);
  }

  /** @param {any} item @param {import("../marks.js").Mark | null} mark @param {boolean} spoken @param {any} words */
  #showFoot(item, mark, spoken, words) {
    const key = JSON.stringify([mark, spoken, item.pending?.error?.code, this.#text.length]);
    if (key === this.#foot) return;
    this.#foot = key;
    if (!this.foot) this.append((this.foot = h("div.message-foot", null)));
    if (item.pending?.state === "failed") {
      const { id } = item.pending;
      this.foot.removeAttribute("data-beside");
      fill(
        this.foot,
        this.fold,
        h(
          "span.mark",
          { "data-mark": "failed" },
          icon("alert"),
          h("span", null, words.t("mark.failed"), " ", words.error(item.pending.error)),
        ),
        h("button.text-button", { type: "button", onclick: () => this.#tell("retry", id) }, words.t("try_again")),
        h("button.text-button", { type: "button", onclick: () => this.#tell("discard", id) }, words.t("discard")),
      );
      return;
    }
    this.foot.toggleAttribute("data-beside", Boolean(mark) && !spoken && !this.bubble.hasAttribute("data-long"));
    const told =
      mark && words.t(`mark.${mark.mark}`, { email: mark.email, reason: reasonWords(mark.reason ?? "", words.t) });
    fill(
      this.foot,
      this.fold,
      mark &&
        h(
          "span.mark",
          {
            "data-mark": mark.mark,
            tabindex: 0,
            role: "img",
            "aria-label": told,
            "data-tip": spoken ? null : told,
            "data-tip-side": "above",
          },
          spoken && h("span", null, told),
          icon(MARK_ICONS[/** @type {keyof typeof MARK_ICONS} */ (mark.mark)]),
        ),
    );
  }

  /** @param {string} name @param {string} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }
}

customElements.define("thread-message", ThreadMessage);
