// @ts-check
/**
 * The customer's thread as it stands, and what the customer does in it. The bubble's panel and the hosted page show it.
 *
 * Promises: it begins with what the session has heard so far, whenever that was, and follows from there.
 * Leaves to others: the connection and who the customer is (`session.js`), how events add up (`state.js`), all that is
 * drawn.
 *
 * Dispatches "change" when something that is drawn may be other than before.
 */

import { applySignal, typingIn } from "../signals.js";
import {
  applyToCustomer,
  applyWelcome,
  customerState,
  mergeHistory,
  threadOf,
} from "../state.js";

const PAGE_OF_HISTORY = 50;

export class Chat extends EventTarget {
  /** @type {import("../state.js").CustomerState | null} null before the first welcome */
  state = null;

  /** @param {import("./session.js").Session} session only one chat for each: it takes the frames out */
  constructor(session) {
    super();
    this.session = session;
    this.client = session.client;
    session.addEventListener("change", () => this.#follow());
    this.#follow();
  }

  #follow() {
    for (const frame of this.session.frames.splice(0)) {
      if (frame.type === "welcome" && !frame.resumed) this.state = customerState(frame);
      else if (!this.state) continue;
      else if (frame.type === "welcome") applyWelcome(this.state, frame);
      else if (frame.type === "signal") applySignal(this.state, frame, frame.heard_at);
      else applyToCustomer(this.state, frame.number, frame.event);
    }
    this.dispatchEvent(new Event("change"));
  }

  // ------------------------------------------------------------------ what is drawn

  get status() {
    return this.client.status;
  }

  /** The one conversation that is shown, once it exists. */
  get conversation() {
    const all = [...(this.state?.conversations.values() ?? [])];
    return all.find(({ kind }) => kind === "shop") ?? all[0] ?? null;
  }

  get entries() {
    return threadOf(this.conversation, this.client.pending);
  }

  /** Who is writing to the customer now, or null. */
  get typist() {
    const author = this.state && this.conversation ? typingIn(this.state, this.conversation.id) : null;
    return author?.kind === "staff" ? author : null;
  }

  // ------------------------------------------------------------------ what the customer does

  /** @param {string} text */
  say(text) {
    const { prefix, storage, channel } = this.session;
    // Already now, and not when chatd has answered: the next page must connect by itself to bring this message out.
    storage.setItem(`${prefix}talked`, "1");
    const conversation = channel === "page" ? this.conversation?.id : undefined;
    this.client.send("send_message", { parts: [{ type: "text", text }], ...(conversation && { conversation }) });
  }

  /** Rejects when chatd refuses the name or the address. @param {{name: string, email: string}} answer */
  async introduce(answer) {
    try {
      const { person } = await this.client.send("introduce", answer);
      // Before the first message there is no event that would tell it.
      if (this.state && person) this.state.customer = person;
      this.dispatchEvent(new Event("change"));
    } catch (error) {
      for (const entry of this.client.pending)
        if (entry.type === "introduce" && entry.state === "failed") this.client.discard(entry.id);
      throw error;
    }
  }

  /** @param {number} position */
  seen(position) {
    const { conversation } = this;
    if (conversation && position > conversation.seen_by_customer)
      this.client.send("mark_seen", { conversation: conversation.id, position });
  }

  /** @param {boolean} on */
  typing(on) {
    if (this.conversation) this.client.signal("set_typing", { conversation: this.conversation.id, on });
  }

  async loadOlder() {
    const { conversation } = this;
    if (!conversation?.more) return;
    const page = await this.client.ask("load_history", {
      conversation: conversation.id,
      before: conversation.entries[0]?.number,
      limit: PAGE_OF_HISTORY,
    });
    if (this.conversation !== conversation) return;
    mergeHistory(conversation, page);
    this.dispatchEvent(new Event("change"));
  }
}
