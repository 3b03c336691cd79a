// @ts-check
/**
 * One chatd socket that stays (docs/protocol.md, sections 2 to 7): it says hello, resumes, backs off and comes back, and
 * keeps every command in an outbox until chatd has answered. It draws nothing and decides nothing; the faces follow its
 * events "welcome", "event", "signal", "status", "pending" and "refused". No imports: a storefront loads it alone.
 *
 * @typedef {{id: string, type: string, at: number, state: "sending" | "failed", error?: any, [field: string]: any}} Entry
 */

const WELCOME_MS = 15e3, ANSWER_MS = 10e3, PONG_MS = 5e3, ASK_MS = 15e3, STEADY_MS = 5e3, LEASE_MS = 15e3;
const BACKOFF_MS = 500, BACKOFF_MAX_MS = 30e3, DELAY_MAX_MS = 600e3, OUTBOX_MAX = 500;
// Only the newest of these counts: one that has not left gives way to the next.
const REPLACED = ["mark_seen", "mark_delivered", "update_cart"];
// What a person wrote stays when it is refused, until they discard it.
const WRITTEN = ["send_message", "introduce"];
// RFC 6455 section 7.4.1: the frame itself was unacceptable, and would be again.
const UNACCEPTABLE = [1002, 1003, 1007, 1009];

const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => (byte + 256).toString(16).slice(1)).join("");
const failure = ({ code = "temporary", message = code, facts = {}, temporary = false }) =>
  Object.assign(new Error(message), { code, facts, temporary });
/** Whoever does not look at a promise hears "refused"; nothing goes unhandled. */
const quiet = (promise) => (promise.catch(() => {}), promise);
const refused = (error) => quiet(Promise.reject(failure(error)));
const subject = (entry) => (REPLACED.includes(entry.type) ? `${entry.type} ${entry.conversation}` : entry.id);

