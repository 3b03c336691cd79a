// @ts-check
/**
 * What the demo shop tells chatd, as any shop would: the cart as it is on this page, and that somebody asked for help.
 *
 * `window.chatd` may not be there yet, since the bubble's script loads beside the page; what is pushed into the array is
 * carried out when it arrives.
 */
const queue = (/** @type {any} */ (window).chatd ??= []);
const block = document.querySelector("script#cart");
if (block?.textContent) queue.push(["cart", JSON.parse(block.textContent)]);

for (const button of document.querySelectorAll("[data-chat]")) {
  button.addEventListener("click", () => /** @type {any} */ (window).chatd.push(["open"]));
}
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => /** @type {HTMLSelectElement} */ (select).form?.requestSubmit());
}
