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

export class Listing {
  /** @param {StaffState} state @param {(type: string, fields: object) => Promise<any>} ask */
  constructor(state, ask) {
    this.state = state;
    this.ask = ask;
    const numbers = [...state.rows.values()].map((row) => row.last?.number ?? Infinity);
    const frontier = state.before === null ? 0 : Math.min(Infinity, ...numbers);
    /** @type {Map<string, Reach>} */
    this.reaches = new Map(
      Object.keys(FILTERS).map((filter) => [
        filter,
        { frontier, before: null, known: false, loading: false, error: null },
      ]),
    );
  }

  /** @param {string} filter */
  reach(filter) {
    return /** @type {Reach} */ (this.reaches.get(filter));
  }

  /** Whether there is, or may be, more below. @param {string} filter */
  hasMore(filter) {
    const { known, before } = this.reach(filter);
    return !known || before !== null;
  }

  /**
   * The next page down. Resolves when it is there or has failed; `reach().error` tells. One at a time.
   *
   * @param {string} filter
   */
  async load(filter) {
    const reach = this.reach(filter);
    if (reach.loading || !this.hasMore(filter)) return;
    reach.loading = true;
    reach.error = null;
    try {
      const before = reach.known ? { before: reach.before } : {};
      const page = await this.ask("list_conversations", { ...FILTERS[filter], ...before });
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
   */
  ids(filter, stateOf, kept) {
    const { state: wanted, unread } = FILTERS[filter];
    const { frontier } = this.reach(filter);
    return orderedRows(this.state, (row) => {
      if (!row.last) return false; // begun, but nothing was said yet
      if (row.id === kept) return true;
      if (row.last.number < frontier) return false;
      return (!wanted || stateOf(row) === wanted) && (!unread || row.unread > 0);
    });
  }
}