export class Client extends EventTarget {
  #options;
  #env;
  #socket = null;
  #attempt = null;
  #status = "connecting";
  #running = false;
  #present = false; // the page is here to renew its leases
  #tries = 0;
  #openedAt = 0;
  #heartbeat = 0;
  #epoch = "";
  #number = 0;
  #holeAt = -1;
  #owner = newId();
  /** @type {Entry[]} */ #outbox = [];
  #flying = null; // one command at a time: only so does a refusal not change their order
  #sent = new Map(); // acknowledged, but the event is still on its way: id to number
  #refusals = 0;
  #promises = new Map();
  #asks = new Map();
  #timers = new Map();
  /** When the next try is due (ms since 1970). */
  retryAt = 0;
  /** The close code that said "do not come back". */
  endedCode = 0;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {() => object | Promise<object>} options.hello the fields of hello besides type, version and resume. If it throws,
   *   the try has failed; an error with `endedCode` ends the client (say 4503: logged out).
   * @param {Storage | null} options.storage keeps the outbox, for all tabs of one person
   * @param {string} options.storageKey
   * @param {object} [options.environment] in place of the browser, for tests
   */
  constructor(options) {
    super();
    this.#options = options;
    const { WebSocket, document, navigator } = globalThis;
    this.#env = {
      ...{ WebSocket, document, navigator, window: globalThis, now: Date.now, random: Math.random },
      setTimeout: (run, ms) => setTimeout(run, ms),
      clearTimeout: (timer) => clearTimeout(timer),
      ...options.environment,
    };
  }

  /** @returns {"connecting" | "open" | "waiting" | "offline" | "ended"} */
  get status() {
    return this.#status === "waiting" && this.#env.navigator?.onLine === false ? "offline" : this.#status;
  }

  /** The commands that are not done, in their order. */
  get pending() {
    return [...this.#outbox];
  }

  /** Start, or try now. */
  connect() {
    if (!this.#running) this.#listen("addEventListener");
    this.#running = true;
    if (!this.#attempt) this.#try();
  }

  /** Leave for good. What is unanswered stays in storage. */
  close() {
    this.#listen("removeEventListener");
    this.#running = false;
    this.#release();
    this.#end(0);
  }

  /** Forget the place in the stream, so that a fresh snapshot comes. */
  reset() {
    this.#epoch = "";
    this.#drop();
    if (this.#running) this.#try();
  }

  /** A command: the ack's result, or a rejection when chatd refuses it for good. @returns {Promise<any>} */
  send(type, fields = {}) {
    if (this.#outbox.length >= OUTBOX_MAX) return refused({ code: "outbox_full" });
    const at = Math.max(this.#env.now(), (this.#outbox.at(-1)?.at ?? 0) + 1);
    const entry = { ...fields, id: newId(), type, at, state: "sending" };
    const promise = this.#promise(entry);
    if (REPLACED.includes(type)) {
      for (const old of [...this.#outbox, ...this.#records().map((record) => record.entry)]) {
        if (old.id === this.#flying?.id || subject(old) !== subject(entry)) continue;
        if (old.position > entry.position) entry.position = old.position;
        this.#remove(old, promise);
      }
    }
    this.#outbox.push(entry);
    this.#save(entry);
    this.#scan();
    this.#emit("pending");
    this.#pump();
    return promise;
  }

  /** A query: its data, or a rejection. Outlives one lost connection. @returns {Promise<any>} */
  ask(type, fields = {}) {
    const id = newId();
    return new Promise((resolve, reject) => {
      const end = (settle) => (value) => {
        this.#asks.delete(id);
        this.#stop(id);
        settle(value);
      };
      this.#asks.set(id, { frame: { ...fields, type, id }, resolve: end(resolve), reject: end(reject), sent: false, lost: 0 });
      this.#later(id, ASK_MS, () => this.#asks.get(id).reject(failure({ code: "unanswered", temporary: true })));
      this.#question(id);
    });
  }

  /** Neither kept nor answered. */
  signal(type, fields = {}) {
    if (this.#status === "open") this.#write({ ...fields, type });
  }

  /** Send a refused one again. */
  retry(id) {
    const entry = this.#outbox.find((one) => one.id === id && one.state === "failed");
    if (!entry) return;
    entry.state = "sending";
    delete entry.error;
    this.#save(entry);
    this.#emit("pending");
    this.#pump();
  }

  /** Forget one that is not on its way. */
  discard(id) {
    const entry = this.#outbox.find((one) => one.id === id && one !== this.#flying);
    if (entry) this.#remove(entry, refused({ code: "discarded" }));
  }

  // ---------------------------------------------------------------- the connection

  async #try() {
    const attempt = (this.#attempt = {});
    this.#stop("retry");
    this.#present = true;
    this.#scan();
    this.#become("connecting");
    this.#later("silence", WELCOME_MS, () => this.#lost());
    try {
      const fields = await this.#options.hello();
      if (this.#attempt !== attempt) return;
      const resume = this.#epoch ? { epoch: this.#epoch, number: this.#number } : undefined;
      const socket = (this.#socket = new this.#env.WebSocket(this.#options.url, ["chatd.v1.json"]));
      socket.onopen = () => this.#write({ ...fields, type: "hello", version: 1, resume });
      socket.onmessage = ({ data }) => this.#hear(data);
      socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    } catch (error) {
      if (this.#attempt === attempt) this.#lost(error?.endedCode);
    }
  }

  #write(frame) {
    try {
      this.#socket.send(JSON.stringify(frame));
    } catch {} // closing already: its end will be heard
  }

  /** Let go of the socket; the command that flew is unsent again. */
  #drop(code = 0) {
    const socket = this.#socket, flying = this.#flying;
    this.#attempt = this.#socket = this.#flying = null;
    for (const timer of ["silence", "answer", "pace", "retry"]) this.#stop(timer);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket?.close(1000);
    } catch {}
    if (flying && UNACCEPTABLE.includes(code)) this.#refuse(flying, { code: code === 1009 ? "too_large" : "malformed_frame" });
    for (const ask of this.#asks.values()) if (ask.sent && ask.lost++) ask.reject(failure({ temporary: true }));
  }

  #lost(code = 0, reason = "") {
    const steady = this.#status === "open" && this.#env.now() - this.#openedAt >= STEADY_MS;
    this.#drop(code);
    if (code >= 4500 && code < 5000) return this.#end(code);
    this.#tries = steady ? 0 : this.#tries + 1;
    let delay = this.#env.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#tries);
    try {
      const { delay_ms } = JSON.parse(reason);
      if (delay_ms > delay) delay = Math.min(delay_ms, DELAY_MAX_MS);
    } catch {} // no wish
    this.retryAt = this.#env.now() + delay;
    this.#later("retry", delay, () => this.#try());
    this.#become("waiting");
  }

  #end(code) {
    this.#drop();
    this.endedCode = code;
    for (const ask of this.#asks.values()) ask.reject(failure({ code: "ended" }));
    this.#become("ended");
  }

  #become(status) {
    this.#status = status;
    this.#emit("status");
  }

  #hear(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {}
    if (this.#status === "open") this.#watch();
    else if (frame?.type !== "welcome") return;
    switch (frame?.type) {
      case "welcome":
        return this.#status !== "open" && this.#welcome(frame);
      case "event":
        return this.#event(frame);
      case "signal":
        return this.#emit("signal", frame);
      case "result":
        return this.#asks.get(frame.id)?.resolve(frame.data);
      case "ack":
        return this.#answered(frame);
      case "error":
        return this.#error(frame);
    }
  }

  #welcome(frame) {
    const { epoch, number, resumed, heartbeat_seconds } = frame;
    if (!Number.isInteger(number) || (resumed && epoch !== this.#epoch)) return this.#again();
    if (!resumed) {
      this.#epoch = epoch;
      this.#number = number;
      this.#arrived(Infinity);
    }
    this.#openedAt = this.#env.now();
    this.#heartbeat = (heartbeat_seconds > 0 ? heartbeat_seconds : 25) * 1000;
    this.#watch();
    this.#status = "open";
    this.#emit("welcome", frame);
    this.#emit("status");
    for (const id of this.#asks.keys()) this.#question(id);
    this.#pump();
  }

  #event({ number, event }) {
    if (!Number.isInteger(number) || typeof event?.type !== "string" || number <= this.#number) return;
    if (number > this.#number + 1) return this.#again();
    this.#number = number;
    this.#emit("event", { number, event });
    this.#arrived(number);
  }

  /** There is a hole: resume. If that leads to the same hole, only a snapshot gets over it. */
  #again() {
    if (this.#holeAt === this.#number) this.#epoch = "";
    this.#holeAt = this.#number;
    this.#lost();
  }

  /** Browsers hide the control frames, so silence is asked aloud whether anybody is there. */
  #watch() {
    this.#later("silence", this.#heartbeat, () => this.#probe());
  }

  #probe() {
    this.#write({ type: "ping" });
    this.#later("silence", PONG_MS, () => this.#lost());
  }

  // ---------------------------------------------------------------- commands and queries

  #pump() {
    if (this.#status !== "open" || this.#flying || this.#timers.has("pace")) return;
    const entry = this.#outbox.find((one) => one.state === "sending" && !this.#sent.has(one.id));
    if (!entry) return;
    this.#flying = entry;
    const { at, state, error, ...frame } = entry;
    this.#write(frame);
    this.#later("answer", ANSWER_MS, () => this.#lost());
  }

  #land(id) {
    if (this.#flying?.id !== id) return;
    this.#flying = null;
    this.#stop("answer");
  }

  #answered({ id, result }) {
    this.#land(id);
    this.#refusals = 0;
    const entry = this.#outbox.find((one) => one.id === id);
    if (entry && result?.number > this.#number) {
      // Shown as pending until its event is there, so that nothing blinks.
      this.#sent.set(id, result.number);
      this.#store(entry, null);
      this.#settle(id, result);
    } else if (entry) this.#remove(entry, result);
    this.#pump();
  }

  /** The events up to this number are there. */
  #arrived(number) {
    for (const [id, due] of this.#sent) {
      if (due > number) continue;
      this.#sent.delete(id);
      this.#remove({ id });
    }
  }

  #question(id) {
    const ask = this.#asks.get(id);
    if (!ask || this.#status !== "open") return;
    ask.sent = true;
    this.#write(ask.frame);
  }

  #error(error) {
    const ask = this.#asks.get(error.id);
    // What chatd could not read has no id; it will have been the command that flies. If not, its ack sets that right.
    const entry = this.#outbox.find((one) => one.id === (error.id ?? this.#flying?.id));
    if (error.temporary) {
      const backoff = this.#env.random() * Math.min(BACKOFF_MAX_MS, 1000 * 2 ** this.#refusals++);
      const wait = Math.min(error.facts?.retry_after_ms ?? backoff, DELAY_MAX_MS);
      if (ask) this.#later(`again ${error.id}`, wait, () => this.#question(error.id));
      if (!entry || entry !== this.#flying) return;
      this.#land(entry.id);
      this.#later("pace", wait, () => this.#pump());
    } else {
      ask?.reject(failure(error));
      if (entry) this.#refuse(entry, error);
      this.#pump();
    }
  }

  #refuse(entry, refusal) {
    const error = failure(refusal), { code, message, facts, temporary } = error;
    this.#land(entry.id);
    this.#settle(entry.id, refused(error));
    if (WRITTEN.includes(entry.type)) {
      entry.state = "failed";
      entry.error = { code, message, facts, temporary };
      this.#save(entry);
      this.#emit("pending");
    } else this.#remove(entry);
    this.#emit("refused", { command: entry, error });
  }

  #promise({ id }) {
    return quiet(new Promise((resolve) => this.#promises.set(id, resolve)));
  }

  #settle(id, result) {
    this.#promises.get(id)?.(result);
    this.#promises.delete(id);
  }

  #remove(entry, result = {}) {
    this.#outbox = this.#outbox.filter((one) => one.id !== entry.id);
    this.#store(entry, null);
    this.#settle(entry.id, result);
    this.#emit("pending");
  }

  // ---------------------------------------------------------------- the outbox in storage
  // An item for each entry, so that tabs do not overwrite each other's. An entry is sent by the tab that holds its lease; when
  // that tab is gone, by the one that notices. If two send it after all, its id makes that harmless.

  #key(id) {
    return `${this.#options.storageKey}.outbox.${id}`;
  }

  /** Storage may be missing, forbidden or full; then memory has to do. */
  #store(entry, until) {
    try {
      const { storage } = this.#options, key = this.#key(entry.id);
      if (until === null) storage.removeItem(key);
      else storage.setItem(key, JSON.stringify({ entry, owner: this.#owner, until }));
      return true;
    } catch {}
  }

  #save(entry) {
    return this.#store(entry, this.#present ? this.#env.now() + LEASE_MS : 0);
  }

  #records() {
    const records = [];
    try {
      const { storage } = this.#options;
      for (let i = 0; i < storage.length; i++) {
        const key = storage.key(i);
        if (!key.startsWith(this.#key(""))) continue;
        try {
          const record = JSON.parse(storage.getItem(key));
          if (key === this.#key(record.entry.id)) records.push(record);
        } catch {} // not by us
      }
    } catch {}
    return records;
  }

  /** Renew our leases and adopt what nobody holds. */
  #scan() {
    const now = this.#env.now(), records = this.#records(), held = this.#outbox.length;
    for (const { entry, owner, until } of records) {
      const left = until - now, own = this.#outbox.find((one) => one.id === entry.id);
      if (own && owner === this.#owner && left < LEASE_MS * 0.7) this.#save(own);
      if (own || (left > 0 && left <= LEASE_MS)) continue; // more than a lease: the clock was set back
      this.#outbox.push(entry);
      this.#save(entry);
    }
    if (records.length && this.#present) this.#later("lease", LEASE_MS / 3, () => this.#scan());
    if (this.#outbox.length === held) return;
    this.#outbox.sort((one, other) => one.at - other.at);
    this.#emit("pending");
    this.#pump();
  }

  /** The page goes; the next one may have its entries at once. */
  #release() {
    this.#present = false;
    this.#stop("lease");
    this.#outbox = this.#outbox.filter((entry) => !this.#sent.has(entry.id) && !this.#save(entry));
    this.#sent.clear();
  }

  // ---------------------------------------------------------------- the page around it

  #listeners = [
    ["window", "online", () => this.#wake()],
    ["window", "offline", () => this.#wake()],
    ["document", "visibilitychange", () => this.#env.document.visibilityState === "visible" && this.#wake()],
    ["window", "pageshow", () => this.#status === "waiting" && this.#try()],
    ["window", "pagehide", () => {
      this.#release();
      if (this.#status === "ended") return;
      this.#drop(); // by us, so that chatd sees at once who leaves
      this.#become("waiting");
    }],
    ["window", "storage", ({ key, newValue }) => {
      if (!key?.startsWith(this.#key(""))) return;
      if (newValue) return this.#scan();
      const entry = this.#outbox.find((one) => this.#key(one.id) === key);
      if (entry && !this.#sent.has(entry.id)) this.#remove(entry); // another tab is done with it
    }],
  ];

  #listen(method) {
    for (const [target, name, listener] of this.#listeners) this.#env[target]?.[method]?.(name, listener);
  }

  #wake() {
    if (this.#status === "open") this.#probe();
    else if (this.status === "waiting") this.#try();
    else this.#emit("status");
  }

  #later(name, ms, run) {
    this.#stop(name);
    this.#timers.set(name, this.#env.setTimeout(() => {
      this.#timers.delete(name);
      run();
    }, ms));
  }

  #stop(name) {
    this.#env.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
