// @ts-check
/**
 * The inbox without its face: what is shown, where one is in it, and everything that can be done.
 *
 * Elements read from here and call its methods; they hear of changes by one "change" event, whose detail is the set of
 * what changed: "rows", "thread", "place", "status", "ticks", "counts". Further events: "navigate" (the address should follow),
 * "message" (a customer has said something), "toast" (something to tell, perhaps to undo). Touches no page.
 */

import { applySignal, TYPING_MS } from "../signals.js";
import {
  applyToStaff,
  applyWelcome,
  mergeHistory,
  mergeRows,
  staffState,
  threadOf,
} from "../state.js";
import { Listing } from "./listing.js";
import { samePlace, sectionOf } from "./place.js";
import { SeenMarks } from "./seen-marks.js";
import { firstUnread } from "./thread-items.js";
import { TopicCounts } from "./topic-counts.js";
import { Topics } from "./topics.js";

/** @typedef {import("./place.js").Place} Place */
/** @typedef {import("../state.js").Row} Row */

/** Repeated this often while somebody writes; the other side shows it for eight seconds. */
const TYPING_REPEAT_MS = 4_000;
const HISTORY_PAGE = 50;
/** A short break is nobody's business; most are over before this. */
const PATIENCE_MS = 1_200;
/** @type {Record<string, "open" | "closed">} */
const STATES = { conversation_closed: "closed", conversation_opened: "open" };

export class Inbox extends EventTarget {
  /**
   * @param {object} parts
   * @param {any} parts.client
   * @param {any} parts.words the translator and the formatters, see words.js
   * @param {import("./settings.js").Settings} parts.settings
   * @param {import("./drafts.js").Drafts} parts.drafts
   * @param {Place} parts.place
   * @param {(run: () => void) => void} parts.schedule when to tell of changes that come together
   */
  constructor({ client, words, settings, drafts, place, schedule }) {
    super();
    this.client = client;
    this.words = words;
    this.settings = settings;
    this.drafts = drafts;
    this.place = place;
    this.schedule = schedule;
    /** @type {import("../state.js").StaffState | null} */
    this.state = null;
    /** @type {Listing | null} */
    this.listing = null;
    /** @type {Set<string>} */
    this.ticked = new Set();
    /** Closed or opened here and not yet confirmed. @type {Map<string, "open" | "closed">} */
    this.wished = new Map();
    /** Stays in the list while it is open, although it was read or closed meanwhile. @type {string | null} */
    this.kept = null;
    /**
     * What the thread pane knows besides the thread.
     *
     * @type {{id: string | null, newFrom: number | null, loading: boolean, loadingOlder: boolean, error: any}}
     */
    this.opened = { id: null, newFrom: null, loading: false, loadingOlder: false, error: null };
    /** Whether somebody looks at the end of the open thread; the thread pane tells. */
    this.attended = false;
    /** False once the connection has been away for longer than a moment: then nobody knows who is online. */
    this.connected = true;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.patience = undefined;
    this.typingSince = 0;
    this.sawIncoming = 0;
    this.topics = new Topics(this);
    this.topicCounts = new TopicCounts(
      (type, fields) => client.ask(type, fields),
      () => this.changed("counts"),
    );
    this.seen = new SeenMarks((mark) => client.send("mark_seen", mark));
    /** @type {Set<string>} */
    this.changes = new Set();

    client.addEventListener("welcome", (/** @type {any} */ { detail }) => this.#welcome(detail));
    client.addEventListener("event", (/** @type {any} */ { detail }) => this.#event(detail));
    client.addEventListener("signal", (/** @type {any} */ { detail }) => this.#signal(detail));
    client.addEventListener("status", () => this.#status());
    client.addEventListener("pending", () => this.changed("thread", "rows"));
  }

  /** @param {...string} what */
  changed(...what) {
    if (this.changes.size === 0) {
      this.schedule(() => {
        const detail = this.changes;
        this.changes = new Set();
        this.dispatchEvent(new CustomEvent("change", { detail }));
      });
    }
    for (const one of what) this.changes.add(one);
  }

  // ---------------------------------------------------------------- what comes in

  #status() {
    const { status } = this.client;
    this.changed("status");
    if (status === "open") this.#connected(true);
    else if (status === "offline" || status === "ended") this.#connected(false);
    else if (this.connected) this.patience ??= setTimeout(() => this.#connected(false), PATIENCE_MS);
  }

  /** @param {boolean} connected */
  #connected(connected) {
    clearTimeout(this.patience);
    this.patience = undefined;
    if (connected === this.connected) return;
    this.connected = connected;
    this.changed("status", "rows", "thread");
  }

  /** @param {any} welcome */
  #welcome(welcome) {
    if (welcome.resumed && this.state) {
      applyWelcome(this.state, welcome);
    } else {
      this.state = staffState(welcome);
      this.listing = new Listing(this.state, (type, fields) => this.client.ask(type, fields));
      this.wished.clear();
      this.topics.forget();
      this.sawIncoming = 0;
      this.opened.id = null;
      this.loadRows();
      this.#open();
    }
    this.topicCounts.show(this.place.filter);
    this.changed("rows", "thread", "place", "status");
  }

  /** @param {{number: number, event: any}} told */
  #event({ number, event }) {
    if (!this.state) return;
    const change = applyToStaff(this.state, number, event);
    // Only the wish that came true: a quick undo has its own event still to come.
    if (this.wished.get(event.conversation) === STATES[event.type]) this.wished.delete(event.conversation);
    if (event.type === "message_sent" && event.message.author.kind === "customer") {
      if (event.conversation === this.opened.id && !this.attended) this.#drawLine(event.message);
      this.dispatchEvent(new CustomEvent("message", { detail: event }));
    }
    this.topics.heard(event);
    this.topicCounts.heard(event);
    if (change.missing) this.#look(/** @type {string} */ (change.conversation));
    this.changed("rows");
    if (event.conversation === this.opened.id) this.changed("thread");
  }

  /**
   * A message has come to the open thread while nobody looked at its end. The *New* line stands before the first of those
   * that are unread: it moves only when everything before this one was seen.
   *
   * @param {any} message
   */
  #drawLine({ position, incoming }) {
    const seen = Math.max(this.openRow?.incoming_seen ?? 0, this.sawIncoming);
    if (this.opened.newFrom === null || incoming - seen <= 1) this.opened.newFrom = position;
  }

