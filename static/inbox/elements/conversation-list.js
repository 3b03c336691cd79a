// @ts-check
/**
 * `<conversation-list>`: the rows of the list that is shown, newest first.
 *
 * Promises: rows do not jump under the pointer, and the place one has scrolled to stays; one row at a time takes part
 * in the order of the Tab key, the arrow keys (and j and k, see keys.js) move among them.
 */

import "./conversation-row.js";
import "./empty-state.js";
import "./person-avatar.js";
import { fill, h, icon, reconcile, setText } from "../dom.js";
import { settle } from "../order.js";
import { InboxElement } from "./inbox-element.js";

/** How near to the end of the list the next page is fetched. */
const AHEAD_PX = 600;
/** A pointer that has rested so long is not about to click; then the list may move, visibly. */
const REST_MS = 4_000;
const SLIDE_MS = 180;

export class ConversationList extends InboxElement {
  static topics = ["rows", "place", "ticks"];

  /** @type {string[]} */
  #shown = [];
  #list = "";
  #held = false;
  #rest = 0;
  /** @type {string | null} the open conversation whose row has been brought into view, or was not to be had */
  #revealed = null;

  build() {
    this.rows = h("div", { role: "list", "aria-label": this.t("list.label") });
    this.end = h("div.rows-end", null);
    this.scroller = h("div.rows-scroll", null, this.rows, this.end);
    this.newer = h(
      "button.button.newer-button",
      { type: "button", hidden: true, onclick: () => this.#release(true) },
      icon("down", "small"),
      h("span", null),
    );
    this.append(this.scroller, this.newer);
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    const hold = (/** @type {PointerEvent} */ event) => {
      if (event.pointerType !== "mouse") return;
      this.#held = true;
      clearTimeout(this.#rest);
      this.#rest = window.setTimeout(() => this.#release(), REST_MS);
    };
    this.rows.addEventListener("pointermove", hold, { signal });
    this.rows.addEventListener("pointerleave", () => this.#release(), { signal });
    this.rows.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#click(event), { signal });
    this.rows.addEventListener("change", (/** @type {Event} */ event) => this.#tick(event), { signal });
    this.rows.addEventListener(
      "focusin",
      (/** @type {FocusEvent} */ event) =>
        this.#rove(/** @type {Element} */ (event.target).closest("conversation-row")),
      { signal },
    );
    this.rows.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#arrow(event), { signal });
    this.scroller.addEventListener("scroll", () => this.#more(), { signal, passive: true });
    signal.addEventListener("abort", () => clearTimeout(this.#rest));
  }

  draw() {
    const { inbox } = this;
    const list = `${inbox.place.section} ${inbox.place.filter} ${inbox.place.topic}`;
    const fresh = list !== this.#list;
    this.#list = list;
    const { order, waiting } = settle(this.#shown, inbox.listed(), this.#held && !fresh);
    const before = fresh ? null : this.#places();
    const focusedAt = this.#shown.indexOf(this.focused ?? "");
    this.#shown = order;
    this.newer.hidden = waiting === 0;
    if (waiting) setText(this.newer.lastElementChild, this.t("list.newer", { count: waiting }));
    this.scroller.classList.toggle("ticking", inbox.ticked.size > 0);
    this.rows.hidden = order.length === 0;
    reconcile(
      this.rows,
      order,
      (id) => id,
      () => document.createElement("conversation-row"),
      (element, id) => element.show(inbox, inbox.row(id)),
    );
    // The row that had the focus has left: the one that took its place has it now.
    if (focusedAt >= 0 && this.focused === null)
      /** @type {HTMLElement | null} */ (
        this.rows.children[Math.min(focusedAt, order.length - 1)]?.querySelector(".row-link")
      )?.focus({ preventScroll: true });
    if (fresh) this.scroller.scrollTop = 0;
    else if (before) this.#keepPlace(before);
    this.#reveal();
    this.#rove(
      this.rows.querySelector("[data-cursor]") ??
        this.rows.querySelector(":has(> [aria-current])") ??
        this.rows.firstElementChild,
    );
    this.#drawEnd(order.length);
    this.#more();
  }

  // ---------------------------------------------------------------- what stands under the rows

  /** @param {number} count */
  #drawEnd(count) {
    const { listing, place, state } = this.inbox;
    const reach = listing?.reach(place.filter, place.topic);
    let kind = "none";
    if (reach?.error) kind = "error";
    else if (!state || (count === 0 && listing?.hasMore(place.filter, place.topic))) kind = "loading";
    else if (count === 0 && place.topic !== null) kind = "empty_topic";
    else if (count === 0) kind = state.rows.size === 0 ? "nothing" : `empty_${place.filter}`;
    if (this.end.dataset.kind === kind) return;
    this.end.dataset.kind = kind;
    if (kind === "error") {
      fill(
        this.end,
        this.t("list.failed"),
        " ",
        h("button.text-button", { type: "button", onclick: () => this.inbox.loadRows() }, this.t("try_again")),
      );
    } else if (kind === "loading") {
      fill(
        this.end,
        h(
          "div.skeleton",
          { "aria-hidden": "true" },
          ...Array.from({ length: 7 }, () => h("div.skeleton-row", null, h("i", null), h("i", null), h("i", null))),
        ),
        h("span.unseen", null, this.t("loading")),
      );
    } else if (kind === "none") {
      fill(this.end);
    } else {
      const empty = /** @type {any} */ (document.createElement("empty-state"));
      empty.inbox = this.inbox;
      empty.kind = kind;
      fill(this.end, empty);
    }
  }

  #more() {
    const { listing, place } = this.inbox;
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    const { filter, topic } = place;
    if (clientHeight === 0 || !listing?.hasMore(filter, topic) || listing.reach(filter, topic).error) return;
    if (scrollTop + clientHeight > scrollHeight - AHEAD_PX) this.inbox.loadRows();
  }

  // ---------------------------------------------------------------- keeping still

  /** Lets the order be as it should. @param {boolean} [toTop] */
  #release(toTop = false) {
    clearTimeout(this.#rest);
    if (!this.#held) return;
    this.#held = false;
    this.draw();
    if (toTop) this.scroller.scrollTop = 0;
  }

  /** Where the rows in view stand. @returns {Map<Element, number>} */
  #places() {
    const view = this.scroller.getBoundingClientRect();
    const places = new Map();
    for (const row of this.rows.children) {
      const { top, bottom } = row.getBoundingClientRect();
      if (bottom > view.top && top < view.bottom) places.set(row, top);
      else if (top >= view.bottom) break;
    }
    return places;
  }

  /**
   * After a redraw: whoever has scrolled down sees the same row at the same place; at the top, rows slide to theirs.
   *
   * @param {Map<Element, number>} before
   */
  #keepPlace(before) {
    const anchor = [...before.keys()].find((row) => row.isConnected);
    if (!anchor) return;
    if (this.scroller.scrollTop > 0) {
      this.scroller.scrollTop += anchor.getBoundingClientRect().top - /** @type {number} */ (before.get(anchor));
    } else if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      for (const [row, top] of before) {
        const moved = row.isConnected ? top - row.getBoundingClientRect().top : 0;
        if (moved)
          row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], {
            duration: SLIDE_MS,
            easing: "cubic-bezier(0.2, 0.7, 0.3, 1)",
          });
      }
    }
  }

  /** Whoever opens a conversation from elsewhere, by its address or the palette, sees where in the list it stands. */
  #reveal() {
    const { listing, place } = this.inbox;
    const { conversation, filter, topic } = place;
    // Not later than with the first page: whoever scrolls on must not be taken back.
    if (conversation === this.#revealed || !listing?.reach(filter, topic).known) return;
    this.#revealed = conversation;
    this.rows.querySelector(":scope > :has(> [aria-current])")?.scrollIntoView({ block: "nearest" });
  }

  // ---------------------------------------------------------------- acting on rows

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {Element} */ (event.target);
    const row = /** @type {HTMLElement | null} */ (target.closest("conversation-row"));
    if (!row || !target.closest(".row-link") || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0)
      return;
    event.preventDefault();
    this.#held = false;
    this.#revealed = row.dataset.id ?? null; // it stays under the pointer
    this.inbox.go({ conversation: /** @type {string} */ (row.dataset.id) });
    this.tell("opened");
  }

