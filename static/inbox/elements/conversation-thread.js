// @ts-check
/**
 * `<conversation-thread>`: everything that was said in the open conversation, and what happened around it (feature A4).
 *
 * Promises: it opens at the *New* line, or at the end; it stays at the end while one is there and keeps its place while
 * one is not, also when older pages come in above; nothing counts as seen that was not in view of a page that somebody
 * looks at.
 */

import "./thread-message.js";
import { eventWords } from "../event-words.js";
import { fill, h, icon, reconcile, setAttribute, setText } from "../dom.js";
import { markOf } from "../marks.js";
import { nameOf } from "../people.js";
import { itemsOf } from "../thread-items.js";
import { typingIn } from "../../signals.js";
import { InboxElement } from "./inbox-element.js";

/** As near to the end as this counts as being there. */
const END_PX = 40;
/** As near to the beginning as this fetches the page before. */
const AHEAD_PX = 500;

export class ConversationThread extends InboxElement {
  static topics = ["thread"];

  /** @type {string | null} */
  #of = null;
  #atEnd = true;
  #lastOwn = "";
  /** @type {Set<string>} */
  #unfolded = new Set();

  build() {
    this.older = h("div.thread-older", null);
    this.lines = h("div", { role: "log", "aria-label": this.t("thread.label"), "aria-live": "off" });
    this.scroller = h(
      "div.thread-scroll",
      { tabindex: 0, role: "region", "aria-label": this.t("thread.label") },
      h("div.thread-lines", null, this.older, this.lines),
    );
    this.below = h(
      "button.button.newer-below",
      { type: "button", hidden: true, onclick: () => this.toEnd() },
      icon("down", "small"),
      h("span", null),
    );
    this.typing = h("div.typing-line", { "aria-live": "polite" });
    this.append(this.scroller, this.below, this.typing);
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { signal, passive: true });
    this.addEventListener("retry", (/** @type {any} */ { detail }) => this.inbox.client.retry(detail), { signal });
    this.addEventListener("discard", (/** @type {any} */ { detail }) => this.inbox.client.discard(detail), { signal });
    for (const name of ["focus", "blur"]) window.addEventListener(name, () => this.#attend(), { signal });
    document.addEventListener("visibilitychange", () => this.#attend(), { signal });
    // The composer grows, the window shrinks, a long message unfolds: who is at the end stays there.
    const observer = new ResizeObserver(() => {
      if (this.#atEnd) this.#jumpToEnd();
      this.#attend();
    });
    observer.observe(this.scroller);
    observer.observe(this.lines);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  draw() {
    const { inbox } = this;
    const { opened, openRow: row, openThread: thread } = inbox;
    const ready = row !== null && thread !== null;
    if (!ready) {
      this.#of = null;
      this.lines.replaceChildren();
      this.older.replaceChildren();
      this.below.hidden = true;
      setText(this.typing, "");
      this.#drawWaiting(opened);
      return;
    }
    this.querySelector(":scope > .skeleton, :scope > empty-state")?.remove();
    this.scroller.hidden = false;
    const fresh = this.#of !== opened.id;
    if (fresh) this.#unfolded.clear();
    const items = itemsOf(inbox.openEntries(), {
      me: inbox.state?.me.id,
      newFrom: opened.newFrom,
      unfolded: this.#unfolded,
    });
    const own = items.findLast((item) => item.pending)?.key ?? "";
    const said = own !== "" && own !== this.#lastOwn && !fresh;
    this.#lastOwn = own || this.#lastOwn;
    const anchor = fresh || this.#atEnd ? null : this.#anchor();
    setAttribute(this.lines, "aria-live", fresh || opened.loadingOlder ? "off" : "polite");
    this.#drawOlder(thread, opened);
    this.#drawItems(items, row, thread);
    this.#of = opened.id;
    if (fresh) this.#toStart();
    else if (said) this.#jumpToEnd();
    else if (anchor) this.scroller.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    else this.#jumpToEnd();
    this.#drawTyping(row);
    this.#scrolled();
  }

  // ---------------------------------------------------------------- drawing

  /** @param {any} opened */
  #drawWaiting(opened) {
    const kind = opened.error ? (opened.error.code === "not_found" ? "not_found" : "failed") : "loading";
    this.scroller.hidden = true;
    const there = /** @type {any} */ (this.querySelector(":scope > .skeleton, :scope > empty-state"));
    if (there?.dataset.kind === kind) return;
    there?.remove();
    if (kind === "loading") {
      this.prepend(
        h(
          "div.skeleton.skeleton-thread",
          { "data-kind": kind, "aria-hidden": "true" },
          ...Array.from({ length: 5 }, () => h("div.skeleton-bubble", null)),
        ),
      );
    } else {
      const empty = /** @type {any} */ (document.createElement("empty-state"));
      Object.assign(empty, { inbox: this.inbox, kind });
      empty.dataset.kind = kind;
      empty.classList.add("thread-error");
      this.prepend(empty);
    }
  }

  /** @param {any} thread @param {any} opened */
  #drawOlder(thread, opened) {
    setText(this.older, opened.loadingOlder && thread.more ? this.t("thread.loading_older") : "");
  }

  /** @param {any[]} items @param {any} row @param {any} thread */
  #drawItems(items, row, thread) {
    const { inbox, words } = this;
    const me = inbox.state?.me.id;
    const marks = this.#marks(items, row, thread);
    reconcile(
      this.lines,
      items,
      (item) => item.key,
      (item) => document.createElement(item.kind === "message" ? "thread-message" : "div"),
      (element, item) => {
        if (item.kind === "message") {
          const name = item.own
            ? item.author.id === me
              ? this.t("you")
              : item.author.name || this.t("person.colleague")
            : nameOf(row.customer, words.t);
          const told = marks.get(item.key) ?? null;
          // The picture goes by the customer as they are called now, not as they were when they wrote.
          const drawn = item.own ? item : { ...item, author: { ...item.author, name: row.customer.name } };
          element.show(drawn, { name, online: false, mark: told?.mark ?? null, spoken: told?.spoken ?? false, words });
        } else {
          this.#drawLine(element, item, row);
        }
      },
    );
  }

