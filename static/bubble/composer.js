// @ts-check
/**
 * The field a message is written in, with its buttons and its counter.
 *
 * Promises: Enter sends and Shift+Enter breaks the line, except while an input method composes; the draft is handed out
 * with every change, so that it outlives the page; the field is emptied only when the message has been taken.
 * Leaves to others: sending, and keeping the draft.
 */

import { h, icon } from "./dom.js";

const LINES_MAX = 6;
/** chatd shows "typing" for eight seconds; repeated with a margin for a slow network. */
const TYPING_REPEAT_MS = 4_000;
const TYPING_IDLE_MS = 5_000;

/** How many characters chatd counts: code points, of the text without the space around it. @param {string} text */
const characters = (text) => [...text.trim()].length;

/** @typedef {(key: string, facts?: Record<string, any>) => string} Translate */

export class Composer {
  #typingAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #idle;
  /** @type {import("./emoji.js").EmojiPicker | null} */
  #picker = null;

  /**
   * @param {object} options
   * @param {Translate} options.t
   * @param {string} options.draft
   * @param {number} options.charactersMax
   * @param {(text: string) => void} options.send
   * @param {(text: string) => void} options.keep the draft has changed
   * @param {(on: boolean) => void} options.typing
   */
  constructor({ t, draft, charactersMax, send, keep, typing }) {
    this.t = t;
    this.charactersMax = charactersMax;
    this.on = { send, keep, typing };
    this.textarea = h("textarea", {
      rows: 1,
      dir: "auto",
      "aria-label": t("field_label"),
      placeholder: t("field_placeholder"),
      enterkeyhint: "send",
      autocomplete: "off",
      oninput: () => this.#changed(),
      onkeydown: (event) => this.#key(event),
      onblur: () => this.#stopTyping(),
    });
    this.textarea.value = draft;
    this.count = h("p.count", { hidden: true });
    this.emojiButton = h(
      "button.round",
      { type: "button", "aria-label": t("emoji"), "aria-expanded": "false", onclick: () => void this.#toggleEmoji() },
      icon("smile"),
    );
    // `aria-disabled` instead of `disabled`: a button that disappears from the tab order while one writes is lost.
    this.sendButton = h("button.round.send", { type: "submit", "aria-label": t("send") }, icon("send"));
    this.element = h(
      "form.composer",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.#submit();
        },
        onfocusout: (event) => this.#left(event),
      },
      h("div.field", { onpointerdown: (event) => this.#aim(event) }, this.emojiButton, this.textarea, this.sendButton),
      this.count,
    );
    this.#draw();
  }

  focus() {
    this.textarea.focus({ preventScroll: true });
    this.textarea.selectionStart = this.textarea.selectionEnd = this.textarea.value.length;
  }

  /** What to say in the empty field. @param {string} text */
  set placeholder(text) {
    this.textarea.placeholder = text;
  }

  /** Fits the height to the words; to be called again when the field becomes visible. */
  fit() {
    const { style } = this.textarea;
    style.blockSize = "auto";
    const line = parseFloat(getComputedStyle(this.textarea).lineHeight) || 22;
    style.blockSize = `${Math.max(40, Math.min(this.textarea.scrollHeight, line * LINES_MAX + 18))}px`;
  }

  #changed() {
    this.on.keep(this.textarea.value);
    this.#draw();
    if (!this.textarea.value.trim()) return this.#stopTyping();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#stopTyping(), TYPING_IDLE_MS);
    const now = Date.now();
    if (now - this.#typingAt < TYPING_REPEAT_MS) return;
    this.#typingAt = now;
    this.on.typing(true);
  }

  #stopTyping() {
    clearTimeout(this.#idle);
    if (!this.#typingAt) return;
    this.#typingAt = 0;
    this.on.typing(false);
  }

  #draw() {
    this.fit();
    const length = characters(this.textarea.value);
    const over = length - this.charactersMax;
    this.sendButton.setAttribute("aria-disabled", String(length === 0 || over > 0));
    // Counting is of no interest to anybody before nine tenths.
    this.count.hidden = length < this.charactersMax * 0.9;
    this.count.classList.toggle("over", over > 0);
    this.count.textContent =
      over > 0 ? this.t("too_long", { count: over }) : this.t("count", { length, max: this.charactersMax });
  }

  #submit() {
    // chatd stores neither NUL nor half of a character; nobody types these, but pasted text may hold them.
    const text = this.textarea.value
      .replaceAll("\0", "")
      .replace(/\p{Surrogate}/gu, "")
      .trim();
    const length = characters(text);
    if (length === 0 || length > this.charactersMax) return this.textarea.focus();
    this.textarea.value = "";
    this.#changed();
    this.#closeEmoji();
    this.on.send(text);
    this.textarea.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // 229 is what older browsers report while an input method composes (UI Events, section 7.3.1): that Enter picks a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  }

  /** A press beside the words is meant for them. @param {PointerEvent} event */
  #aim(event) {
    if (event.target !== event.currentTarget) return;
    event.preventDefault();
    this.textarea.focus();
  }

  async #toggleEmoji() {
    if (this.#picker) return this.#closeEmoji();
    const { EmojiPicker } = await import("./emoji.js");
    if (this.#picker) return;
    this.#picker = new EmojiPicker({
      label: this.t("emoji"),
      pick: (emoji) => this.#insert(emoji),
      close: () => this.#closeEmoji(true),
    });
    this.element.append(this.#picker.element);
    this.emojiButton.setAttribute("aria-expanded", "true");
    this.#picker.focus();
  }

  #closeEmoji(back = false) {
    this.#picker?.element.remove();
    this.#picker = null;
    this.emojiButton.setAttribute("aria-expanded", "false");
    if (back) this.emojiButton.focus();
  }

  /** @param {FocusEvent} event */
  #left(event) {
    if (
      this.#picker &&
      event.relatedTarget &&
      !this.#picker.element.contains(/** @type {Node} */ (event.relatedTarget)) &&
      event.relatedTarget !== this.emojiButton
    )
      this.#closeEmoji();
  }

  /** @param {string} emoji */
  #insert(emoji) {
    const { selectionStart: start, selectionEnd: end } = this.textarea;
    this.textarea.setRangeText(emoji, start, end, "end");
    this.#changed();
    this.#closeEmoji();
    this.focus();
    this.textarea.selectionStart = this.textarea.selectionEnd = start + emoji.length;
  }
}
