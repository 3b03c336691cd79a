// @ts-check
/**
 * The keyboard: which key means what, as one table from which the sheet of shortcuts is drawn too.
 *
 * Promises: keys with a modifier belong to the browser (but for the palette's), and while somebody writes every key is
 * text.
 */

import { SECTIONS } from "./place.js";

/** How long after `g` the next letter still belongs to it. */
export const SEQUENCE_MS = 1_500;

/**
 * @typedef {{keys: string[], act: string, group: string}} Shortcut `keys` as they are shown and, joined, as they are
 *   typed
 */

/** @type {readonly Shortcut[]} */
export const SHORTCUTS = Object.freeze([
  { keys: ["j"], act: "next", group: "moving" },
  { keys: ["k"], act: "previous", group: "moving" },
  { keys: ["Enter"], act: "open", group: "moving" },
  { keys: ["o"], act: "open", group: "moving" },
  ...SECTIONS.flatMap((section) => [
    { keys: ["g", section.key], act: `section.${section.id}`, group: "moving" },
    ...section.filters.map((filter) => ({ keys: ["g", filter.key], act: `filter.${filter.id}`, group: "moving" })),
  ]),
  { keys: ["r"], act: "reply", group: "conversation" },
  { keys: ["e"], act: "toggle_state", group: "conversation" },
  { keys: ["l"], act: "topics", group: "conversation" },
  { keys: ["x"], act: "tick", group: "conversation" },
  { keys: ["i"], act: "customer", group: "conversation" },
  { keys: ["z"], act: "undo", group: "conversation" },
  { keys: ["Ctrl", "K"], act: "palette", group: "everywhere" },
  { keys: ["?"], act: "keys", group: "everywhere" },
  { keys: ["Esc"], act: "back", group: "everywhere" },
]);

const TYPED = new Map(
  SHORTCUTS.filter(({ keys }) => keys[0] !== "Ctrl" && !["Enter", "Esc"].includes(keys[0])).map(({ keys, act }) => [
    keys.join(" "),
    act,
  ]),
);

/** @param {EventTarget | null} target */
export function isWriting(target) {
  const element = /** @type {any} */ (target);
  if (element?.isContentEditable) return true;
  if (element?.localName === "textarea" || element?.localName === "select") return true;
  return element?.localName === "input" && !["checkbox", "radio", "button", "submit"].includes(element.type);
}

/** Turns keys into what they mean. Remembers only that a `g` was typed just now. */
export class Keyboard {
  #began = -Infinity;

  /**
   * @param {Pick<KeyboardEvent, "key" | "target" | "ctrlKey" | "metaKey" | "altKey" | "isComposing" | "repeat">} event
   * @param {number} now in milliseconds, of a clock that only runs forward
   * @returns {string | null} the act, or null
   */
  actOf(event, now) {
    if (event.isComposing) return null;
    const command = event.ctrlKey || event.metaKey;
    if (command && !event.altKey && event.key.toLowerCase() === "k") return "palette";
    if (command || event.altKey || isWriting(event.target)) return null;
    if (event.key === "Escape") return "back";
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const sequence = now - this.#began < SEQUENCE_MS;
    this.#began = -Infinity;
    if (sequence) return TYPED.get(`g ${key}`) ?? null;
    if (key === "g") {
      this.#began = now;
      return null;
    }
    const act = TYPED.get(key) ?? null;
    // Held down, j and k run along the list; nothing else should happen twice by a heavy finger.
    return event.repeat && act !== "next" && act !== "previous" ? null : act;
  }
}
