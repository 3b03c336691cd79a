// @ts-check
/**
 * The topics of conversations as the inbox shows them: those that chatd knows, with what was asked for here and is not
 * confirmed yet.
 *
 * Promises: a wish is on the screen at once, gives way to what chatd says, and is taken back when chatd refuses it.
 * Touches no page.
 */

import { slugOf } from "./place.js";

/** @typedef {import("../wire.js").Topic} Topic */
/** @typedef {import("../state.js").Row} Row */

/** As many as chatd keeps of a conversation. */
export const TOPICS_MAX = 2;

export class Topics {
  /** What was asked for: by conversation, then by topic, whether it shall be there. @type {Map<string, Map<string, boolean>>} */
  #wished = new Map();

  /** @param {import("./inbox.js").Inbox} inbox */
  constructor(inbox) {
    this.inbox = inbox;
  }

  /** Whether whoever reads may change them. */
  get changeable() {
    return this.inbox.mayChat;
  }

  /** As they will be once what was asked for is confirmed, most recent first. @param {Row} row @returns {Topic[]} */
  of(row) {
    let topics = row.topics ?? [];
    for (const [topic, there] of this.#wished.get(row.id) ?? []) {
      const others = topics.filter((one) => one.topic !== topic);
      if (!there) topics = others;
      else if (!topics.some((one) => one.topic === topic && one.by)) {
        const { id, name } = this.inbox.state?.me ?? {};
        topics = fitting([{ topic, position: row.position, score: null, by: { kind: "staff", id, name } }, ...others]);
      }
    }
    return topics;
  }

  /** @param {Row} row @param {string} topic */
  has = (row, topic) => this.of(row).some((one) => one.topic === topic);

  /**
   * Adds or removes a topic. Telling of a removal, the toast can undo it.
   *
   * @param {string} id of the conversation
   * @param {string} topic
   * @param {boolean} there whether it shall be there
   */
  async set(id, topic, there) {
    const { inbox } = this;
    const { t } = inbox.words;
    const row = inbox.row(id);
    if (!row || !this.changeable) return;
    if (!there && this.has(row, topic)) {
      inbox.toast(t("toast.topic_removed", { topic: nameOfTopic(topic, t) }), {
        label: t("toast.undo"),
        run: () => this.set(id, topic, true),
      });
    }
    const wishes = this.#wished.get(id) ?? new Map();
    this.#wished.set(id, wishes.set(topic, there));
    inbox.changed("rows", "thread");
    try {
      await inbox.client.send(there ? "add_topic" : "remove_topic", { conversation: id, topic });
      // Its event may come after this. Where chatd had nothing to change, none comes.
      this.#confirm(id);
    } catch (/** @type {any} */ error) {
      if (wishes.get(topic) === there) wishes.delete(topic);
      const key = there ? "toast.topic_not_added" : "toast.topic_not_removed";
      inbox.toast(`${t(key)} ${inbox.words.error(error)}`, null, "danger");
    }
    inbox.changed("rows", "thread");
  }

  /** An event has been applied. @param {any} event */
  heard(event) {
    if (event.topics) this.#confirm(event.conversation);
  }

  /** Everything is loaded anew; what was asked for is sent again by the client, and comes as events. */
  forget() {
    this.#wished.clear();
  }

  /** Wishes that have come true are no wishes any more. @param {string} id */
  #confirm(id) {
    const wishes = this.#wished.get(id);
    const row = this.inbox.row(id);
    if (!wishes || !row) return;
    for (const [topic, there] of wishes) {
      if (row.topics.some((one) => one.topic === topic && (!there || one.by)) === there) wishes.delete(topic);
    }
    if (wishes.size === 0) this.#wished.delete(id);
  }
}

/** The rule of chatd: what staff have added first, then what is most recent. @param {Topic[]} topics */
function fitting(topics) {
  const kept = [...topics.filter((one) => one.by), ...topics.filter((one) => !one.by)].slice(0, TOPICS_MAX);
  return topics.filter((one) => kept.includes(one));
}

/** @param {string} topic @param {(key: string) => string} t */
export const nameOfTopic = (topic, t) => t(`topic.${slugOf(topic)}`);

/**
 * How it is known: how sure the classifier is, or who has set it. Never more than 99 %: certain is only a person.
 *
 * @param {Topic} topic @param {any} words @param {string | undefined} me
 */
export function originOf({ score, by }, words, me) {
  if (by) return by.id === me ? words.t("topics.set_by_you") : words.t("topics.set_by", { name: by.name });
  return words.t("topics.sure", { percent: words.percent(Math.min(Math.floor((score ?? 0) * 100) / 100, 0.99)) });
}
