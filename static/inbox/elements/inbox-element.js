// @ts-check
/**
 * What the elements of the inbox have in common: the property `inbox` they draw from, and that everything they listen
 * to is let go of when they leave the page.
 *
 * A subclass names in `topics` which changes make it draw again, builds its parts once in `build`, and brings them up
 * to date in `draw`, which may be called at any time and as often as one likes.
 */

/** @typedef {import("../inbox.js").Inbox} Inbox */

export class InboxElement extends HTMLElement {
  /** @type {readonly string[]} */
  static topics = [];

  /** @type {Inbox} */
  // @ts-ignore set by whoever makes the element, before it is connected
  inbox;

  /** Ends when the element leaves the page. @type {AbortController} */
  life = new AbortController();

  #built = false;

  connectedCallback() {
    this.life = new AbortController();
    const { signal } = this.life;
    if (!this.#built) this.build();
    this.#built = true;
    const topics = /** @type {typeof InboxElement} */ (this.constructor).topics;
    this.inbox.addEventListener(
      "change",
      (/** @type {any} */ { detail }) => {
        if (topics.some((topic) => detail.has(topic))) this.draw();
      },
      { signal },
    );
    this.listen(signal);
    this.draw();
  }

  disconnectedCallback() {
    this.life.abort();
  }

  get words() {
    return this.inbox.words;
  }

  /** @param {string} key @param {Record<string, any>} [facts] @returns {string} */
  t(key, facts) {
    return this.inbox.words.t(key, facts);
  }

  /** Something to do is asked of whoever holds the elements together. @param {string} name @param {any} [detail] */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }

  build() {}

  /** @param {AbortSignal} _signal */
  listen(_signal) {}

  draw() {}
}
