// @ts-check
/**
 * What is true only now and is no event: who is here, who reads, who is writing. It is kept in the state of a face
 * (`state.js`) beside what events have made, and a welcome tells it anew. Touches no page; the time may be given.
 */

/** A signal is shown this long unless it is repeated. */
export const TYPING_MS = 8_000;

/** @param {any} state @param {any} signal the frame @param {number} [now] @returns {import("./state.js").Change} */
export function applySignal(state, signal, now = Date.now()) {
  const { name, data } = signal ?? {};
  if (name === "presence" && state.online && data?.customer) {
    if (data.online) state.online.add(data.customer);
    else state.online.delete(data.customer);
    return { kind: "presence" };
  }
  if (name === "presences" && state.online && Array.isArray(data?.came) && Array.isArray(data.left)) {
    for (const customer of data.came) state.online.add(customer);
    for (const customer of data.left) state.online.delete(customer);
    return { kind: "presence" };
  }
  if (name === "reading" && state.reading && data?.customer) {
    if (data.on) state.reading.add(data.customer);
    else state.reading.delete(data.customer);
    return { kind: "presence" };
  }
  if (name === "shop_presence" && data) {
    state.shop_online = data.online === true;
    return { kind: "presence" };
  }
  if (name === "typing" && data?.conversation && data.author) {
    if (data.on) state.typing.set(data.conversation, { author: data.author, until: now + TYPING_MS });
    else if (state.typing.get(data.conversation)?.author.id === data.author.id) state.typing.delete(data.conversation);
    return { kind: "typing", conversation: data.conversation };
  }
  return { kind: "none" };
}

/** Who is writing there now, or null. @param {any} state @param {string} conversation @param {number} [now] @returns {import("./state.js").Author | null} */
export function typingIn(state, conversation, now = Date.now()) {
  const typing = state.typing.get(conversation);
  return typing && typing.until > now ? typing.author : null;
}

/** Who has said it is no longer writing it. @param {any} state @param {any} event */
export function stopTyping(state, { conversation, message }) {
  if (state.typing.get(conversation)?.author.id === message.author.id) state.typing.delete(conversation);
}