  /** @param {any} signal */
  #signal(signal) {
    if (!this.state) return;
    const { kind } = applySignal(this.state, signal);
    if (kind === "none") return;
    this.changed("rows", "thread");
    if (kind === "typing") setTimeout(() => this.changed("rows", "thread"), TYPING_MS + 50);
  }

  /** Fetches a conversation that events tell of and that is not loaded. @param {string} id */
  async #look(id) {
    try {
      mergeRows(/** @type {any} */ (this.state), await this.client.ask("load_conversation", { conversation: id }));
      this.changed("rows");
    } catch {
      // It stands in the list after the next page or snapshot.
    }
  }

  // ---------------------------------------------------------------- what is to be seen

  /** @param {string | null} id @returns {Row | null} */
  row(id) {
    return (id !== null && this.state?.rows.get(id)) || null;
  }

  /** Open or closed, as it will be once what was asked for is confirmed. @param {Row} row */
  stateOf(row) {
    return this.wished.get(row.id) ?? row.state;
  }

  /** The ids of the list that is shown, newest first. */
  listed() {
    const { filter, topic } = this.place;
    const topicsOf = (/** @type {Row} */ row) => this.topics.of(row);
    return this.listing?.ids(filter, (row) => this.stateOf(row), this.kept, topic, topicsOf) ?? [];
  }

  /** Whether whoever is logged in may answer, close and label; others read. chatd holds them to it in any case. */
  get mayChat() {
    return this.state?.me.permissions?.includes("chat") ?? false;
  }

  get openRow() {
    return this.row(this.opened.id);
  }

  get openThread() {
    return (this.opened.id !== null && this.state?.threads.get(this.opened.id)) || null;
  }

  /** The lines of the open thread, with what has not been confirmed at the end. */
  openEntries() {
    return threadOf(this.openThread ?? /** @type {any} */ ({ id: this.opened.id, entries: [] }), this.client.pending);
  }

  /** @param {string} id */
  isOnline(id) {
    return this.connected && (this.state?.online.has(id) ?? false);
  }

  /** Whether a customer has their thread open by the link of a mail, without being at the shop. @param {string} id */
  isReading(id) {
    return this.connected && !this.isOnline(id) && (this.state?.reading.has(id) ?? false);
  }

  // ---------------------------------------------------------------- going about

  /** @param {Partial<Place>} to @param {{replace?: boolean, silent?: boolean}} [how] */
  go(to, how = {}) {
    const place = { ...this.place, ...to };
    if (samePlace(place, this.place)) return;
    const listChanges = !samePlace({ ...place, conversation: null }, { ...this.place, conversation: null });
    const wasListed = place.conversation !== null && !listChanges && this.listed().includes(place.conversation);
    const leaves = place.conversation !== this.place.conversation;
    this.place = place;
    if (listChanges) {
      this.topicCounts.show(place.filter);
      this.clearTicks();
      this.kept = null;
      this.loadRows();
    }
    if (leaves) {
      this.stopTyping();
      this.kept = wasListed ? place.conversation : null;
      this.#open();
    }
    if (!how.silent) this.dispatchEvent(new CustomEvent("navigate", { detail: { replace: how.replace ?? false } }));
    this.changed("place", "rows", "thread");
  }

  /** @param {string} filter */
  showFilter(filter) {
    if (sectionOf(this.place.section).filters.some(({ id }) => id === filter)) this.go({ filter });
  }

  async #open() {
    const id = this.place.conversation;
    if (!this.state || this.opened.id === id) return;
    const opened = (this.opened = { id, newFrom: null, loading: id !== null, loadingOlder: false, error: null });
    this.attended = false;
    this.seen.flush();
    this.sawIncoming = 0;
    if (id === null) return;
    const wasListed = this.listed().includes(id);
    try {
      if (!this.state.threads.has(id)) {
        const found = await this.client.ask("load_conversation", { conversation: id });
        mergeRows(this.state, found);
      }
    } catch (/** @type {any} */ error) {
      opened.error = error;
    }
    if (this.opened !== opened) return;
    opened.loading = false;
    if (wasListed) this.kept = id;
    const row = this.openRow;
    if (row && this.openThread)
      opened.newFrom = row.unread > 0 ? firstUnread(this.openThread.entries, row.incoming_seen) : null;
    this.changed("thread", "rows");
  }

  /** Tries again what could not be opened. */
  reopen() {
    this.opened.id = null;
    this.#open();
    this.changed("thread");
  }

  async loadRows() {
    const { listing } = this;
    if (!listing) return;
    const loading = listing.load(this.place.filter, this.place.topic);
    this.changed("rows");
    await loading;
    this.changed("rows");
  }

  /** The page before the oldest line of the open thread. Resolves with whether anything came. */
  async loadOlder() {
    const { opened, openThread: thread } = this;
    if (!thread?.more || opened.loadingOlder) return false;
    opened.loadingOlder = true;
    this.changed("thread");
    try {
      const before = thread.entries[0]?.number;
      mergeHistory(
        thread,
        await this.client.ask("load_history", { conversation: thread.id, before, limit: HISTORY_PAGE }),
      );
      return true;
    } catch {
      return false; // scrolling up again tries again
    } finally {
      opened.loadingOlder = false;
      this.changed("thread");
    }
  }

  // ---------------------------------------------------------------- reading

  /**
   * The thread pane tells what has stood before somebody's eyes: the last message of the customer's that was in view.
   *
   * @param {number} position @param {number} incoming
   */
  saw(position, incoming) {
    const row = this.openRow;
    if (!row || incoming <= row.incoming_seen || incoming <= this.sawIncoming) return;
    this.sawIncoming = incoming;
    this.seen.note(row.id, position);
  }

  // ---------------------------------------------------------------- writing

  /** @param {string} text */
  send(text) {
    const conversation = this.opened.id;
    if (conversation === null || !text.trim()) return;
    this.client.send("send_message", { conversation, parts: [{ type: "text", text: text.trim() }] });
    this.drafts.set(conversation, "");
    this.opened.newFrom = null;
    this.typingSince = 0;
    this.changed("thread", "rows");
  }

  /** Told at each key; goes out seldom. */
  startTyping() {
    const conversation = this.opened.id;
    if (conversation === null || Date.now() - this.typingSince < TYPING_REPEAT_MS) return;
    this.typingSince = Date.now();
    this.client.signal("set_typing", { conversation, on: true });
  }

  stopTyping() {
    if (this.typingSince === 0 || this.opened.id === null) return;
    this.typingSince = 0;
    this.client.signal("set_typing", { conversation: this.opened.id, on: false });
  }

  // ---------------------------------------------------------------- closing and opening

  /**
   * Closes or opens at once on the screen; chatd's refusal takes it back. Tells by a toast that can undo it.
   *
   * @param {readonly string[]} ids @param {"open" | "closed"} state @param {{undoes?: boolean}} [how]
   */
  async setState(ids, state, how = {}) {
    if (!this.mayChat) return;
    const changing = ids.filter((id) => {
      const row = this.row(id);
      return row !== null && this.stateOf(row) !== state;
    });
    this.clearTicks();
    if (changing.length === 0) return;
    for (const id of changing) this.wished.set(id, state);
    this.changed("rows", "thread");
    const { t } = this.words;
    const undo = state === "closed" ? "open" : "closed";
    if (!how.undoes) {
      this.toast(t(state === "closed" ? "toast.closed" : "toast.opened", { count: changing.length }), {
        label: t("toast.undo"),
        run: () => this.setState(changing, undo, { undoes: true }),
      });
    }
    const atOnce = this.state?.limits?.bulk_conversations_max ?? 200;
    for (let start = 0; start < changing.length; start += atOnce) {
      const conversations = changing.slice(start, start + atOnce);
      try {
        const { changed } = await this.client.send(state === "closed" ? "close_conversations" : "open_conversations", {
          conversations,
        });
        // What chatd changed is confirmed by its event, which may come after this; the rest was so already.
        for (const id of conversations) if (Array.isArray(changed) && !changed.includes(id)) this.wished.delete(id);
      } catch (/** @type {any} */ error) {
        for (const id of conversations) this.wished.delete(id);
        this.toast(
          t(state === "closed" ? "toast.not_closed" : "toast.not_opened", { count: conversations.length }) +
            " " +
            this.words.error(error),
          null,
          "danger",
        );
      }
      this.changed("rows", "thread");
    }
  }

  /**
   * @param {string} words
   * @param {{label: string, run: () => void} | null} [action]
   * @param {"plain" | "danger"} [tone]
   */
  toast(words, action = null, tone = "plain") {
    this.dispatchEvent(new CustomEvent("toast", { detail: { words, action, tone } }));
  }

  // ---------------------------------------------------------------- ticking

  /** @param {string} id @param {boolean} [on] */
  tick(id, on = !this.ticked.has(id)) {
    if (!this.mayChat) return; // there is nothing to do with them
    if (on) this.ticked.add(id);
    else this.ticked.delete(id);
    this.changed("ticks", "rows");
  }

  tickAll() {
    if (this.mayChat) for (const id of this.listed()) this.ticked.add(id);
    this.changed("ticks", "rows");
  }

  clearTicks() {
    if (this.ticked.size === 0) return;
    this.ticked.clear();
    this.changed("ticks", "rows");
  }
}
