// @ts-check
/** `<person-avatar>`: the initials of somebody on their own colour, with a dot while they are online. */

import { icon } from "../dom.js";
import { hueOf, initialsOf } from "../people.js";

export class PersonAvatar extends HTMLElement {
  #shown = "";

  /** @param {{id: string, name?: string}} person @param {boolean} [online] */
  show(person, online = false) {
    this.toggleAttribute("data-online", online);
    const shown = `${person.id} ${person.name ?? ""}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    // The name stands beside it, and the dot is told in words where it matters.
    this.setAttribute("aria-hidden", "true");
    this.dataset.hue = String(hueOf(person.id));
    const face = document.createElement("span");
    const initials = initialsOf(person.name ?? "");
    face.className = "face";
    face.append(initials || icon("person"));
    this.replaceChildren(face);
  }
}

customElements.define("person-avatar", PersonAvatar);
