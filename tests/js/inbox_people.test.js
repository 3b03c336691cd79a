// @ts-check
/** What customers are called in the inbox, and the stand-in for their picture. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { HUES, hueOf, initialsOf, nameOf, shortIdOf } from "../../static/inbox/people.js";

describe("initials", () => {
  test("are the first letters of the first and the last word", () => {
    assert.equal(initialsOf("Emma Sandberg"), "ES");
    assert.equal(initialsOf("  ana maria de la cruz "), "AC");
    assert.equal(initialsOf("Ólafur"), "Ó");
  });

  test("are one letter where capitals and spaces are not the custom", () => {
    assert.equal(initialsOf("王小明"), "王");
    assert.equal(initialsOf("محمد الأحمدي"), "م");
  });

  test("keep a letter with its marks whole, and pass over what is no letter", () => {
    assert.equal(initialsOf("e\u0301mile zola"), "E\u0301Z");
    assert.equal(initialsOf("<img src=x onerror=alert(1)>"), "IO");
    assert.equal(initialsOf("🎉 —"), "");
    assert.equal(initialsOf(""), "");
  });
});

describe("colours", () => {
  test("are the same for the same id, and all of them are used", () => {
    assert.equal(hueOf("cu-1"), hueOf("cu-1"));
    const seen = new Set(Array.from({ length: 400 }, (_, index) => hueOf(`customer-${index}`)));
    assert.equal(seen.size, HUES);
    for (const hue of seen) assert.ok(hue >= 0 && hue < HUES);
  });
});

describe("names", () => {
  const t = (/** @type {string} */ key, /** @type {any} */ facts) => `${key} ${facts.id}`;

  test("somebody nameless is told apart by the end of their id", () => {
    assert.equal(nameOf({ id: "cu-0000004f2a", name: "  " }, t), "person.visitor_named 4F2A");
    assert.equal(shortIdOf("a-b_c1"), "ABC1");
    assert.equal(shortIdOf("x"), "X");
  });

  test("a name that was given is used", () => assert.equal(nameOf({ id: "cu-1", name: "Mia" }, t), "Mia"));
});
