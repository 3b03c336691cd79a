// @ts-check
/**
 * How many conversations of the list have each topic, kept up to date by asking again.
 *
 * A page knows only the conversations that it has loaded, so chatd counts. However much happens, it is asked once in
 * `PAUSE_MS`, and the longer counting takes in a large shop, the more seldom.
 */

import { FILTERS } from "./listing.js";

export const PAUSE_MS = 2_000;
/** Of the time between two answers, counting may take up this part. */
const SHARE = 1 / 20;

/** What changes a count. */
const TELLING = new Set([
  "topics_found",
  "topic_added",
  "topic_removed",
  "conversation_opened",
  "conversation_closed",
  "conversation_read",
  "message_sent",
]);

export class TopicCounts {
  /** By topic; those of none are not in it. @type {Record<string, number>} */
  counts = {};
  #filter = "";
  #asking = false;
  #stale = false;
  #rested = true;

  /**
   * @param {(type: string, fields: object) => Promise<any>} ask
   * @param {() => void} changed
   * @param {(run: () => void, ms: number) => void} [later]
   * @param {() => number} [now]
   */
  constructor(ask, changed, later = setTimeout, now = () => performance.now()) {
    this.ask = ask;
    this.changed = changed;
    this.later = (/** @type {() => void} */ run, /** @type {number} */ ms) => void later(run, ms);
    this.now = now;
  }

  /** Count this list, from now on. @param {string} filter */
  show(filter) {
    if (filter !== this.#filter) this.#rested = true; // whoever looks at another list is not to wait
    this.#filter = filter;
    this.#want();
  }

  /** @param {any} event */
  heard(event) {
    if (TELLING.has(event.type) && this.#filter) this.#want();
  }

  #want() {
    this.#stale = true;
    if (this.#rested && !this.#asking) this.#count();
  }

  async #count() {
    const filter = this.#filter;
    const began = this.now();
    this.#stale = false;
    this.#asking = true;
    try {
      const { counts } = await this.ask("count_topics", { ...FILTERS[filter] });
      if (filter === this.#filter) {
        this.counts = counts;
        this.changed();
      }
    } catch {
      // Not connected, or too much was asked: the next event asks again.
    }
    this.#asking = false;
    if (filter !== this.#filter) return this.#count();
    this.#rested = false;
    this.later(() => this.#rest(), Math.max(PAUSE_MS, (this.now() - began) / SHARE));
  }

  #rest() {
    this.#rested = true;
    if (this.#stale && !this.#asking) this.#count();
  }
}