  /** @param {Event} event */
  #tick(event) {
    const box = /** @type {HTMLInputElement} */ (event.target);
    this.inbox.tick(/** @type {HTMLElement} */ (box.closest("conversation-row")).dataset.id ?? "", box.checked);
  }

  /** @param {KeyboardEvent} event */
  #arrow(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (!Object.hasOwn(steps, event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.step(steps[/** @type {keyof typeof steps} */ (event.key)]);
  }

  /** The id of the row that has the focus. */
  get focused() {
    return (
      /** @type {HTMLElement | null} */ (this.rows.querySelector("conversation-row:focus-within"))?.dataset.id ?? null
    );
  }

  /** Moves the focus by so many rows; into the list, when it is elsewhere. @param {number} by */
  step(by) {
    const rows = [...this.rows.children];
    const at = rows.findIndex((row) => row.matches(":focus-within"));
    // Not in the list yet: begin beside the conversation that is open. Without one, -1 plus one step is the first row.
    const from = at >= 0 ? at : rows.findIndex((row) => row.querySelector("[aria-current]"));
    const next = rows[Math.max(0, Math.min(rows.length - 1, from + by))] ?? rows[0];
    /** @type {HTMLElement | null} */ (next?.querySelector(".row-link"))?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  /** Gives the focus to the row that is open, or to the first. */
  focusRow() {
    const link = /** @type {HTMLElement | null} */ (this.rows.querySelector(".row-link[tabindex='0']"));
    link?.focus({ preventScroll: true });
    link?.scrollIntoView({ block: "nearest" });
  }

  /** @param {Element | null} row */
  #rove(row) {
    for (const old of this.rows.querySelectorAll(".row-link[tabindex='0']"))
      if (old.parentElement !== row) old.tabIndex = -1;
    for (const old of this.rows.querySelectorAll("[data-cursor]")) if (old !== row) old.removeAttribute("data-cursor");
    row?.setAttribute("data-cursor", "");
    const link = /** @type {HTMLElement | null | undefined} */ (row?.querySelector(".row-link"));
    if (link) link.tabIndex = 0;
  }
}

customElements.define("conversation-list", ConversationList);
