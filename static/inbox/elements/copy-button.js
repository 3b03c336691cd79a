// @ts-check
/** `<copy-button>`: copies its `value` and says that it did. Properties: `value`, `label`, `done` (the words after). */

import { h, icon, setAttribute, setIcon } from "../dom.js";

const DONE_MS = 1_600;

export class CopyButton extends HTMLElement {
  value = "";
  label = "";
  done = "";
  #timer = 0;

  connectedCallback() {
    if (!this.firstChild)
      this.append(
        h("button.icon-button", { type: "button", "data-tip-side": "end", onclick: () => this.#copy() }, icon("copy")),
      );
    this.#say(this.label);
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.value);
    } catch {
      return; // a browser that forbids it says so itself; the text beside can be selected
    }
    this.#say(this.done);
    this.setAttribute("data-done", "");
    setIcon(this.querySelector("svg"), "check");
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => {
      this.#say(this.label);
      this.removeAttribute("data-done");
      setIcon(this.querySelector("svg"), "copy");
    }, DONE_MS);
  }

  /** @param {string} words */
  #say(words) {
    const button = /** @type {HTMLElement} */ (this.firstElementChild);
    setAttribute(button, "aria-label", words);
    setAttribute(button, "data-tip", words);
  }
}

customElements.define("copy-button", CopyButton);
