// @ts-check
/**
 * What the palette offers, and how it finds it.
 */

import { nameOf } from "./people.js";
import { SECTIONS } from "./place.js";
import { nameOfTopic } from "./topics.js";
import { LANGUAGES } from "./words.js";
import { TOPICS } from "../wire.js";

/**
 * @typedef {{id: string, group: string, label: string, aside?: string, icon?: string, person?: any, run: () => void,
 *   words: string}} Choice
 *   `words`: what it is found by besides its label
 */

/**
 * @param {import("./inbox.js").Inbox} inbox
 * @param {(act: string) => void} act does what the keyboard would
 * @returns {Choice[]}
 */
export function choicesOf(inbox, act) {
  const {
    settings,
    words: { t },
  } = inbox;
  const row = inbox.openRow;
  /** @type {Choice[]} */
  const choices = [];
  const add = (
    /** @type {string} */ group,
    /** @type {string} */ id,
    /** @type {string} */ icon,
    /** @type {string} */ label,
    /** @type {() => void} */ run,
    words = "",
    aside = "",
  ) => choices.push({ id, group, icon, label, run, words, aside });

  if (row && inbox.mayChat) {
    const open = inbox.stateOf(row) === "open";
    add(
      "conversation",
      "state",
      open ? "closed" : "reopen",
      t(open ? "palette.close" : "palette.open"),
      () => act("toggle_state"),
      "close open",
      nameOf(row.customer, t),
    );
    add("conversation", "reply", "reply", t("palette.reply"), () => act("reply"), "reply");
    if (inbox.topics.changeable)
      add("conversation", "topics", "tag", t("palette.topics"), () => act("topics"), "topic label tag");
  }
  for (const section of SECTIONS) {
    for (const filter of section.filters) {
      add(
        "go",
        `filter ${filter.id}`,
        filter.icon,
        t("palette.filter", { filter: t(`filters.${filter.id}`) }),
        () => inbox.go({ section: section.id, filter: filter.id }),
        filter.id,
      );
    }
  }
  for (const topic of inbox.place.topic === null ? TOPICS : [null, ...TOPICS]) {
    if (topic === inbox.place.topic) continue;
    const filter = topic === null ? t("topics.all") : nameOfTopic(topic, t);
    add("go", `topic ${topic}`, "tag", t("palette.filter", { filter }), () => inbox.go({ topic }), topic ?? "topic");
  }
  for (const row of inbox.state?.rows.values() ?? []) {
    if (!row.last) continue;
    choices.push({
      id: row.id,
      group: "conversations",
      label: nameOf(row.customer, t),
      aside: row.last.text,
      person: row.customer,
      run: () => inbox.go({ conversation: row.id }),
      words: row.customer.email ?? "",
    });
  }
  for (const theme of ["system", "light", "dark"]) {
    if (settings.get("theme") === theme) continue;
    add(
      "settings",
      `theme ${theme}`,
      theme === "light" ? "sun" : theme === "dark" ? "moon" : "system",
      t("palette.theme", { theme: t(`theme.${theme}`) }),
      () => settings.set("theme", theme),
      `theme ${theme}`,
    );
  }
  const enter = settings.get("enter_sends") === "yes";
  add(
    "settings",
    "enter",
    "send",
    t(enter ? "palette.enter_breaks" : "palette.enter_sends"),
    () => settings.set("enter_sends", enter ? "no" : "yes"),
    "enter",
  );
  const sound = settings.get("sound") === "on";
  add(
    "settings",
    "sound",
    sound ? "bell-off" : "bell",
    t(sound ? "palette.sound_off" : "palette.sound_on"),
    () => settings.set("sound", sound ? "off" : "on"),
    "sound mute",
  );
  for (const [tag, name] of Object.entries(LANGUAGES)) {
    if (tag !== inbox.words.language)
      add(
        "settings",
        `language ${tag}`,
        "globe",
        t("palette.language", { language: name }),
        () => settings.set("locale", tag),
        "language",
      );
  }
  add("help", "keys", "keyboard", t("keys.title"), () => act("keys"), "keyboard shortcuts help");
  add("help", "log out", "leave", t("log_out"), () => act("log_out"), "log out sign out logout");
  return choices;
}

/** Letters without their marks and capitals, so that "muller" finds "Müller". @param {string} text */
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/**
 * Those whose label or words hold every word of the query; the ones whose label begins with it first, then in their
 * order. Without a query: everything, but of the conversations only the newest few.
 *
 * @param {readonly Choice[]} choices @param {string} query @param {number} [conversationsMax]
 * @returns {Choice[]}
 */
export function findChoices(choices, query, conversationsMax = 6) {
  const wanted = plain(query).split(/\s+/).filter(Boolean);
  const ranked = choices.flatMap((choice) => {
    const label = plain(choice.label);
    const all = `${label} ${plain(choice.words)}`;
    if (!wanted.every((word) => all.includes(word))) return [];
    const first = wanted[0] ?? "";
    return [{ choice, rank: first === "" ? 0 : label.startsWith(first) ? 0 : label.includes(` ${first}`) ? 1 : 2 }];
  });
  ranked.sort((a, b) => a.rank - b.rank);
  let conversations = 0;
  const kept = ranked
    .map(({ choice }) => choice)
    .filter(
      ({ group }) => group !== "conversations" || (conversations += 1) <= (wanted.length ? 20 : conversationsMax),
    );
  // Groups stay together, in the order in which their best hit came.
  const groups = [...new Set(kept.map(({ group }) => group))];
  return groups.flatMap((group) => kept.filter((choice) => choice.group === group));
}
