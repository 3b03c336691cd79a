// @ts-check
/**
 * `<message-composer>`: where one writes. Above the field it says, live, where the reply goes (feature B2).
 *
 * Promises: what is written stays, over conversations, reloads and refusals, until it is sent or deleted by hand.
 */

import "./emoji-picker.js";
import { emojiQueryAt, findEmoji } from "../emoji.js";
import { fill, h, icon, setAttribute, setText } from "../dom.js";
import { replyRouteOf } from "../reply-route.js";
import { InboxElement } from "./inbox-element.js";

const SUGGESTIONS = 6;
/** From this share of the limit on, the number of characters is told. */
const TELL_FROM = 0.8;
const ROUTE_ICONS = Object.freeze({ email: "mail", none: "alert", waiting: "offline", read_only: "unread" });

/** @typedef {{start: number, found: import("../emoji.js").Emoji[], at: number}} Suggesting */

export class MessageComposer extends InboxElement {
  static topics = ["thread", "rows"];

  /** @type {string | null} */
  #of = null;
  #route = "";
  /** @type {Suggesting | null} */
  #suggesting = null;

  build() {
    this.route = h("div.reply-route", { id: "reply-route" });
    this.field = h("textarea.composer-field", {
      rows: 1,
      dir: "auto",
      "aria-label": this.t("composer.label"),
      placeholder: this.t("composer.placeholder"),
      "aria-describedby": "reply-route composer-hint",
      autocomplete: "off",
    });
    this.hint = h("span.hint.not-phone", { id: "composer-hint" });
    this.tooLong = h("span.hint", { role: "status", hidden: true });
    this.smile = h(
      "button.icon-button",
      {
        type: "button",
        "aria-label": this.t("emoji.title"),
        "aria-expanded": "false",
        "data-tip": this.t("emoji.title"),
        "data-tip-side": "beside",
      },
      icon("smile"),
    );
    this.button = h(
      "button.button.primary",
      { type: "submit" },
      icon("send", "small turns"),
      h("span", null, this.t("composer.send")),
    );
    this.box = h(
      "div.composer-box",
      null,
      this.field,
      h("div.composer-foot", null, this.smile, this.hint, this.tooLong, this.button),
    );
    this.form = h(
      "form",
      null,
      this.route,
      this.box,
    );
    this.list = h("ul.emoji-suggestions", {
      id: "emoji-suggestions",
      role: "listbox",
      "aria-label": this.t("emoji.title"),
      hidden: true,
    });
    this.append(this.form, this.list);
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    this.field.addEventListener("input", () => this.#input(), { signal });
    this.field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event), { signal });
    this.field.addEventListener(
      "blur",
      () => {
        this.inbox.stopTyping();
        this.#suggest(null);
      },
      { signal },
    );
    this.form.addEventListener(
      "submit",
      (/** @type {Event} */ event) => {
        event.preventDefault();
        this.#send();
      },
      { signal },
    );
    this.smile.addEventListener("click", () => this.#pick(!this.picker), { signal });
    this.list.addEventListener(
      "pointerdown",
      (/** @type {PointerEvent} */ event) => {
        event.preventDefault(); // the field keeps the focus
        const option = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("li"));
        if (option && this.#suggesting) this.#take(Number(option.dataset.at));
      },
      { signal },
    );
    this.addEventListener(
      "emoji",
      (/** @type {any} */ { detail }) => {
        this.#insert(detail);
        this.#pick(false);
      },
      { signal },
    );
    document.addEventListener(
      "pointerdown",
      (event) => {
        const target = /** @type {Node} */ (event.target);
        if (this.picker && !this.picker.contains(target) && !this.smile.contains(target)) this.#pick(false, false);
      },
      { signal },
    );
    this.inbox.settings.addEventListener("change", () => this.#drawHint(), { signal });
  }

  draw() {
    const { inbox } = this;
    const { openRow: row, opened, state } = inbox;
    const appears = this.hidden && row !== null && inbox.openThread !== null;
    this.hidden = !row || !inbox.openThread;
    if (appears) this.#grow(); // nothing has a height while it is hidden
    if (opened.id !== this.#of) {
      this.#of = opened.id;
      this.field.value = opened.id === null ? "" : inbox.drafts.get(opened.id);
      this.#pick(false, false);
      this.#suggest(null);
      this.#grow();
      this.#drawHint();
    }
    if (!row || !state) return;
    const { route, email } = replyRouteOf(row, state, inbox.connected, inbox.mayChat);
    this.box.hidden = !inbox.mayChat;
    const key = `${route} ${email}`;
    if (key === this.#route) return;
    this.#route = key;
    setAttribute(this.route, "data-route", route);
    const words = h("span.words", null, this.t(`route.${route}`, { email }));
    fill(
      this.route,
      route === "online" || route === "reading" ? h("span.dot", { "aria-hidden": "true" }) : icon(ROUTE_ICONS[route]),
      words,
    );
    words.title = words.textContent ?? "";
  }

  focus() {
    this.field.focus();
  }

  // ---------------------------------------------------------------- writing

  /** On a keyboard of glass Return breaks the line, as everywhere there: the button is beside the thumb. */
  get #enterSends() {
    return (
      this.inbox.settings.get("enter_sends") === "yes" && !matchMedia("(pointer: coarse) and (hover: none)").matches
    );
  }

  get #limit() {
    return this.inbox.state?.limits?.message_characters_max ?? 4_000;
  }

