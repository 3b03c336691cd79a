// @ts-check
/**
 * One message on the screen, from "Sending…" to "Seen".
 *
 * Promises: one renderer for all states, so that a message does not change its place or its shape when chatd confirms it;
 * words stay text, and a link opens in a new tab that knows neither the page nor its address.
 */

import { isEmojiOnly, segmentsOf } from "../links.js";
import { avatar, h } from "./dom.js";

/**
 * @typedef {object} Options
 * @property {import("./composer.js").Translate} t
 * @property {(at: number) => string} time
 * @property {(at: number) => string} moment day and time, for who asks
 * @property {string} shopName
 * @property {(id: string) => void} retry
 * @property {(id: string) => void} discard
 */

/** @param {string} text @returns {(Node | string)[]} */
const nodesOf = (text) =>
  // `ugc` and `nofollow`: the words are a person's, and the shop does not vouch for where they lead.
  segmentsOf(text).map(({ text: words, href }) =>
    href ? h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow ugc" }, words) : words,
  );

export class MessageView {
  #drawn = "";

  /** @param {import("./items.js").Message} item @param {Options} options */
  constructor(item, options) {
    this.options = options;
    this.said = h("div.said", { dir: "auto" }, ...nodesOf(item.text));
    this.element = h("li", null);
    this.said.classList.toggle("large", isEmojiOnly(item.text));
  }

  /** @param {import("./items.js").Message} item @param {boolean} online whether what is pending is on its way now */
  update(item, online) {
    const { pending, own, first, last, mark, author } = item;
    const state = pending ? (pending.state === "failed" ? "failed" : online ? "sending" : "unsent") : mark;
    const drawn = [state, first, last, own, author.name, item.at].join("|");
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const { t, moment, shopName } = this.options;
    this.element.className = [
      "message",
      own && "own",
      first && "first",
      last && "last",
      pending && "unsent",
      state === "failed" && "failed",
    ]
      .filter(Boolean)
      .join(" ");
    this.said.title = pending ? "" : moment(item.at);
    const name = author.name || shopName;
    this.element.replaceChildren(
      // Who said it is read out with every message, and shown once a group.
      ...(own
        ? [h("span.unseen", null, t("you"))]
        : [first ? h("span.who", null, h("bdi", null, name)) : h("span.unseen", null, name), last ? avatar(name) : ""]),
      this.said,
      last || mark ? this.#foot(item, state) : "",
    );
  }

  /** @param {import("./items.js").Message} item @param {string} state */
  #foot(item, state) {
    const { t, time, retry, discard } = this.options;
    const foot = h("div.foot");
    if (state === "failed") {
      foot.append(
        h("span.wrong", null, t("not_sent")),
        " ",
        h("button.plain", { type: "button", onclick: () => retry(item.pending.id) }, t("try_again")),
        h("button.plain", { type: "button", onclick: () => discard(item.pending.id) }, t("delete")),
      );
    } else if (item.pending) {
      foot.append(t(state));
    } else {
      foot.append(h("time", { datetime: new Date(item.at).toISOString() }, time(item.at)));
      if (item.mark) foot.append(` · ${t(item.mark)}`);
    }
    return foot;
  }
}
