// @ts-check
/** The inbox in its seven languages. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { LANGUAGES, loadWords, makeWords } from "../../static/inbox/words.js";

const INBOX = fileURLToPath(new URL("../../static/inbox/", import.meta.url));
/** @type {Record<string, Record<string, any>>} */
const CATALOGUES = {};
for (const language of Object.keys(LANGUAGES))
  CATALOGUES[language] = (await import(`../../static/inbox/locales/${language}.js`)).default;

const forms = (/** @type {any} */ text) => (typeof text === "string" ? [text] : Object.values(text));
const placeholders = (/** @type {string} */ text) =>
  [...text.matchAll(/\{(\w+)\}/g)]
    .map(([, name]) => name)
    .sort()
    .join();

for (const [language, catalogue] of Object.entries(CATALOGUES)) {
  describe(language, () => {
    test("says everything that English says", () =>
      assert.deepEqual(Object.keys(catalogue), Object.keys(CATALOGUES.en)));

    test("names the same facts", () => {
      for (const [key, text] of Object.entries(catalogue)) {
        const wanted = placeholders(forms(CATALOGUES.en[key]).at(-1));
        for (const form of forms(text)) {
          // A form for exactly one may leave the number out.
          const given = placeholders(form);
          assert.ok(
            given === wanted || (typeof text !== "string" && form === text.one && wanted === "count" && given === ""),
            `${key}: ${form}`,
          );
        }
      }
    });

    test("has a form for every number", () => {
      const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
      for (const [key, text] of Object.entries(catalogue)) {
        if (typeof text === "string") continue;
        assert.ok("other" in text, key);
        for (const form of Object.keys(text))
          assert.ok(
            categories.includes(/** @type {any} */ (form)),
            `${key} has a form "${form}" that ${language} does not know`,
          );
      }
    });

    test("is not English left as it was", () => {
      if (language === "en") return;
      const same = Object.keys(catalogue).filter(
        (key) => forms(catalogue[key]).at(-1) === forms(CATALOGUES.en[key]).at(-1),
      );
      assert.ok(same.length < 22, same.join(", "));
    });
  });
}

test("every text that an element asks for is there, and every text is asked for", () => {
  const source = ["", "elements/"]
    .flatMap((folder) =>
      readdirSync(INBOX + folder)
        .filter((name) => name.endsWith(".js"))
        .map((name) => readFileSync(INBOX + folder + name, "utf8")),
    )
    .join("\n");
  const asked = [
    ...source.matchAll(/\bt\(\s*"([a-z_.]+)"|\? "([a-z_]+(?:\.[a-z_]+)*)"|: "([a-z_]+(?:\.[a-z_]+)*)"/g),
  ].map(([, direct, one, other]) => direct ?? one ?? other);
  const kinds = new Set(Object.keys(CATALOGUES.en).map((key) => key.split(".")[0]));
  for (const key of asked.filter((word) => word?.includes(".") && kinds.has(word.split(".")[0])))
    assert.ok(key in CATALOGUES.en, key);
  const begun = [...source.matchAll(/`([a-z_]+\.(?:[a-z_]+\.)*)\$\{/g)].map(([, start]) => start);
  for (const key of Object.keys(CATALOGUES.en)) {
    assert.ok(
      source.includes(`"${key}"`) ||
        begun.some((start) => key.startsWith(start)) ||
        /^event\.(closed|opened)\.|^empty\./.test(key),
      `${key} is never asked for`,
    );
  }
});

test("the language is the one that was set, else the browser's, else English", async () => {
  const shop = { name: "Shop", colour: "" };
  assert.equal((await loadWords({ chosen: "sv", wanted: ["de-AT"], shop })).language, "sv");
  const austrian = await loadWords({ chosen: "", wanted: ["de-AT", "en"], shop });
  assert.deepEqual([austrian.language, austrian.locale], ["de", "de-AT"]);
  assert.equal((await loadWords({ chosen: "", wanted: ["eu"], shop })).language, "en");
});

describe("times", () => {
  const words = makeWords(CATALOGUES.en, "en", "en-GB", { name: "Shop", colour: "" });
  const now = new Date(2025, 10, 22, 15, 0).getTime(); // a Saturday
  const at = (/** @type {number} */ days, hour = 9) => new Date(2025, 10, 22 - days, hour, 5).getTime();

  test("of rows: today the time, then yesterday, the weekday, the date", () => {
    assert.equal(words.rowTime(at(0), now), "09:05".replace(/^0/, words.time(at(0)).startsWith("0") ? "0" : ""));
    assert.equal(words.rowTime(at(1, 23), now), "Yesterday");
    assert.equal(words.rowTime(at(3), now), "Wed");
    assert.equal(words.rowTime(at(30), now), "23 Oct");
    assert.equal(words.rowTime(new Date(2023, 1, 3).getTime(), now), "3 Feb 2023");
  });

  test("within a sentence: with the day, when it was not today", () => {
    assert.equal(words.moment(at(0), now), words.time(at(0)));
    assert.equal(words.moment(at(1), now), `yesterday, ${words.time(at(1))}`);
  });
});

test("a refusal is told in words, also one that this page does not know", () => {
  const words = makeWords(CATALOGUES.en, "en", "en", { name: "", colour: "" });
  assert.equal(words.error({ code: "too_large" }), "It is too long.");
  for (const odd of [{ code: "constructor" }, { code: undefined }, null])
    assert.equal(words.error(odd), "Something went wrong.");
});

test("the command key is that of the keyboard", () => {
  const shop = { name: "", colour: "" };
  const said = (/** @type {any} */ words) => words.t("empty.no_selection.text", { command: words.command });
  assert.match(said(makeWords(CATALOGUES.en, "en", "en", shop)), / Ctrl\+K /);
  assert.match(said(makeWords(CATALOGUES.de, "de", "de", shop)), / Strg\+K /);
  assert.match(said(makeWords(CATALOGUES.en, "en", "en", shop, undefined, true)), / ⌘K /);
});
