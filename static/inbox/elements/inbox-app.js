// @ts-check
/**
 * `<inbox-app>`: holds the panes together. It knows which of them are shown at which width, moves the focus between
 * them, and does what keys and the palette ask for. Property: `inbox`.
 */

import "./bulk-bar.js";
import "./command-palette.js";
import "./connection-bar.js";
import "./conversation-list.js";
import "./conversation-thread.js";
import "./customer-panel.js";
import "./empty-state.js";
import "./message-composer.js";
import "./section-pane.js";
import "./settings-menu.js";
import "./shortcut-sheet.js";
import "./thread-header.js";
import "./toast-list.js";
import "./topic-menu.js";
import { makeCount, showCount } from "../count.js";
import { fill, h, icon, setAttribute, setText } from "../dom.js";
import { Keyboard } from "../keys.js";
import { topicsToNarrow, topicsToSet } from "../topic-choices.js";
import { nameOfTopic } from "../topics.js";
import { InboxElement } from "./inbox-element.js";

/** The widths at which the panes share the window otherwise; the same as in layout.css. */
const PHONE = matchMedia("(max-width: 719.98px)");
const DRAWER = matchMedia("(max-width: 1099.98px)");
const SLIM = matchMedia("(max-width: 1279.98px)");

export class InboxApp extends InboxElement {
  static topics = ["place", "ticks", "rows", "status"];
  #keyboard = new Keyboard();
  /** @type {HTMLElement | null} */
  #opener = null;

