// @ts-check
/**
 * The form in which a customer says who they are and where a reply may go.
 *
 * Promises: it can be left unanswered; what was typed stays until chatd has taken it; a mistake is explained at the field.
 * Leaves to others: what happens with the answer, and telling afterwards where replies go.
 */

import { addressMistake, likelyAddress } from "./address.js";
import { h } from "./dom.js";

let made = 0;

export class Introduction {
  /**
   * @param {object} options
   * @param {import("./composer.js").Translate} options.t
   * @param {{name: string, email: string}} options.customer what is known already
   * @param {"first" | "later" | "change"} options.when before the first message, after it, or to change what was said
   * @param {(answer: {name: string, email: string}) => void} options.save
   * @param {() => void} options.skip
   */
  constructor({ t, customer, when, save, skip }) {
    this.t = t;
    this.when = when;
    this.known = customer;
    this.save = save;
    /** The address that was called doubtful; sent a second time it is taken as it is. */
    this.doubted = "";
    const id = `introduction-${(made += 1)}`;
    this.name = h("input", { name: "name", autocomplete: "name", maxlength: 120, dir: "auto" });
    // `type=email` would let the browser complain in its own words and in its own language.
    this.email = h("input", {
      name: "email",
      type: "text",
      inputmode: "email",
      autocomplete: "email",
      autocapitalize: "none",
      spellcheck: "false",
      maxlength: 300,
      dir: "ltr",
      "aria-describedby": `${id}-wrong`,
    });
    this.name.value = customer.name;
    this.email.value = customer.email;
    this.wrong = h("p.wrong", { id: `${id}-wrong`, role: "alert", hidden: true });
    this.button = h("button.primary", { type: "submit" }, t(when === "first" ? "intro_start" : "intro_save"));
    this.element = h(
      "form.card",
      {
        "aria-labelledby": `${id}-title`,
        novalidate: true,
        onsubmit: (event) => {
          event.preventDefault();
          this.#submit();
        },
      },
      h("p.title", { id: `${id}-title` }, t("intro_title")),
      h("p.why", null, t("intro_why")),
      h("label", null, h("span", null, t("name"), " ", h("span.optional", null, t("optional"))), this.name),
      h("label", null, h("span", null, t("email")), this.email),
      this.wrong,
      h(
        "div.actions",
        null,
        this.button,
        h(
          "button.plain",
          { type: "button", onclick: skip },
          t({ first: "intro_skip_first", later: "intro_skip", change: "cancel" }[when]),
        ),
      ),
    );
  }

  /** Whether somebody is about to answer. */
  get isInUse() {
    const typed = this.name.value !== this.known.name || this.email.value !== this.known.email;
    return typed || this.element.matches(":focus-within");
  }

  focus() {
    (this.name.value ? this.email : this.name).focus({ preventScroll: true });
  }

  /** chatd has refused what was typed. */
  refuse() {
    this.#complain(this.t("email_refused"));
  }

  #submit() {
    const name = this.name.value.trim();
    const email = this.email.value.trim();
    const mistake = email ? addressMistake(email) : "";
    if (mistake) return this.#complain(this.t(mistake, { email }));
    if (!email && !name && this.when !== "change") return this.#complain(this.t("email_empty"));
    const likely = likelyAddress(email);
    if (likely && this.doubted !== email) {
      this.doubted = email;
      return this.#complain(
        this.t("email_likely"),
        h("button.plain", { type: "button", onclick: () => this.#correct(likely) }, h("bdi", null, likely)),
      );
    }
    this.#complain("");
    this.save({ name, email });
  }

  /** @param {string} email */
  #correct(email) {
    this.email.value = email;
    this.#complain("");
    this.button.focus();
  }

  /** @param {string} text @param {Node} [offer] */
  #complain(text, offer) {
    this.wrong.replaceChildren(text, ...(offer ? [" ", offer] : []));
    this.wrong.hidden = !text;
    this.email.setAttribute("aria-invalid", String(Boolean(text)));
    if (text) this.email.focus();
  }
}
