// @ts-check
/** Before the first paint, so that nothing moves: whether the chat was open on the page before. See `shop.js`. */
try {
  if (sessionStorage.getItem("chatting")) document.documentElement.classList.add("chatting");
} catch {
  // Storage is forbidden: `shop.js` makes room when the chat has opened.
}