  build() {
    const make = (/** @type {string} */ name) => /** @type {any} */ (h(name, { ".inbox": this.inbox }));
    this.sections = make("section-pane");
    this.list = make("conversation-list");
    this.bulk = make("bulk-bar");
    this.header = make("thread-header");
    this.thread = make("conversation-thread");
    this.composer = make("message-composer");
    this.customer = make("customer-panel");
    this.palette = make("command-palette");
    this.sheet = make("shortcut-sheet");
    this.settings = make("settings-menu");
    this.toasts = make("toast-list");
    this.topicMenu = make("topic-menu");
    this.narrowed = h(
      "button.topic-chip.narrowed",
      { type: "button", hidden: true, onclick: () => this.inbox.go({ topic: null }) },
      h("span.label", null),
      icon("close", "small"),
    );
    this.heading = h("h1", null);
    this.unread = makeCount(); // of the sections, which a phone keeps behind this button
    const menu = h(
      "button.icon-button.only-phone.counted",
      { type: "button", onclick: () => this.#drawer("sections") },
      icon("menu"),
      h("span.unseen", null, this.t("sections.show")),
      this.unread,
    );
    this.head = h("div.pane-head", null, menu, this.heading, this.narrowed, this.bulk);
    this.listPane = h("div.list-pane", { "aria-label": this.t("list.label") }, this.head, this.list);
    this.nothing = h("div.thread-error", null);
    this.scrim = h("button.drawer-scrim", {
      type: "button",
      tabindex: -1,
      "aria-label": this.t("dismiss"),
      onclick: () => this.#drawer(null),
    });
    this.live = h("div.unseen", { "aria-live": "polite" });
    this.append(
      make("connection-bar"),
      this.sections,
      this.listPane,
      h("main.thread-pane", null, this.header, this.thread, this.composer, this.nothing),
      this.customer,
      this.scrim,
      this.palette,
      this.sheet,
      this.settings,
      this.toasts,
      this.topicMenu,
      this.live,
    );
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    const on = (/** @type {string} */ name, /** @type {(detail: any) => void} */ run) =>
      this.addEventListener(name, (/** @type {any} */ { detail }) => run(detail), { signal });
    on("act", (act) => this.act(act));
    on("show-keys", () => this.sheet.show());
    on("show-palette", () => this.palette.show());
    on("show-settings", ({ anchor }) => this.settings.toggle(anchor));
    on("narrow", ({ anchor }) => this.topicMenu.show({ anchor, ...topicsToNarrow(this.inbox) }));
    on("pick-topics", ({ anchor }) => this.#pickTopics(this.inbox.opened.id, anchor));
    on("log-out", () => this.act("log_out"));
    on("fold-sections", () => this.#flip("sections", "narrow", "wide"));
    on("toggle-customer", ({ anchor }) => {
      this.#opener = anchor;
      this.act("customer");
    });
    on("close-drawer", () => this.#drawer(null));
    addEventListener("popstate", () => this.#showDrawer(history.state?.drawer ?? null), { signal });
    if (PHONE.matches) setAttribute(this, "data-drawer", history.state?.drawer ?? null); // after a reload
    on("leave-composer", () => this.list.focusRow());
    on("ticks-done", () => this.list.focusRow());
    // The focus stays on the row, so that the keys go on working; where the list has gone away, it follows.
    on("opened", () => {
      if (PHONE.matches) this.header.heading.focus();
    });
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    // With the keyboard of a phone open the window keeps its height on iOS; what is visible of it is told here alone.
    globalThis.visualViewport?.addEventListener(
      "resize",
      () => {
        this.style.height = PHONE.matches ? `${globalThis.visualViewport?.height}px` : "";
        if (PHONE.matches) scrollTo(0, 0);
      },
      { signal },
    );
    const measure = new ResizeObserver(() =>
      this.style.setProperty("--composer-height", `${this.composer.offsetHeight}px`),
    );
    measure.observe(this.composer);
    signal.addEventListener("abort", () => measure.disconnect());
    for (const query of [PHONE, DRAWER, SLIM]) query.addEventListener("change", () => this.draw(), { signal });
    this.inbox.settings.addEventListener("change", () => this.draw(), { signal });
  }

  draw() {
    const { place, settings, ticked } = this.inbox;
    const narrow = SLIM.matches || settings.get("sections") === "narrow";
    if (!DRAWER.matches && this.getAttribute("data-drawer") === "customer") this.removeAttribute("data-drawer");
    if (!PHONE.matches && this.getAttribute("data-drawer") === "sections") this.removeAttribute("data-drawer");
    const drawer = this.getAttribute("data-drawer");
    setAttribute(this, "data-sections", narrow ? "narrow" : "wide");
    setAttribute(this.sections, "data-narrow", narrow && !PHONE.matches);
    this.sections.fold.hidden = SLIM.matches;
    this.sections.draw();
    const customer =
      place.conversation !== null && (DRAWER.matches ? drawer === "customer" : settings.get("customer") === "shown");
    setAttribute(this, "data-customer", customer ? "shown" : "hidden");
    const left = this.getAttribute("data-pane") === "thread" && place.conversation === null;
    setAttribute(this, "data-pane", place.conversation === null ? "list" : "thread");
    setText(this.heading, this.t(`filters.${place.filter}`));
    this.heading.hidden = ticked.size > 0;
    this.#drawNarrowed();
    showCount(this.unread, this.inbox.state?.unread ?? 0, this.words);
    const none = place.conversation === null;
    this.nothing.hidden = !none;
    if (none) this.#drawNothing();
    this.header.hidden = none;
    setAttribute(this.listPane, "role", PHONE.matches ? "main" : "region"); // there it is all that is shown
    // On a phone the list and its heading are away: then this one is the page's first.
    setAttribute(this.header.heading, "aria-level", PHONE.matches ? "1" : null);
    this.thread.hidden = none;
    this.header.draw();
    if (left && PHONE.matches) this.#comeBack();
  }

  /** Where the thread has gone away, so has the focus: it goes on at the row that one came from. */
  #comeBack() {
    const focused = document.activeElement;
    if (focused === document.body || focused?.closest(".thread-pane")) this.list.focusRow();
  }

  /** That the list shows one topic only stands in its head, where every width has it, and is taken back there. */
  #drawNarrowed() {
    const { place, ticked, words } = this.inbox;
    this.narrowed.hidden = place.topic === null || ticked.size > 0;
    if (place.topic === null) return;
    const topic = nameOfTopic(place.topic, words.t);
    setText(this.narrowed.firstElementChild, topic);
    setAttribute(this.narrowed, "aria-label", this.t("topics.only", { topic }));
  }

  /** What stands in the middle while no conversation is open: at the very beginning, how to get one. */
  #drawNothing() {
    const { state, listing, place } = this.inbox;
    const first = state !== null && state.rows.size === 0 && !listing?.hasMore(place.filter, place.topic);
    const kind = first ? "install" : "no_selection";
    if (state === null || this.nothing.firstElementChild?.kind === kind) return;
    fill(this.nothing, h("empty-state", { ".inbox": this.inbox, ".kind": kind }));
  }

  // ---------------------------------------------------------------- panes

  /** @param {"customer" | "sections" | null} drawer */
  #drawer(drawer) {
    // A phone's whole screen is a place of its own: Back leads out of the customer, and not past the thread.
    if (drawer === "customer" && PHONE.matches) history.pushState({ drawer }, "");
    else if (drawer === null && history.state?.drawer) return history.back(); // what it was comes with "popstate"
    this.#showDrawer(drawer);
  }

  /** @param {"customer" | "sections" | null} drawer */
  #showDrawer(drawer) {
    const before = this.getAttribute("data-drawer");
    setAttribute(this, "data-drawer", drawer);
    this.draw();
    if (drawer === "customer") this.customer.querySelector("button")?.focus();
    else if (drawer === "sections") this.sections.querySelector("[aria-current]")?.focus();
    else if (before) (this.#opener ?? this.head.querySelector("button"))?.focus();
    if (!drawer) this.#opener = null;
  }

  /** @param {"sections" | "customer"} setting @param {string} one @param {string} other */
  #flip(setting, one, other) {
    const { settings } = this.inbox;
    settings.set(setting, settings.get(setting) === one ? other : one);
  }

