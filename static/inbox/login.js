// @ts-check
/** Adds to the login page what only a script can: the button that shows the password. And the theme that was chosen. */

import { Settings, browserStorage } from "./settings.js";

new Settings(browserStorage()).applyTheme(document.documentElement);

const box = /** @type {HTMLElement | null} */ (document.querySelector(".login-password"));
const field = /** @type {HTMLInputElement | null} */ (document.querySelector("#password"));

if (box && field) {
  const { show = "", hide = "" } = box.dataset;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = show;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-controls", field.id);
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.textContent = shown ? show : hide;
    button.setAttribute("aria-pressed", String(!shown));
    field.focus();
  });
  // Browsers remember and offer what a text field held when it is sent.
  field.form?.addEventListener("submit", () => {
    field.type = "password";
  });
  box.append(button);
}
