// @ts-check
/**
 * `<toast-list>`: what was just done, with the way back; and what went wrong. A plain toast goes by itself, not while
 * somebody points at it or has the focus in it; one that tells of an error stays until it is dismissed.
 */

import { h, icon } from "../dom.js";
import { InboxElement } from "./inbox-element.js";

const SHOWN_MS = 7_000;
const TOASTS_MAX = 3;

export class ToastList extends InboxElement {
  build() {
    this.setAttribute("role", "status");
    this.setAttribute("aria-live", "polite");
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    this.inbox.addEventListener("toast", (/** @type {any} */ { detail }) => this.#show(detail), { signal });
  }

  /** The way back of the newest toast, for the keyboard. @returns {boolean} whether there was one */
  undo() {
    const button = /** @type {HTMLButtonElement | null} */ ([...this.querySelectorAll(".undo")].at(-1) ?? null);
    button?.click();
    return button !== null;
  }

  /** @param {{words: string, action: {label: string, run: () => void} | null, tone: string}} toast */
  #show({ words, action, tone }) {
    const toast = h(
      "div.toast",
      { "data-tone": tone },
      h("span.words", { dir: "auto" }, words),
      action &&
        h(
          "button.undo",
          {
            type: "button",
            onclick: () => {
              toast.remove();
              action.run();
            },
          },
          action.label,
        ),
      h(
        "button",
        { type: "button", "aria-label": this.t("dismiss"), onclick: () => toast.remove() },
        icon("close", "small"),
      ),
    );
    this.append(toast);
    while (this.children.length > TOASTS_MAX) this.firstElementChild?.remove();
    if (tone === "danger") return;
    const wait = () => {
      if (toast.matches(":hover, :focus-within")) setTimeout(wait, 1_000);
      else toast.remove();
    };
    setTimeout(wait, SHOWN_MS);
  }
}

customElements.define("toast-list", ToastList);
