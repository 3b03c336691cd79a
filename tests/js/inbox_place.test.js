// @ts-check
/** The address of the inbox names the place one is at. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { addressOf, placeOf, samePlace, SECTIONS } from "../../static/inbox/place.js";
import { TOPICS } from "../../static/wire.js";

/** @param {string} address */
const at = (address) => placeOf(new URL(address, "https://chat.example"));

describe("an address", () => {
  test("that was written is read as the same place", () => {
    for (const section of SECTIONS) {
      for (const filter of section.filters) {
        for (const conversation of [null, "co-1", "A_b-9"]) {
          for (const topic of [null, ...TOPICS]) {
            const place = { section: section.id, filter: filter.id, topic, conversation };
            assert.deepEqual(at(addressOf(place)), place);
          }
        }
      }
    }
  });

  test("leaves out what is usual", () => {
    assert.equal(addressOf({ section: "messages", filter: "open", topic: null, conversation: null }), "/inbox");
    assert.equal(
      addressOf({ section: "messages", filter: "unread", topic: "Pricing/Discounts", conversation: "co-1" }),
      "/inbox/co-1?filter=unread&topic=pricing_discounts",
    );
  });

  test("that is bent leads to the nearest place, never to an error", () => {
    const start = { section: "messages", filter: "open", topic: null, conversation: null };
    for (const bent of [
      "/inbox/",
      "/inbox?filter=constructor",
      "/inbox?section=__proto__",
      "/inbox?topic=weather",
      "/inbox?topic=",
      "/inbox/%E0%A4%A",
      "/inbox/a b",
      "/elsewhere",
    ]) {
      assert.deepEqual(at(bent), start, bent);
    }
    assert.equal(at("/inbox/co-1/").conversation, "co-1");
    assert.equal(at(`/inbox/${"x".repeat(65)}`).conversation, null);
  });
});

test("places are the same when all of them is", () => {
  const place = at("/inbox/co-1");
  assert.ok(samePlace(place, { ...place }));
  assert.ok(!samePlace(place, { ...place, conversation: null }));
  assert.ok(!samePlace(place, { ...place, topic: "Shipping" }));
});
