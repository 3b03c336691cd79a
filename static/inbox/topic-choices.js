// @ts-check
/** What a menu of topics offers: those of one conversation to add and remove, or those that the list can be narrowed to. */

import { TOPICS } from "../wire.js";
import { nameOfTopic, originOf } from "./topics.js";

/** Stands for no narrowing. */
export const ALL = "";

/**
 * @param {import("./inbox.js").Inbox} inbox
 * @param {import("../state.js").Row} row
 */
export function topicsToSet(inbox, row) {
  const { words, state, topics } = inbox;
  const known = topics.of(row);
  return {
    label: words.t("topics.of_conversation"),
    role: /** @type {const} */ ("menuitemcheckbox"),
    choices: TOPICS.map((topic) => {
      const found = known.find((one) => one.topic === topic);
      return {
        key: topic,
        words: nameOfTopic(topic, words.t),
        on: found !== undefined,
        said: found && originOf(found, words, state?.me.id),
      };
    }),
    choose: (/** @type {string} */ topic) => topics.set(row.id, topic, !topics.has(row, topic)),
  };
}

/** @param {import("./inbox.js").Inbox} inbox */
export function topicsToNarrow(inbox) {
  const { words, place, topicCounts } = inbox;
  return {
    label: words.t("topics.narrow"),
    role: /** @type {const} */ ("menuitemradio"),
    choices: [
      { key: ALL, words: words.t("topics.all"), on: place.topic === null },
      ...TOPICS.map((topic) => {
        const count = topicCounts.counts[topic] ?? 0;
        return {
          key: topic,
          words: nameOfTopic(topic, words.t),
          on: place.topic === topic,
          aside: count ? words.number(count) : "",
          said: words.t("topics.count", { count }),
        };
      }),
    ],
    choose: (/** @type {string} */ topic) => inbox.go({ topic: topic === ALL ? null : topic }),
  };
}
