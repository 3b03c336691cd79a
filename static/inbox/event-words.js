// @ts-check
/**
 * An event line in words (features A8 and C1).
 *
 * Promises: an event of a kind this page does not know yet gives nothing, never a broken line.
 */

import { nameOf } from "./people.js";
import { nameOfTopic } from "./topics.js";

/**
 * @param {any} event @param {any} change the change of the cart that this line tells, if it is one
 * @param {object} facts
 * @param {(key: string, facts?: Record<string, any>) => string} facts.t
 * @param {string} facts.me the id of the staff who reads
 * @param {{id: string, name?: string}} facts.customer
 * @returns {{icon: string, text: string} | null}
 */
export function eventWords(event, change, { t, me, customer }) {
  switch (event.type) {
    case "cart_changed":
      return cartWords(change, t);
    case "customer_came":
      return { icon: "enter", text: t("event.came", { name: nameOf(customer, t) }) };
    case "customer_left":
      return { icon: "leave", text: t("event.left", { name: nameOf(customer, t) }) };
    case "conversation_closed":
      return { icon: "closed", text: byWhom(event.by, "event.closed", t, me) };
    case "conversation_opened":
      return { icon: "reopen", text: byWhom(event.by, "event.opened", t, me) };
    case "topic_added":
    case "topic_removed":
      return { icon: "tag", text: byWhom(event.by, `event.${event.type}`, t, me, { topic: nameOfTopic(event.topic, t) }) };
    case "customer_introduced": {
      const { name, email } = event.person;
      const key =
        name && email
          ? "event.introduced.both"
          : name
            ? "event.introduced.name"
            : email
              ? "event.introduced.email"
              : "event.introduced.none";
      return { icon: "pencil", text: t(key, { name, email }) };
    }
    default:
      return null;
  }
}

/**
 * The rule of C1: chatd leaves the name of a product out (`title: null`) when it has 41 characters or more.
 *
 * @param {{kind: string, title: string | null, quantity: number, was: number}} change
 * @param {(key: string, facts?: Record<string, any>) => string} t
 */
export function cartWords({ kind, title, quantity, was }, t) {
  const named = title === null ? "unnamed" : "named";
  const facts = { title, quantity, was };
  if (kind === "added")
    return {
      icon: "cart",
      text: t(title !== null && quantity > 1 ? "event.cart.added.several" : `event.cart.added.${named}`, facts),
    };
  if (kind === "removed") return { icon: "cart", text: t(`event.cart.removed.${named}`, facts) };
  if (kind === "quantity") return { icon: "cart", text: t(`event.cart.quantity.${named}`, facts) };
  return null;
}

/**
 * @param {{kind: string, id: string, name?: string}} by
 * @param {string} key
 * @param {(key: string, facts?: any) => string} t
 * @param {string} me
 * @param {Record<string, any>} [facts]
 */
function byWhom(by, key, t, me, facts = {}) {
  if (by.kind === "staff")
    return by.id === me ? t(`${key}.you`, facts) : t(`${key}.colleague`, { name: by.name ?? "", ...facts });
  return t(by.kind === "customer" ? `${key}.customer` : `${key}.system`);
}