  /** As chatd counts them: code points, without the space around. */
  get #characters() {
    return [...this.field.value.trim()].length;
  }

  #input() {
    this.#grow();
    this.#drawHint();
    this.#keep();
    if (this.field.value.trim()) this.inbox.startTyping();
    else this.inbox.stopTyping();
    const query = emojiQueryAt(this.field.value, this.field.selectionStart);
    const found = query ? findEmoji(query.query, SUGGESTIONS) : [];
    this.#suggest(query && found.length ? { start: query.start, found, at: 0 } : null);
  }

  #keep() {
    if (this.#of !== null) this.inbox.drafts.set(this.#of, this.field.value);
  }

  /** Up to eight lines; the style sheet has the bound. */
  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  #drawHint() {
    const characters = this.#characters;
    const limit = this.#limit;
    const tell = characters >= limit * TELL_FROM;
    this.hint.hidden = tell;
    this.tooLong.hidden = !tell;
    setText(
      this.hint,
      this.field.value ? this.t(this.#enterSends ? "composer.hint_enter" : "composer.hint_control", { command: this.words.command }) : "",
    );
    if (tell)
      setText(
        this.tooLong,
        this.t(characters > limit ? "composer.too_long" : "composer.characters", {
          characters: this.words.number(characters),
          limit: this.words.number(limit),
          count: characters - limit,
        }),
      );
    setAttribute(this.tooLong, "data-tone", characters > limit ? "danger" : null);
    // Not `disabled`: the button keeps its place in the order of Tab, and says why nothing happens.
    setAttribute(this.button, "aria-disabled", characters === 0 || characters > limit ? "true" : null);
  }

  #send() {
    const characters = this.#characters;
    if (characters === 0 || characters > this.#limit) return this.field.focus();
    this.inbox.send(this.field.value);
    this.field.value = "";
    this.#suggest(null);
    this.#grow();
    this.#drawHint();
    this.field.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing || event.keyCode === 229) return; // an input method is choosing a character
    if (this.#suggesting && this.#suggestionKey(event)) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      if (this.picker) this.#pick(false);
      else this.tell("leave-composer");
    } else if (event.key === "Enter") {
      const plain = !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;
      if (this.#enterSends ? plain || event.ctrlKey || event.metaKey : event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.#send();
      }
    }
  }

  // ---------------------------------------------------------------- emoji

  /** @param {boolean} open @param {boolean} [focus] */
  #pick(open, focus = true) {
    if (open === Boolean(this.picker)) return;
    this.smile.setAttribute("aria-expanded", String(open));
    if (open) {
      this.picker = /** @type {any} */ (document.createElement("emoji-picker"));
      this.picker.words = this.words;
      this.append(this.picker);
      this.picker.addEventListener("close", () => this.#pick(false));
      this.picker.focus();
    } else {
      this.picker.remove();
      this.picker = null;
      if (focus) this.field.focus();
    }
  }

  /** @param {string} emoji @param {number} [from] */
  #insert(emoji, from = this.field.selectionStart) {
    this.field.setRangeText(emoji, from, this.field.selectionEnd, "end");
    this.#input();
  }

  /** @param {Suggesting | null} suggesting */
  #suggest(suggesting) {
    this.#suggesting = suggesting;
    this.list.hidden = suggesting === null;
    setAttribute(this.field, "aria-controls", suggesting ? "emoji-suggestions" : null);
    setAttribute(this.field, "aria-activedescendant", suggesting ? `emoji-suggestion-${suggesting.at}` : null);
    fill(
      this.list,
      ...(suggesting?.found ?? []).map(({ emoji, name }, at) =>
        h(
          "li",
          {
            id: `emoji-suggestion-${at}`,
            role: "option",
            "data-at": at,
            "aria-selected": String(at === suggesting?.at),
          },
          h("span.glyph", null, emoji),
          h("span", { lang: "en" }, name),
        ),
      ),
    );
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was for the suggestions */
  #suggestionKey(event) {
    const suggesting = /** @type {Suggesting} */ (this.#suggesting);
    const { length } = suggesting.found;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.#suggest({ ...suggesting, at: (suggesting.at + (event.key === "ArrowDown" ? 1 : length - 1)) % length });
    } else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) {
      this.#take(suggesting.at);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      this.#suggest(null);
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }

  /** @param {number} at */
  #take(at) {
    const { start, found } = /** @type {Suggesting} */ (this.#suggesting);
    this.#insert(`${found[at].emoji} `, start);
    this.#suggest(null);
  }
}

customElements.define("message-composer", MessageComposer);
