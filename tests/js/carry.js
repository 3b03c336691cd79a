// @ts-check
/**
 * Carries snapshots on by events, for tests in Python: JSON on standard input, a list of
 * `{side, welcome, events: [{number, event}]}`; on standard output the list of the snapshots that result.
 */

import { text } from "node:stream/consumers";

import * as state from "../../static/state.js";

function customer({ welcome, events }) {
  const carried = state.customerState(welcome);
  for (const { number, event } of events) state.applyToCustomer(carried, number, event);
  const conversations = [...carried.conversations.values()].map(({ entries, ...rest }) => ({ ...rest, thread: entries }));
  return { number: carried.number, snapshot: { shop: carried.shop, customer: carried.customer, conversations } };
}

function staff({ welcome, events }) {
  const carried = state.staffState(welcome);
  for (const { number, event } of events) state.applyToStaff(carried, number, event);
  const { shop, me, colleagues, before, unread } = carried;
  const conversations = state.orderedRows(carried).map((id) => carried.rows.get(id));
  return { number: carried.number, snapshot: { shop, staff: me, colleagues, conversations, before, unread } };
}

const cases = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(cases.map((one) => ({ customer, staff })[one.side](one))));
