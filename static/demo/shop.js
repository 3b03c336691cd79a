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

// On a wide window the page makes room for the open chat, so that one can go on shopping while one talks. The next page
// does it before it is painted (`chatting.js`).
const makeRoom = (/** @type {boolean} */ open) => {
  document.documentElement.classList.toggle("chatting", open);
  try {
    sessionStorage.setItem("chatting", open ? "1" : "");
  } catch {
    // Without storage the next page makes room a moment later.
  }
};
queue.push(["on", "open", () => makeRoom(true)]);
queue.push(["on", "close", () => makeRoom(false)]);
addEventListener("load", () => {
  // The bubble's script has not come: nothing is open.
  if (Array.isArray(/** @type {any} */ (window).chatd)) makeRoom(false);
});

for (const button of document.querySelectorAll("[data-chat]")) {
  button.addEventListener("click", () => /** @type {any} */ (window).chatd.push(["open"]));
}
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => /** @type {HTMLSelectElement} */ (select).form?.requestSubmit());
}
