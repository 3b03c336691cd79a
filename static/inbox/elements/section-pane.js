// @ts-check
/**
 * `<section-pane>`: the sections of the inbox with their filters and unread counts, the topics to narrow the list to, and
 * one's own account at the foot.
 */

import { h, icon, setAttribute, setText } from "../dom.js";
import { makeCount, showCount } from "../count.js";
import { addressOf, SECTIONS } from "../place.js";
import { nameOfTopic } from "../topics.js";
import { TOPICS } from "../../wire.js";
import { InboxElement } from "./inbox-element.js";

const HEX = /^#[0-9a-f]{6}$/i;

export class SectionPane extends InboxElement {
  static topics = ["rows", "place", "status", "counts"];

  /** @type {{section: string, filter: string, link: HTMLElement, count: HTMLElement}[]} */
  #links = [];
  /** @type {{section: string, count: HTMLElement}[]} */
  #sums = [];
  /** @type {{topic: string, item: HTMLElement, link: HTMLElement, number: HTMLElement, said: HTMLElement}[]} */
  #topics = [];

  build() {
    this.sign = h("span.shop-sign", { "aria-hidden": "true" });
    this.shop = h("bdi", null);
    this.append(h("div.shop-name", null, this.sign, this.shop));
    this.setAttribute("role", "navigation");
    this.setAttribute("aria-label", this.t("sections.label"));
    const nav = h("div", null);
    for (const section of SECTIONS) {
      const count = makeCount();
      this.#sums.push({ section: section.id, count });
      nav.append(h("h2.section-heading", { id: `section-${section.id}` }, this.t(`sections.${section.id}`), count));
      nav.append(
        h(
          "ul",
          { "aria-labelledby": `section-${section.id}` },
          ...section.filters.map((filter) => this.#filter(section.id, filter)),
        ),
      );
    }
    nav.append(...this.#narrowing());
    this.account = h(
      "button.account-button",
      { type: "button", "aria-haspopup": "dialog", "aria-expanded": "false", "data-tip-side": "beside" },
      h("person-avatar", null),
      h("span.unseen", null, this.t("settings.title")),
      h("span.label", { dir: "auto" }),
    );
    this.fold = h(
      "button.foot-button.not-phone",
      { type: "button", "data-tip-side": "beside" },
      icon("sidebar", "turns"),
      h("span.label", null),
    );
    const keys = h(
      "button.foot-button.not-phone",
      { type: "button", "data-tip": this.t("keys.title"), "data-tip-side": "beside" },
      icon("keyboard"),
      h("span.label", null, this.t("keys.title")),
      h("kbd", null, "?"),
    );
    keys.addEventListener("click", () => this.tell("show-keys"));
    this.fold.addEventListener("click", () => this.tell("fold-sections"));
    this.account.addEventListener("click", () => this.tell("show-settings", { anchor: this.account }));
    this.append(nav, h("div.section-foot", null, keys, this.fold, this.account));
  }

  /** @param {string} section @param {{id: string, icon: string}} filter */
  #filter(section, { id, icon: name }) {
    const words = this.t(`filters.${id}`);
    const count = makeCount();
    const link = h(
      "a.filter-link",
      { "data-tip": words, "data-tip-side": "beside" },
      icon(name),
      h("span.label", null, words),
      count,
    );
    link.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return; // a new tab, as of any link
      event.preventDefault();
      this.inbox.go({ section, filter: id });
      this.tell("close-drawer");
    });
    this.#links.push({ section, filter: id, link, count });
    return h("li", null, link);
  }

  /** Topics as links; where there is no room for them, one button that opens them as a menu. */
  #narrowing() {
    const { t } = this.words;
    this.topicHeading = h("h2.section-heading", { id: "section-topics" }, t("topics.title"));
    for (const topic of TOPICS) {
      const number = h("span.number", { "aria-hidden": "true" });
      const said = h("span.unseen", null);
      const link = h("a.filter-link", null, icon("tag"), h("span.label", null, nameOfTopic(topic, t)), number, said);
      link.addEventListener("click", (/** @type {MouseEvent} */ event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        this.inbox.go({ topic: this.inbox.place.topic === topic ? null : topic });
        this.tell("close-drawer");
      });
      this.#topics.push({ topic, item: h("li", null, link), link, number, said });
    }
    this.topicList = h("ul.topic-links", { "aria-labelledby": "section-topics" }, ...this.#topics.map(({ item }) => item));
    this.topicButton = h(
      "button.filter-link.topic-button",
      {
        type: "button",
        "aria-haspopup": "menu",
        "aria-expanded": "false",
        "data-tip": t("topics.title"),
        "data-tip-side": "beside",
        onclick: () => this.tell("narrow", { anchor: this.topicButton }),
      },
      icon("tag"),
      h("span.label", null, t("topics.title")),
    );
    return [this.topicHeading, this.topicList, this.topicButton];
  }

  #drawNarrowing() {
    const { place, topicCounts } = this.inbox;
    let any = false;
    for (const { topic, item, link, number, said } of this.#topics) {
      const count = topicCounts.counts[topic] ?? 0;
      const current = place.topic === topic;
      any ||= count > 0 || current;
      item.hidden = count === 0 && !current;
      setAttribute(link, "href", addressOf({ ...place, topic: current ? null : topic }));
      setAttribute(link, "aria-current", current ? "true" : null);
      setText(number, this.words.number(count));
      setText(said, this.t("topics.count", { count }));
    }
    this.topicHeading.hidden = !any;
    this.topicList.hidden = !any;
    setAttribute(this.topicButton, "aria-current", place.topic === null ? null : "true");
  }

  draw() {
    this.#drawNarrowing();
    const { place, state } = this.inbox;
    const { name, colour } = state?.shop ?? this.inbox.words.shop;
    setText(this.shop, name);
    setText(this.sign, [...name.trim()][0]?.toLocaleUpperCase() ?? "");
    if (HEX.test(colour)) {
      this.sign.style.setProperty("--shop-colour", colour);
      this.sign.style.setProperty("--shop-ink", isLight(colour) ? "#000000" : "#ffffff");
    }
    for (const { count } of this.#sums) showCount(count, state?.unread ?? 0, this.words);
    for (const { section, filter, link, count } of this.#links) {
      setAttribute(link, "href", addressOf({ ...place, section, filter }));
      setAttribute(link, "aria-current", section === place.section && filter === place.filter ? "page" : null);
      showCount(count, filter === "unread" ? (state?.unread ?? 0) : 0, this.words);
    }
    const me = state?.me;
    setText(this.account.querySelector(".label"), me?.name || me?.email || "");
    setAttribute(this.account, "data-tip", me?.name || this.t("settings.title"));
    if (me) this.account.querySelector("person-avatar").show(me);
    const fold = this.t(this.hasAttribute("data-narrow") ? "sections.unfold" : "sections.fold");
    setText(this.fold.querySelector(".label"), fold);
    setAttribute(this.fold, "data-tip", fold);
  }
}

/**
 * Whether black reads better on it than white (WCAG's relative luminance; the two meet at 0.18).
 *
 * @param {string} hex
 */
function isLight(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18;
}

customElements.define("section-pane", SectionPane);
