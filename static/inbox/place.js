// @ts-check
/**
 * Where in the inbox one is, and the address that says so.
 *
 * Promises: reading an address that was written here gives the same place again; an address of any other shape gives
 * the nearest place that exists, never an error. Knows nothing of `window` or `history`.
 */

import { TOPICS } from "../wire.js";

/**
 * A section is a kind of correspondence, a filter narrows it. The pane and the keyboard are drawn from this list alone,
 * so a further section is one more entry here.
 *
 * @typedef {{id: string, icon: string, key: string, filters: {id: string, icon: string, key: string}[]}} Section
 * @type {readonly Section[]}
 */
export const SECTIONS = Object.freeze([
  {
    id: "messages",
    icon: "chats",
    key: "m",
    filters: [
      { id: "open", icon: "inbox", key: "o" },
      { id: "unread", icon: "unread", key: "u" },
      { id: "closed", icon: "closed", key: "c" },
    ],
  },
]);

/** @typedef {{section: string, filter: string, topic: string | null, conversation: string | null}} Place */

/** Topics as addresses and catalogues name them. */
const SLUGS = new Map(TOPICS.map((topic) => [slugOf(topic), topic]));

/** @param {string} topic */
export function slugOf(topic) {
  return topic.toLowerCase().replace(/[^a-z]+/g, "_");
}

const ID = /^[A-Za-z0-9_-]{1,64}$/;

/** @param {string} id */
export const sectionOf = (id) => SECTIONS.find((section) => section.id === id) ?? SECTIONS[0];

/**
 * @param {{pathname: string, search: string}} address
 * @returns {Place}
 */
export function placeOf({ pathname, search }) {
  const query = new URLSearchParams(search);
  const section = sectionOf(query.get("section") ?? "");
  const filter = section.filters.find(({ id }) => id === query.get("filter")) ?? section.filters[0];
  const named = /^\/inbox\/([^/]+)\/?$/.exec(pathname)?.[1] ?? "";
  const topic = SLUGS.get(query.get("topic") ?? "") ?? null;
  return { section: section.id, filter: filter.id, topic, conversation: ID.test(named) ? named : null };
}

/**
 * What is usual is left out, so that the address of a conversation is short enough to paste to a colleague.
 *
 * @param {Place} place
 */
export function addressOf({ section, filter, topic, conversation }) {
  const query = new URLSearchParams();
  if (section !== SECTIONS[0].id) query.set("section", section);
  if (filter !== sectionOf(section).filters[0].id) query.set("filter", filter);
  if (topic !== null) query.set("topic", slugOf(topic));
  const path = conversation === null ? "/inbox" : `/inbox/${encodeURIComponent(conversation)}`;
  return query.size ? `${path}?${query}` : path;
}

/** The login page that leads back to where one was. @param {string} path */
export const loginAddress = (path) => `/login?ended&next=${encodeURIComponent(path)}`;

/** @param {Place} a @param {Place} b */
export const samePlace = (a, b) =>
  a.section === b.section && a.filter === b.filter && a.topic === b.topic && a.conversation === b.conversation;