  /**
   * A mark stands where it changes: on the last of several messages that fared alike. The last of all is told in words,
   * and so is what went wrong.
   *
   * @param {any[]} items @param {any} row @param {any} thread
   * @returns {Map<string, {mark: import("../marks.js").Mark, spoken: boolean}>}
   */
  #marks(items, row, thread) {
    const marks = new Map();
    let after = "";
    let last = true;
    for (const item of items.toReversed()) {
      if (item.kind !== "message") continue;
      if (!item.own) {
        last = false; // answered since: how the ones before fared is told on hover
        continue;
      }
      /** @type {import("../marks.js").Mark} */
      const mark = item.pending ? { mark: this.#markOfPending(item.pending) } : markOf(item.position, row, thread.mails);
      const key = `${mark.mark} ${mark.reason ?? ""}`;
      if (key !== after || item.pending)
        marks.set(item.key, { mark, spoken: last || mark.mark === "mail_failed" || mark.mark === "mail_retrying" });
      after = key;
      last = false;
    }
    return marks;
  }

  /** @param {any} pending */
  #markOfPending({ state }) {
    return state === "sending" && !this.inbox.connected ? "unsent" : state;
  }

  /** @param {HTMLElement} element @param {any} item @param {any} row */
  #drawLine(element, item, row) {
    const { words } = this;
    if (item.kind === "day" || item.kind === "new") {
      element.className = item.kind === "day" ? "day-break" : "new-break";
      const text = item.kind === "day" ? words.day(item.at) : this.t("thread.new");
      if (element.textContent !== text) fill(element, h("span", null, text));
      return;
    }
    element.className = "event-line";
    if (item.kind === "fold") {
      if (element.textContent) return;
      fill(
        element,
        h(
          "button.text-button",
          { type: "button", onclick: () => this.#unfold(item.key) },
          this.t("thread.unfold", { count: item.count }),
        ),
      );
      return;
    }
    const told = eventWords(item.event, item.change, {
      t: words.t,
      me: this.inbox.state?.me.id,
      customer: row.customer,
    });
    element.hidden = told === null;
    if (told === null) return;
    const datetime = new Date(item.at).toISOString();
    const [, there, then] = element.children;
    if (there?.textContent === told.text && then?.getAttribute("datetime") === datetime) return;
    fill(
      element,
      icon(told.icon, "small"),
      h("span", { dir: "auto" }, told.text),
      h("time", { datetime, title: words.fullTime(item.at) }, words.time(item.at)),
    );
  }

  /** @param {string} key */
  #unfold(key) {
    this.#unfolded.add(key);
    this.#atEnd = false;
    this.draw();
  }

  /** @param {any} row */
  #drawTyping(row) {
    const author = typingIn(this.inbox.state, row.id);
    const text =
      !author || author.id === this.inbox.state?.me.id
        ? ""
        : author.kind === "staff"
          ? this.t("typing.colleague", { name: author.name ?? "" })
          : this.t("typing.named", { name: nameOf(row.customer, this.words.t) });
    if (this.typing.textContent === text) return;
    fill(
      this.typing,
      text && h("span.typing-dots", { "aria-hidden": "true" }, h("i", null), h("i", null), h("i", null)),
      text && h("span", null, text),
    );
  }

  // ---------------------------------------------------------------- the place one has scrolled to

  /** The first line in view, and where it stands. */
  #anchor() {
    const { top } = this.scroller.getBoundingClientRect();
    for (const element of this.lines.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom > top) return { element, top: box.top };
    }
    return null;
  }

  /** Where a conversation opens: at the *New* line with a little of what was before it, or at the end. */
  #toStart() {
    const line = /** @type {HTMLElement | null} */ (this.lines.querySelector(".new-break"));
    this.#jumpToEnd();
    if (!line) return;
    const over =
      this.scroller.getBoundingClientRect().top + this.scroller.clientHeight * 0.2 - line.getBoundingClientRect().top;
    if (over > 0) this.scroller.scrollTop -= over;
  }

  #jumpToEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#atEnd = true;
  }

  toEnd() {
    const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth ? "smooth" : "instant" });
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    if (clientHeight === 0) return;
    this.#atEnd = scrollTop + clientHeight >= scrollHeight - END_PX;
    if (scrollTop < AHEAD_PX && this.inbox.openThread?.more && !this.inbox.opened.loadingOlder) this.inbox.loadOlder();
    this.#attend();
    const unread = this.#atEnd ? 0 : this.#unreadBelow();
    this.below.hidden = this.#atEnd || (unread === 0 && scrollTop + clientHeight > scrollHeight - clientHeight / 2);
    this.below.toggleAttribute("data-new", unread > 0);
    setText(this.below.lastElementChild, unread > 0 ? this.t("thread.new_below", { count: unread }) : "");
    setAttribute(this.below, "aria-label", unread > 0 ? null : this.t("thread.to_end"));
  }

  /** How many of the customer's unread messages begin below what is in view. */
  #unreadBelow() {
    const { bottom } = this.scroller.getBoundingClientRect();
    let count = 0;
    for (const element of [...this.lines.children].reverse()) {
      const item = /** @type {any} */ (element).item;
      if (element.getBoundingClientRect().top < bottom - 8) break;
      if (item && !item.own && item.incoming > Math.max(this.inbox.openRow?.incoming_seen ?? 0, this.inbox.sawIncoming))
        count += 1;
    }
    return count;
  }

  /** Tells what stands before somebody's eyes. */
  #attend() {
    const watched =
      document.visibilityState === "visible" &&
      document.hasFocus() &&
      this.scroller.clientHeight > 0 &&
      this.#of !== null;
    this.inbox.attended = watched && this.#atEnd;
    if (!watched) return;
    const view = this.scroller.getBoundingClientRect();
    for (const element of [...this.lines.children].reverse()) {
      const item = /** @type {any} */ (element).item;
      if (!item || item.own || item.pending) continue;
      const box = element.getBoundingClientRect();
      // All of it, or, of one that is taller than the view, so much that its end is being read.
      if (
        box.bottom <= view.bottom + 8 ||
        (box.height > view.height && box.top < view.top - box.height + view.height * 1.2)
      ) {
        this.inbox.saw(item.position, item.incoming);
        return;
      }
    }
  }
}

customElements.define("conversation-thread", ConversationThread);
