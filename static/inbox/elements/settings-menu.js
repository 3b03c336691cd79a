// @ts-check
/**
 * `<settings-menu>`: theme, language, sound, what Enter does; the keys; logging out. Opens beside the account's button.
 */

import { h, icon } from "../dom.js";
import { LANGUAGES } from "../words.js";
import { InboxElement } from "./inbox-element.js";

const THEMES = { system: "system", light: "sun", dark: "moon" };

export class SettingsMenu extends InboxElement {
  build() {
    this.menu = h("div.settings", { popover: "auto", role: "dialog", "aria-label": this.t("settings.title") });
    this.append(this.menu);
    this.menu.addEventListener("toggle", (/** @type {any} */ event) => {
      this.anchor?.setAttribute("aria-expanded", String(event.newState === "open"));
    });
  }

  /** @param {HTMLElement} anchor */
  toggle(anchor) {
    this.anchor = anchor;
    if (this.menu.matches(":popover-open")) return this.menu.hidePopover();
    this.#fill();
    this.menu.showPopover();
    const at = anchor.getBoundingClientRect();
    const { offsetWidth: width } = this.menu;
    const rtl = getComputedStyle(this).direction === "rtl";
    const side = rtl ? innerWidth - at.right : at.left;
    this.menu.style.setProperty(rtl ? "right" : "left", `${Math.max(8, Math.min(side, innerWidth - width - 8))}px`);
    this.menu.style.setProperty("bottom", `${Math.max(8, innerHeight - at.top + 6)}px`);
    this.menu.querySelector("input, button, select")?.focus();
  }

  #fill() {
    const { inbox } = this;
    const { me } = inbox.state ?? {};
    this.menu.replaceChildren(
      h("div.settings-who", null, h("b", null, h("bdi", null, me?.name ?? "")), h("bdi", null, me?.email ?? "")),
      h("div.setting", null, h("span", { id: "setting-theme" }, this.t("settings.theme")), this.#themes()),
      h("label.setting", null, h("span", null, this.t("settings.language")), this.#languages()),
      this.#switch(this.t("settings.sound"), "sound", "on", "off"),
      this.#switch(this.t("settings.enter_sends"), "enter_sends", "yes", "no"),
      h(
        "div.settings-acts",
        null,
        h(
          "button",
          { type: "button", onclick: () => this.#leave("show-palette") },
          icon("command"),
          this.t("palette.title"),
          h("kbd", null, `${this.words.commandKey} K`),
        ),
        h(
          "button.not-phone",
          { type: "button", onclick: () => this.#leave("show-keys") },
          icon("keyboard"),
          this.t("keys.title"),
          h("kbd", null, "?"),
        ),
        h(
          "button",
          { type: "button", onclick: () => this.#leave("log-out") },
          icon("leave", "turns"),
          this.t("log_out"),
        ),
      ),
    );
  }

  #themes() {
    const { settings } = this.inbox;
    const now = settings.get("theme");
    return h(
      "div.choice",
      { role: "radiogroup", "aria-labelledby": "setting-theme" },
      ...Object.entries(THEMES).map(([theme, name]) =>
        h(
          "label",
          { title: this.t(`theme.${theme}`) },
          icon(name),
          h("input", {
            type: "radio",
            name: "theme",
            "aria-label": this.t(`theme.${theme}`),
            ".checked": theme === now,
            onchange: () => settings.set("theme", theme),
          }),
        ),
      ),
    );
  }

  #languages() {
    const { settings } = this.inbox;
    const now = settings.get("locale");
    return h(
      "select",
      { onchange: (/** @type {any} */ event) => settings.set("locale", event.target.value) },
      h("option", { value: "", ".selected": now === "" }, this.t("settings.language_of_browser")),
      ...Object.entries(LANGUAGES).map(([tag, name]) =>
        h("option", { value: tag, lang: tag, ".selected": tag === now }, name),
      ),
    );
  }

  /** @param {string} words @param {"sound" | "enter_sends"} name @param {string} on @param {string} off */
  #switch(words, name, on, off) {
    const { settings } = this.inbox;
    return h(
      "label.setting",
      null,
      h("span", null, words),
      h("input.switch", {
        type: "checkbox",
        role: "switch",
        ".checked": settings.get(name) === on,
        onchange: (/** @type {any} */ event) => settings.set(name, event.target.checked ? on : off),
      }),
    );
  }

  /** @param {string} name */
  #leave(name) {
    this.menu.hidePopover();
    this.tell(name);
  }
}

customElements.define("settings-menu", SettingsMenu);
