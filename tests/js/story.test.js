// @ts-check
/** The story that `tests/test_snapshots.py` tells from a real store, applied event by event by `static/state.js`: from any
 * chapter on, the events lead to the snapshot of any later one. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { applyToCustomer, applyToStaff, customerState, staffState } from "../../static/state.js";

const story = JSON.parse(readFileSync(new URL("../golden/story.json", import.meta.url), "utf8"));

/** @param {any} side */
function welcome({ number, epoch, state }) {
  return structuredClone({ number, epoch, you: {}, limits: {}, online: [], shop_online: true, snapshot: state });
}

/** What both ways must agree on. @param {any} state */
const ofStaff = (state) => ({
  number: state.number,
  unread: state.unread,
  rows: [...state.rows.values()].sort((one, other) => other.last.number - one.last.number),
});

/** @param {any} state */
const ofCustomer = (state) => ({
  number: state.number,
  unread: state.unread,
  customer: state.customer,
  conversations: [...state.conversations.values()],
});

for (const [side, fresh, apply, view] of /** @type {any[]} */ ([
  ["staff", staffState, applyToStaff, ofStaff],
  ["customer", customerState, applyToCustomer, ofCustomer],
])) {
  for (const [begin, chapter] of story.chapters.entries()) {
    test(`${side}: from "${chapter.name}" on, every later snapshot is reached`, () => {
      const state = fresh(welcome(chapter[side]));
      for (const later of story.chapters.slice(begin + 1)) {
        for (const { number, event } of story[`${side}_events`]) {
          if (number > state.number && number <= later[side].number) apply(state, number, structuredClone(event));
        }
        assert.deepEqual(view(state), view(fresh(welcome(later[side]))), `up to "${later.name}"`);
      }
    });
  }
}
