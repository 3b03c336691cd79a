// @ts-check
/**
 * How far down each list of conversations is known.
 *
 * The state holds rows of every kind: those of the snapshot, those that events raised, those that were looked up by
 * address. A list may show only rows at or above the lowest row of a page that it was answered, its *frontier*: below
 * it there may be rows that are not loaded, and a list with a hole would lie.
 */

import { mergeRows, orderedRows } from "../state.js";

/**
 * @typedef {{frontier: number, before: string | null, known: boolean, loading: boolean, error: any}} Reach
 * @typedef {import("../state.js").StaffState} StaffState
 * @typedef {import("../state.js").Row} Row
 */

/** What each filter asks chatd for. @type {Record<string, {state?: "open" | "closed", unread?: boolean}>} */
export const FILTERS = Object.freeze({
  open: { state: "open" },
  unread: { unread: true },
  closed: { state: "closed" },
});

/** @param {string} filter @param {string | null} topic */
const keyOf = (filter, topic) => (topic === null ? filter : `${filter} ${topic}`);

export class Listing {
  /** @param {StaffState} state @param {(type: string, fields: object) => Promise<any>} ask */
  constructor(state, ask) {
    this.state = state;
    this.ask = ask;
    const numbers = [...state.rows.values()].map((row) => row.last?.number ?? Infinity);
    /** Down to here the snapshot has told of every list. */
    this.frontier = state.before === null ? 0 : Math.min(Infinity, ...numbers);
    /** @type {Map<string, Reach>} */
    this.reaches = new Map();
  }

  /** @param {string} filter @param {string | null} [topic] @returns {Reach} */
  reach(filter, topic = null) {
    const key = keyOf(filter, topic);
    let reach = this.reaches.get(key);
    if (!reach) {
      reach = { frontier: this.frontier, before: null, known: false, loading: false, error: null };
      this.reaches.set(key, reach);
    }
    return reach;
  }

  /** Whether there is, or may be, more below. @param {string} filter @param {string | null} [topic] */
  hasMore(filter, topic = null) {
    const { known, before } = this.reach(filter, topic);
    return !known || before !== null;
  }

  /** Whether every conversation there is has been loaded. */
  get complete() {
    return this.frontier === 0 || ["open", "closed"].every((filter) => !this.hasMore(filter));
  }

  /**
   * The next page down. Resolves when it is there or has failed; `reach().error` tells. One at a time.
   *
   * @param {string} filter
   * @param {string | null} [topic]
   */
  async load(filter, topic = null) {
    const reach = this.reach(filter, topic);
    if (reach.loading || !this.hasMore(filter, topic)) return;
    reach.loading = true;
    reach.error = null;
    try {
      const before = reach.known ? { before: reach.before } : {};
      const narrowed = topic === null ? {} : { topic };
      const page = await this.ask("list_conversations", { ...FILTERS[filter], ...narrowed, ...before });
      mergeRows(this.state, page);
      const lowest = page.conversations.at(-1)?.last?.number;
      reach.known = true;
      reach.before = page.before ?? null;
      reach.frontier = reach.before === null ? 0 : Math.min(lowest ?? reach.frontier, reach.frontier);
    } catch (error) {
      reach.error = error;
    }
    reach.loading = false;
  }

  /**
   * The ids to show, newest first.
   *
   * @param {string} filter
   * @param {(row: Row) => "open" | "closed"} stateOf
   * @param {string | null} kept a conversation that stays although it no longer fits, because somebody is at it
   * @param {string | null} [topic]
   * @param {(row: Row) => {topic: string}[]} [topicsOf]
   */
  ids(filter, stateOf, kept, topic = null, topicsOf = (row) => row.topics) {
    const { state: wanted, unread } = FILTERS[filter];
    const { frontier } = this.reach(filter, topic);
    return orderedRows(this.state, (row) => {
      if (!row.last) return false; // begun, but nothing was said yet
      if (row.id === kept) return true;
      if (row.last.number < frontier) return false;
      if (topic !== null && !topicsOf(row).some((one) => one.topic === topic)) return false;
      return (!wanted || stateOf(row) === wanted) && (!unread || row.unread > 0);
    });
  }
}
