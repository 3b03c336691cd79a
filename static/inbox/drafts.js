// @ts-check
/**
 * What was begun and not sent, by conversation.
 *
 * Promises: a draft is there again after a reload and in another tab; a full or forbidden storage costs the draft of
 * this page's life only, never an error. Keeps the newest 200.
 */

const DRAFTS_MAX = 200;

export class Drafts {
  /** @param {Pick<Storage, "getItem" | "setItem" | "removeItem"> | null} storage @param {string} key */
  constructor(storage, key) {
    this.storage = storage;
    this.key = key;
    /** @type {Map<string, string>} oldest first */
    this.texts = new Map();
    this.#read();
  }

  /** @param {string} conversation */
  get(conversation) {
    this.#read();
    return this.texts.get(conversation) ?? "";
  }

  /** As `get`, of what was last read: cheap enough for every row of a list. @param {string} conversation */
  peek(conversation) {
    return this.texts.get(conversation) ?? "";
  }

  /** @param {string} conversation @param {string} text */
  set(conversation, text) {
    this.#read();
    this.texts.delete(conversation);
    if (text.trim()) this.texts.set(conversation, text);
    while (this.texts.size > DRAFTS_MAX) this.texts.delete(/** @type {string} */ (this.texts.keys().next().value));
    try {
      this.storage?.setItem(this.key, JSON.stringify([...this.texts]));
    } catch {
      this.storage = null; // full or forbidden: from here on the map above is all there is
    }
  }

  /** Another tab may have written since. */
  #read() {
    try {
      const kept = JSON.parse(this.storage?.getItem(this.key) ?? "null");
      if (!Array.isArray(kept)) return;
      this.texts = new Map(
        kept.flatMap(([id, text]) => (typeof id === "string" && typeof text === "string" ? [[id, text]] : [])),
      );
    } catch {
      // What is not ours to read is left alone.
    }
  }
}
