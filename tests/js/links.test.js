// @ts-check
/** What of a message becomes a link. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { isEmojiOnly, segmentsOf } from "../../static/links.js";

const golden = JSON.parse(readFileSync(new URL("../golden/web_addresses.json", import.meta.url), "utf-8"));

/** @param {string} text */
const links = (text) =>
  segmentsOf(text)
    .filter((segment) => segment.href)
    .map((segment) => segment.text);

describe("links", () => {
  test("are found without the sentence around them", () => {
    assert.deepEqual(links("See https://shop.example/a, or (https://shop.example/b_(c))."), [
      "https://shop.example/a",
      "https://shop.example/b_(c)",
    ]);
    assert.deepEqual(links("“https://shop.example/?q=1”; https://shop.example/x!"), [
      "https://shop.example/?q=1",
      "https://shop.example/x",
    ]);
    assert.deepEqual(links("请看（https://shop.example/杯子）。"), ["https://shop.example/杯子"]);
  });

  test("are of http and https only", () => {
    for (const text of [
      "javascript:alert(1)",
      "data:text/html,x",
      "file:///etc/passwd",
      "https://",
      "http:// x",
      "//shop.example",
      "vbscript:x",
    ]) {
      assert.deepEqual(links(text), [], text);
    }
  });

  test("are those of the golden cases, as in a mail", () => {
    for (const { text, links: expected } of golden.cases) {
      const found = segmentsOf(text).filter((segment) => segment.href);
      assert.deepEqual(
        found.map((segment) => [segment.text, segment.href]),
        expected.map((/** @type {string[]} */ [words, href]) => [words, new URL(href).href]),
        text,
      );
    }
  });

  test("end where the direction of writing is turned, so that they cannot look like others", () => {
    assert.deepEqual(links("https://shop.example/\u202egnp.exe"), ["https://shop.example/"]);
  });

  test("say what is written, and nothing of the text is lost", () => {
    const texts = [
      "",
      "a",
      "https://a.example b https://b.example",
      "x".repeat(4000),
      "https://a.example/<b>",
      "\nhttps://a.example\n",
    ];
    for (const text of texts)
      assert.equal(
        segmentsOf(text)
          .map((segment) => segment.text)
          .join(""),
        text,
      );
  });

  test("are found in a long text of spaces or slashes at once", () => {
    const began = performance.now();
    for (const text of [
      " ".repeat(4000),
      "https://".repeat(500),
      `https://a.example/${"(".repeat(3900)}`,
      `https://a.example/${".".repeat(3900)}`,
    ])
      segmentsOf(text);
    assert.ok(performance.now() - began < 200);
  });
});

describe("emoji alone", () => {
  test("one to three are shown large", () => {
    for (const text of ["🎉", "🎉🎉🎉", "👩‍🍳 ❤️", "🇸🇪", "👍🏽"]) assert.ok(isEmojiOnly(text), text);
  });

  test("words, digits and crowds are not", () => {
    for (const text of ["", " ", "ok 👍", "123", "#", "🎉🎉🎉🎉", "1️"]) assert.ok(!isEmojiOnly(text), text);
  });
});
