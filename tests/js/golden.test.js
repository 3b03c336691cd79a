// @ts-check
/** The golden frames, on the browser's side; `tests/test_golden.py` holds the server to the same file. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { applySignal } from "../../static/signals.js";
import * as state from "../../static/state.js";
import { COMMANDS, EVENTS, QUERIES, SIGNALS } from "../../static/wire.js";
import { FakeTab, settle } from "./fake_browser.js";

const golden = JSON.parse(readFileSync(new URL("../golden/frames.json", import.meta.url), "utf8"));
const copy = structuredClone;

/** The same with a field more in every object, as a later version might have it. */
const later = (value) => {
  if (Array.isArray(value)) return value.map(later);
  if (value === null || typeof value !== "object") return value;
  return {
    ...Object.fromEntries(Object.entries(value).map(([name, one]) => [name, later(one)])),
    from_the_future: [1],
  };
};

const welcome = (snapshot) => ({ type: "welcome", version: 1, epoch: "e1", number: 0, resumed: false, snapshot });
const SIDES = {
  customer: {
    make: () => {
      const person = { id: "v_1", kind: "visitor", name: "", email: "", verified: false };
      return state.customerState(welcome({ shop: {}, customer: person, conversations: [] }));
    },
    apply: state.applyToCustomer,
  },
  staff: {
    make: () => {
      const snapshot = { shop: {}, staff: { id: "s_1" }, colleagues: [], conversations: [], before: null, unread: 0 };
      return state.staffState({ ...welcome(snapshot), online: [] });
    },
    apply: state.applyToStaff,
  },
};

for (const [side, { make, apply }] of Object.entries(SIDES)) {
  for (const [version, dress] of /** @type {[string, (frame: any) => any][]} */ ([
    ["this version", copy],
    ["a later version", later],
  ])) {
    test(`what chatd of ${version} says to ${side} changes what it should`, () => {
      const carried = /** @type {any} */ (make());
      for (const { name, frame, ...expected } of golden.server) {
        if (!(side in expected)) continue;
        const said = dress(frame);
        const change =
          frame.type === "event"
            ? /** @type {any} */ (apply)(carried, said.number, said.event)
            : applySignal(carried, said, 0);
        assert.equal(change.kind, expected[side], name);
        if (frame.type === "event") assert.equal(carried.number, frame.number, name);
      }
    });
  }
}

test("after all of it staff know how things stand", () => {
  const carried = SIDES.staff.make();
  for (const { frame } of golden.server) {
    if (frame.type === "event") state.applyToStaff(carried, frame.number, copy(frame.event));
    if (frame.number === 1) {
      const result = { conversation: carried.rows.get("k_1"), thread: [], more: false, mails: [], cart: null };
      state.mergeRows(carried, result);
    }
  }
  const row = /** @type {any} */ (carried.rows.get("k_1"));
  const thread = /** @type {any} */ (carried.threads.get("k_1"));
  assert.deepEqual([row.state, row.unread, row.customer.name, row.last.text], ["open", 0, "Mia", "Hi"]);
  assert.deepEqual(row.topics, [], "found, and taken away again");
  assert.deepEqual(
    thread.entries.map((entry) => entry.number),
    [2, 6, 7, 8, 9, 10, 11, 17, 18],
  );
  assert.deepEqual(
    thread.mails.map((mail) => [mail.mail, mail.state]),
    [
      ["x_1", "sent"],
      ["x_2", "withdrawn"],
    ],
  );
  assert.equal(thread.cart.cart.subtotal, 12900);
  assert.equal(carried.unread, 0);
});

test("client.js hands on what is for the page and survives the rest", async () => {
  const tab = new FakeTab();
  const socket = await tab.connected();
  for (const { frame } of golden.server) await socket.tell(later(frame));
  assert.deepEqual(
    tab.numbers,
    golden.server.filter(({ frame }) => frame.type === "event").map(({ frame }) => frame.number),
  );
  assert.equal(tab.heard("signal").length, golden.server.filter(({ frame }) => frame.type === "signal").length);
  assert.equal(tab.client.status, "open");
});

describe("client.js makes the frames that chatd takes", () => {
  for (const { name, frame } of golden.client.filter((one) => one.accepted)) {
    test(name, async () => {
      const tab = new FakeTab();
      const socket = await tab.connected();
      socket.take();
      const { type, id, ...fields } = frame;
      if (Object.hasOwn(COMMANDS, type)) tab.client.send(type, fields);
      if (Object.hasOwn(QUERIES, type)) tab.client.ask(type, fields).catch(() => {});
      if (Object.hasOwn(SIGNALS, type)) tab.client.signal(type, fields);
      await settle();
      const [made] = socket.take();
      if (id) assert.match(made.id, /^[A-Za-z0-9_-]{8,64}$/);
      assert.deepEqual({ ...made, id }, { ...frame, id });
      tab.client.close();
    });
  }

  for (const { name, frame } of golden.hello.filter((one) => one.accepted)) {
    test(`hello: ${name}`, async () => {
      const { type, version, resume, ...fields } = frame;
      const tab = new FakeTab({ hello: () => fields });
      if (resume) {
        await tab.connected({ epoch: resume.epoch, number: resume.number });
        await tab.socket.end();
        await tab.clock.advance(30_000);
      } else {
        tab.client.connect();
        await settle();
      }
      await tab.socket.open();
      assert.deepEqual(tab.socket.take()[0], frame);
      assert.deepEqual([type, version], ["hello", 1]);
    });
  }
});

test("every event that the code knows is among the golden ones", () => {
  const said = new Set(golden.server.map(({ frame }) => frame.event?.type));
  for (const type of Object.keys(EVENTS)) assert.ok(said.has(type), type);
});