  // ---------------------------------------------------------------- keys

  /** @param {KeyboardEvent} event */
  #key(event) {
    // A dialog has the keys to itself, but for the one that opens and shuts the palette.
    const act = this.#keyboard.actOf(event, event.timeStamp);
    if (act === null || (act !== "palette" && document.querySelector("dialog[open], :popover-open"))) return;
    if (act === "open" && event.key === "Enter") return; // a link that has the focus opens by itself
    event.preventDefault();
    this.act(act);
  }

  /** @param {string} act */
  act(act) {
    const { inbox } = this;
    const focused = this.list.focused;
    const [kind, name] = act.split(".");
    if (kind === "filter") return inbox.go({ filter: name });
    if (kind === "section") return inbox.go({ section: name, filter: "open" });
    switch (act) {
      case "next":
        return this.list.step(1);
      case "previous":
        return this.list.step(-1);
      case "open":
        return focused !== null && inbox.go({ conversation: focused });
      case "reply":
        return this.#reply(focused);
      case "toggle_state":
        return this.#toggleState(focused);
      case "topics":
        return this.#pickTopics(focused ?? inbox.opened.id, null);
      case "tick":
        return focused !== null && inbox.tick(focused);
      case "customer":
        return DRAWER.matches
          ? this.#drawer(this.getAttribute("data-drawer") === "customer" ? null : "customer")
          : this.#flip("customer", "shown", "hidden");
      case "undo":
        return this.toasts.undo();
      case "palette":
        return this.palette.show();
      case "keys":
        return this.sheet.show();
      case "back":
        return this.#back();
      case "log_out":
        return /** @type {HTMLFormElement} */ (document.querySelector("#log-out")).requestSubmit();
      default:
        return undefined;
    }
  }

  /** @param {string | null} focused */
  #reply(focused) {
    if (focused !== null) this.inbox.go({ conversation: focused });
    // A thread that is still loading shows its field when it is there.
    if (!this.composer.hidden) this.composer.focus();
  }

  /**
   * Of what is ticked, else of the row that has the focus, else of the open conversation.
   *
   * @param {string | null} focused
   */
  #toggleState(focused) {
    const { inbox } = this;
    const ids = inbox.ticked.size > 0 ? [...inbox.ticked] : [focused ?? inbox.opened.id].filter((id) => id !== null);
    const rows = ids.map((id) => inbox.row(id)).filter((row) => row !== null);
    if (rows.length === 0) return;
    const anyOpen = rows.some((row) => inbox.stateOf(row) === "open");
    inbox.setState(ids, anyOpen ? "closed" : "open");
  }

  /** The topics of a conversation, beside its row or its head. @param {string | null} id @param {HTMLElement | null} anchor */
  #pickTopics(id, anchor) {
    const row = this.inbox.row(id);
    if (!row || !this.inbox.topics.changeable) return;
    const beside = anchor ?? this.list.querySelector("conversation-row:focus-within") ?? this.header.topics.pick;
    this.topicMenu.show({ anchor: beside, ...topicsToSet(this.inbox, row) });
  }

  #back() {
    if (this.hasAttribute("data-drawer")) this.#drawer(null);
    else if (this.inbox.ticked.size > 0) this.inbox.clearTicks();
    else if (PHONE.matches) this.inbox.go({ conversation: null });
    else this.list.focusRow(); // nothing on the screen goes away for it
  }
}

customElements.define("inbox-app", InboxApp);
