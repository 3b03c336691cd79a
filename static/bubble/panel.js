// @ts-check
/**
 * The bubble's panel on a shop's page: the frame around the conversation, and how one gets in and out of it.
 *
 * Promises: Escape closes and the focus goes back; on a phone the panel fills what the keyboard leaves of the screen and
 * keeps the focus in; a page change brings it back as it was, focus and draft included.
 * Leaves to others: the launcher (`embed.js`), the conversation itself.
 */

import { Chat } from "./chat.js";
import { ConversationView } from "./conversation.js";
import { avatar, h, icon } from "./dom.js";
import { loadStyles } from "./styles.js";
import { followView } from "./viewport.js";
import { loadWords } from "./words.js";

/** The same condition as in panel.css. */
const FULL_SCREEN = "(max-width: 479.98px), (max-height: 419.98px)";
const MOTION = [
  { opacity: 0, transform: "translateY(10px) scale(.98)" },
  { opacity: 1, transform: "none" },
];

export class Panel {
  #off = new AbortController();

  /**
   * @param {object} options
   * @param {ShadowRoot} options.root
   * @param {any} options.settings
   * @param {import("./session.js").Session} options.session
   * @param {import("./session.js").Memory} options.tab what lasts as long as the tab
   * @param {() => void} options.close asks for what the launcher does
   */
  constructor({ root, settings, session, tab, close }) {
    this.root = root;
    this.settings = settings;
    this.session = session;
    this.tab = tab;
    this.focusKey = `${session.prefix}focus`;
    this.askToClose = close;
    this.opened = false;
    this.ready = this.#build();
  }

  async #build() {
    const { root, settings } = this;
    const { signal } = this.#off;
    const [words, sheets] = await Promise.all([
      loadWords([document.documentElement.lang, settings.locale]),
      loadStyles(settings.colour),
    ]);
    const { t, locale } = words;
    const chat = new Chat(this.session);
    this.conversation = new ConversationView({ chat, words, shop: settings, isShown: () => this.opened });
    this.element = h(
      "section",
      {
        class: `panel bubble ${settings.position === "left" ? "left" : "right"}`,
        role: "dialog",
        tabindex: -1,
        hidden: true,
        lang: locale,
        dir: /^(ar|fa|he|ur)\b/.test(locale) ? "rtl" : "ltr",
        "aria-label": t("panel_label", { shop: settings.name }),
        onkeydown: (event) => this.#key(event),
      },
      h(
        "div.top", // no <header>: the page has its own, and would seem to have two
        null,
        avatar(settings.name, "shop"),
        h("div.names", null, h("h2", { title: settings.name }, h("bdi", null, settings.name)), this.conversation.status),
        h("button.round", { type: "button", "aria-label": t("close"), onclick: this.askToClose }, icon("close")),
      ),
      this.conversation.element,
    );
    this.fullScreen = matchMedia(FULL_SCREEN);
    this.fullScreen.addEventListener("change", () => this.#fit(), { signal });
    followView(this.element, signal);
    addEventListener("pagehide", () => this.opened && this.tab.setItem(this.focusKey, this.#isWriting() ? "1" : ""), {
      signal,
    });
    // After the page's own sheets, and before the launcher's: what is important there stays so.
    root.adoptedStyleSheets = [...sheets, ...root.adoptedStyleSheets];
    root.append(this.element);
    this.shut = icon("down");
    this.shut.setAttribute("class", "shut");
    root.querySelector(".launcher")?.append(this.shut);
    // A shop's keyboard shortcuts see our keys as pressed on a plain element, so "/" while writing would open its search.
    for (const type of ["keydown", "keypress", "keyup"])
      root.host.addEventListener(type, (event) => event.stopPropagation(), { signal });
  }

  /** @param {{restored?: boolean}} [how] restored: the page has changed, and the panel was open on the one before */
  open({ restored = false } = {}) {
    if (!this.element || !this.conversation) return;
    this.opened = true;
    this.element.hidden = false;
    this.element.inert = false;
    this.#fit();
    this.conversation.draw();
    this.conversation.thread.fit();
    this.conversation.composer.fit();
    if (!restored) this.#move(false);
    if (restored && this.tab.getItem(this.focusKey) !== "1") return;
    // A keyboard that jumps up on a phone hides the very words that one has opened the panel for.
    if (!restored && matchMedia("(pointer: coarse)").matches) this.element.focus({ preventScroll: true });
    else this.conversation.focus();
  }

  close() {
    if (!this.element) return;
    this.opened = false;
    this.element.inert = true;
    this.conversation?.thread.leave();
    this.#move(true);
  }

  remove() {
    this.#off.abort();
    this.conversation?.remove();
    this.element?.remove();
    this.shut?.remove();
  }

  /** @param {boolean} out */
  #move(out) {
    const element = /** @type {HTMLElement} */ (this.element);
    const done = () => (element.hidden = !this.opened);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return void done();
    element.animate(out ? [...MOTION].reverse() : MOTION, { duration: out ? 120 : 160, easing: "ease-out" }).onfinish =
      done;
  }

  /** Only what covers everything keeps the rest of the page from screen readers. */
  #fit() {
    this.element?.setAttribute("aria-modal", String(this.fullScreen?.matches ?? false));
  }

  #isWriting() {
    return this.root.activeElement === this.conversation?.composer.textarea;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Escape" && !event.isComposing) {
      event.preventDefault();
      this.askToClose();
    } else if (event.key === "Tab" && this.fullScreen?.matches) this.#keepFocus(event);
  }

  /** Full screen, the page behind cannot be seen, so the focus must not wander there. @param {KeyboardEvent} event */
  #keepFocus(event) {
    const stops = [
      .../** @type {HTMLElement} */ (this.element).querySelectorAll("button, input, textarea, a[href], [tabindex='0']"),
    ].filter((stop) => /** @type {HTMLElement} */ (stop).tabIndex >= 0 && stop.getClientRects().length > 0);
    const edge = event.shiftKey ? stops[0] : stops[stops.length - 1];
    if (this.root.activeElement !== edge) return;
    event.preventDefault();
    /** @type {HTMLElement} */ (event.shiftKey ? stops[stops.length - 1] : stops[0]).focus();
  }
}
