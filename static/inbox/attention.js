// @ts-check
/**
 * What calls somebody to the inbox: the count in the page's title, a sound, and a word to screen readers.
 */

import { nameOf } from "./people.js";
import { textOf } from "./thread-items.js";

/** @param {number} unread @param {string} shop */
export const titleOf = (unread, shop) => (unread > 0 ? `(${unread}) ` : "") + `chatd — ${shop}`;

/**
 * @param {import("./inbox.js").Inbox} inbox
 * @param {{document: Document, bell: {ring: () => void}, live: HTMLElement}} page
 * @param {AbortSignal} signal
 */
export function callAttention(inbox, { document, bell, live }, signal) {
  const title = () => {
    document.title = titleOf(inbox.state?.unread ?? 0, (inbox.state?.shop ?? inbox.words.shop).name);
  };
  inbox.addEventListener("change", title, { signal });
  inbox.addEventListener(
    "message",
    (/** @type {any} */ { detail: event }) => {
      // The open thread is a log of its own, and whoever reads its end needs no bell.
      if (inbox.attended && event.conversation === inbox.opened.id) return;
      if (inbox.settings.get("sound") === "on") bell.ring();
      const customer = inbox.row(event.conversation)?.customer ?? {
        id: event.customer,
        name: event.message.author.name,
      };
      live.textContent = inbox.words.t("live.message", {
        name: nameOf(customer, inbox.words.t),
        text: textOf(event.message.parts).slice(0, 200),
      });
    },
    { signal },
  );
  title();
}
