// @ts-check
/** `<connection-bar>`: tells in words when the inbox is not live, and what that means for what one writes. */

import { fill, h, icon, setAttribute } from "../dom.js";
import { loginAddress } from "../place.js";
import { InboxElement } from "./inbox-element.js";

/** A short break is nobody's business; most are over before this. */
const PATIENCE_MS = 1_200;
/** Close codes after which another login helps (docs/protocol.md, section 6); after the others a reload may. */
const LOGGED_OUT = new Set([4502, 4503]);

export class ConnectionBar extends InboxElement {
  static topics = ["status"];
  #status = "open";
  #timer = 0;

  build() {
    this.setAttribute("role", "status");
    this.hidden = true;
  }

  /** @param {AbortSignal} signal */
  listen(signal) {
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  draw() {
    const { status } = this.inbox.client;
    if (status === "connecting" && !this.hidden) return; // a try in between changes nothing for whoever reads it
    if (status === this.#status) return;
    this.#status = status;
    clearTimeout(this.#timer);
    if (status === "open") {
      this.hidden = true;
      fill(this);
    } else {
      const patience = status === "ended" || status === "offline" || !this.hidden ? 0 : PATIENCE_MS;
      this.#timer = window.setTimeout(() => this.#show(status), patience);
    }
  }

  /** @param {string} status */
  #show(status) {
    this.hidden = false;
    setAttribute(this, "data-status", status);
    if (status === "ended") {
      const loggedOut = LOGGED_OUT.has(this.inbox.client.endedCode);
      fill(
        this,
        icon("alert", "small"),
        h("span", null, this.t(loggedOut ? "connection.logged_out" : "connection.ended")),
        h(
          "a",
          { href: loggedOut ? loginAddress(location.pathname + location.search) : location.href },
          this.t(loggedOut ? "connection.log_in" : "connection.reload"),
        ),
      );
    } else if (status === "offline") {
      fill(this, icon("offline", "small"), h("span", null, this.t("connection.offline")));
    } else {
      const first = this.inbox.state === null;
      fill(
        this,
        icon("offline", "small"),
        h("span", null, this.t(first ? "connection.connecting" : "connection.waiting")),
        h(
          "button.text-button",
          { type: "button", onclick: () => this.inbox.client.connect() },
          this.t("connection.try_now"),
        ),
      );
    }
  }
}

customElements.define("connection-bar", ConnectionBar);
