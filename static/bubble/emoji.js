// @ts-check
/**
 * The emoji picker: a small list of our own, fetched when it is first opened.
 *
 * Promises: it is worked by arrow keys, Home, End, Enter and Escape as well as by pointer.
 */

import { h } from "./dom.js";

const COLUMNS = 8;
const EMOJI =
  "😀 😄 😁 😅 😂 🙂 😉 😊 😍 🥰 😘 😋 😎 🤩 🥳 🤔 🤗 🙄 😬 😴 😔 😢 😭 😤 😡 😱 😳 🥺 🤒 🤷 🤦 🙈 " +
  "👍 👎 👌 🙏 👏 🙌 💪 👋 🤝 ✌️ 🤞 👀 ❤️ 🧡 💛 💚 💙 💜 🖤 💔 ✨ 🔥 🎉 🎁 ⭐ ✅ ❌ ❓ ❗ 💯 ⏰ 📦 " +
  "🚚 💳 💶 🧾 🛍️ 🛒 🏷️ 📧 📱 📷 👗 👕 👟 👜 👓 💍 🌞 🌧️ ❄️ 🌸 🌿 🐶 🐱 🐝 ☕ 🍕 🍰 🍓 🍷 🏠 ✈️ ⚽";

export class EmojiPicker {
  /** @param {{label: string, pick: (emoji: string) => void, close: () => void}} options */
  constructor({ label, pick, close }) {
    this.buttons = EMOJI.split(" ").map((emoji, index) =>
      h(
        "button",
        { type: "button", tabindex: index === 0 ? 0 : -1, "aria-label": emoji, onclick: () => pick(emoji) },
        emoji,
      ),
    );
    this.element = h(
      "div.emoji",
      { role: "group", "aria-label": label, onkeydown: (event) => this.#move(event) },
      ...this.buttons,
    );
    this.close = close;
  }

  focus() {
    this.buttons.find((button) => button.tabIndex === 0)?.focus();
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const at = this.buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const along = getComputedStyle(this.element).direction === "rtl" ? -1 : 1;
    const steps = {
      ArrowRight: along,
      ArrowLeft: -along,
      ArrowDown: COLUMNS,
      ArrowUp: -COLUMNS,
      Home: -at,
      End: this.buttons.length - 1 - at,
    };
    if (event.key === "Escape") {
      event.stopPropagation();
      this.close();
    } else if (Object.hasOwn(steps, event.key)) {
      const next = this.buttons[at + steps[/** @type {keyof typeof steps} */ (event.key)]];
      event.preventDefault();
      if (!next) return;
      this.buttons[at].tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    }
  }
}
