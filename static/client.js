// @ts-check
/**
 * One chatd socket that stays (docs/protocol.md, sections 2 to 7): it says hello, resumes, backs off and comes back, and
 * keeps every command in an outbox until chatd has answered. It draws nothing; the faces follow its events "welcome",
 * "event", "signal", "status", "pending" and "refused". No imports: a storefront may load it alone.
 *
 * @typedef {{id: string, type: string, at: number, state: "sending" | "failed", error?: any, [field: string]: any}} Entry
 */

const ANSWER_MS = 10e3, STALE_MS = 2e3, PONG_MS = 5e3, ASK_MS = 15e3, STEADY_MS = 5e3, LEASE_MS = 15e3;
const BACKOFF_MS = 500, BACKOFF_MAX_MS = 30e3, DELAY_MAX_MS = 600e3, OUTBOX_MAX = 500;
// Only the newest of these counts: one that has not left gives way to the next.
const REPLACED = ["mark_seen", "mark_delivered", "update_cart"];
// What a person wrote stays when it is refused, until they discard it.
const WRITTEN = ["send_message", "introduce"];
// RFC 6455 section 7.4.1: the frame itself was unacceptable, and would be again.
const UNACCEPTABLE = [1002, 1003, 1007, 1009];
const parse = (text) => {
  try { return JSON.parse(text); } catch {}
};
// Libraries of old storefronts (Prototype.js before 1.7) give arrays a toJSON that makes a string of them. And half a
// character, which a cut leaves behind, is not UTF-8: chatd would refuse it.
const encode = (value) => {
  const arrays = /** @type {any} */ (Array.prototype), foreign = arrays.toJSON;
  delete arrays.toJSON;
  try {
    return JSON.stringify(value, (_, one) => (typeof one === "string" ? one.replace(/\p{Surrogate}/gu, "\ufffd") : one));
  } finally {
    if (foreign) arrays.toJSON = foreign;
  }
};
/** The time first, so that what comes together lies together in the server's tables. It decides nothing. */
const newId = () => [Date.now(), ...crypto.getRandomValues(new Uint8Array(10))].map((part, at) => part.toString(16).padStart(at ? 2 : 12, "0")).join("");
const failure = ({ code = "temporary", message = code, facts = {}, temporary = false }) =>
  Object.assign(new Error(message), { code, facts, temporary });
/** Whoever does not look at a promise hears "refused"; nothing goes unhandled. */
const quiet = (promise) => (promise.catch(() => {}), promise);
const refused = (error) => quiet(Promise.reject(failure(error)));
const subject = (entry) => (REPLACED.includes(entry.type) ? `${entry.type} ${entry.conversation}` : entry.id);

export class Client extends EventTarget {
  #options; #env; #timers = new Map();
  /** @type {"connecting" | "open" | "waiting" | "offline" | "ended"} */ #status = "connecting";
  #running = false; #attempt = null; #socket = null; #heartbeat = 0; #openedAt = 0; #tries = 0;
  #epoch = ""; #number = 0; #holeAt = -1; // the place in the stream
  /** @type {Entry[]} */ #outbox = [];
  #promises = new Map(); #asks = new Map(); #refusals = 0;
  #flying = null; // one command at a time: only so does a refusal not change their order
  #sent = new Map(); // acknowledged, but the event is still on its way: id to number
  /** When the next try is due (ms since 1970). */ retryAt = 0;
  /** The close code that said "do not come back". */ endedCode = 0;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {() => object | Promise<object>} options.hello the fields of hello besides type, version and resume. If it
   *   throws, the try has failed; an error with `endedCode` ends the client (say 4503: logged out).
   * @param {Storage | null} options.storage keeps the outbox, for all tabs of one person
   * @param {string} options.storageKey
   * @param {object} [options.environment] in place of the browser, for tests
   */
  constructor(options) {
    super();
    this.#options = options;
    this.#env = options.environment ?? globalThis;
  }

  get status() {
    return this.#status === "waiting" && this.#env.navigator?.onLine === false ? "offline" : this.#status;
  }

  /** The commands that are not done, in their order. */
  get pending() { return [...this.#outbox]; }

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
    this.#outbox = [];
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
    const at = Math.max(this.#env.Date.now(), (this.#outbox.at(-1)?.at ?? 0) + 1);
    const entry = { ...JSON.parse(encode(fields)), id: newId(), type, at, state: "sending" };
    const promise = quiet(new Promise((resolve) => this.#promises.set(entry.id, resolve)));
    if (REPLACED.includes(type)) {
      for (const old of [...this.#outbox, ...this.#records().map((record) => record.entry)]) {
        if (old.id === this.#flying?.id || subject(old) !== subject(entry)) continue;
        if (old.position > entry.position) entry.position = old.position;
        this.#remove(old, promise);
      }
    }
    this.#outbox.push(entry);
    this.#store(entry, this.#running ? at + LEASE_MS : 0);
    this.#pump();
    return promise;
  }

  /** A query: its data, or a rejection. Outlives one lost connection. @returns {Promise<any>} */
  ask(type, fields = {}) {
    const id = newId();
    return new Promise((resolve, reject) => {
      const end = (settle) => (value) => (this.#asks.delete(id), this.#stop(id), this.#stop(`again ${id}`), settle(value));
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
    const entry = this.#find(id);
    if (entry?.state !== "failed") return;
    Object.assign(entry, { state: "sending", error: undefined });
    this.#store(entry, 0);
    this.#pump();
  }

  /** Forget one that is not on its way. */
  discard(id) {
    const entry = this.#find(id);
    if (entry && entry !== this.#flying) this.#remove(entry, refused({ code: "discarded" }));
  }

  async #try() {
    const attempt = (this.#attempt = { at: this.#env.Date.now() });
    this.#stop("retry");
    this.#scan();
    this.#become("connecting");
    this.#later("silence", ANSWER_MS, () => this.#lost());
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
    this.#socket.send(encode(frame)); // does not throw while closing
  }

  /** Let go of the socket; the command that flew is unsent again. */
  #drop(code = 0) {
    const socket = this.#socket, flying = this.#flying;
    this.#attempt = this.#socket = this.#flying = null;
    this.#status = "waiting"; // whoever hears of what follows must not write
    for (const timer of ["silence", "answer", "pace", "retry"]) this.#stop(timer);
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    socket?.close(1000);
    if (flying && UNACCEPTABLE.includes(code)) this.#refuse(flying, { code: code === 1009 ? "too_large" : "malformed_frame" });
    for (const ask of this.#asks.values()) {
      if (ask.sent && ask.lost++) ask.reject(failure({ temporary: true }));
      ask.sent = false;
    }
  }

  #lost(code = 0, reason = "") {
    const steady = this.#status === "open" && this.#env.Date.now() - this.#openedAt >= STEADY_MS;
    this.#drop(code);
    if (code >= 4500 && code < 5000) return this.#end(code);
    this.#tries = steady ? 0 : this.#tries + 1;
    const wish = Math.min(parse(reason)?.delay_ms, DELAY_MAX_MS) || 0;
    const delay = Math.max(wish, this.#env.Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#tries));
    this.retryAt = this.#env.Date.now() + delay;
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
    const frame = parse(text), { type, id } = frame ?? {};
    if (this.#status !== "open") return type === "welcome" && this.#welcome(frame);
    this.#watch();
    if (type === "event") this.#event(frame);
    else if (type === "signal") this.#emit("signal", frame);
    else if (type === "ack") this.#answered(id, frame.result);
    else if (type === "result") this.#asks.get(id)?.resolve(frame.data);
    else if (type === "error") this.#error(frame);
  }

  #welcome(frame) {
    const { epoch, number, resumed, heartbeat_seconds: seconds } = frame;
    if (!Number.isInteger(number) || (resumed && epoch !== this.#epoch)) return this.#again();
    if (!resumed) {
      this.#epoch = epoch;
      this.#number = number;
      this.#arrived(Infinity);
    }
    this.#openedAt = this.#env.Date.now();
    this.#heartbeat = (seconds > 0 ? seconds : 25) * 1000;
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

  #find(id) {
    return this.#outbox.find((entry) => entry.id === id);
  }

  #pump() {
    this.#emit("pending");
    if (this.#status !== "open" || this.#flying || this.#timers.has("pace")) return;
    const next = () => this.#outbox.find((entry) => entry.state === "sending" && !this.#sent.has(entry.id));
    if (!next()) return;
    this.#adopt(next().at); // a person's words keep their order, in whichever tab they were written
    const { at, state, error, ...frame } = (this.#flying = next());
    this.#write(frame);
    this.#later("answer", ANSWER_MS, () => this.#lost());
  }

  #land(id) {
    if (!id || this.#flying?.id !== id) return false;
    this.#flying = null;
    this.#stop("answer");
    return true;
  }

  #answered(id, result) {
    const entry = this.#find(id);
    this.#land(id);
    this.#refusals = 0;
    if (entry && result?.number > this.#number) {
      // Shown as pending until its event is there, so that nothing blinks.
      this.#sent.set(id, result.number);
      this.#store(entry);
      this.#settle(id, result);
    } else if (entry) this.#remove(entry, result);
    this.#pump();
  }

  /** The events up to this number are there. */
  #arrived(number) {
    for (const [id, due] of this.#sent) if (due <= number && this.#sent.delete(id)) this.#remove({ id });
  }

  #question(id) {
    const ask = this.#asks.get(id);
    if (!ask || this.#status !== "open") return;
    ask.sent = true;
    this.#write(ask.frame);
  }

  #error(error) {
    const { id, temporary, facts } = error, ask = this.#asks.get(id);
    // What chatd could not read has no id; it will have been the command that flies. If not, its ack sets that right.
    const named = id ?? (temporary ? id : this.#flying?.id), entry = this.#find(named);
    if (!temporary) {
      this.#land(named);
      ask?.reject(failure(error));
      if (entry) this.#refuse(entry, error);
      return this.#pump();
    }
    const backoff = this.#env.Math.random() * Math.min(BACKOFF_MAX_MS, 1000 * 2 ** this.#refusals++);
    const wait = Math.min(facts?.retry_after_ms ?? backoff, DELAY_MAX_MS);
    if (ask) this.#later(`again ${id}`, wait, () => this.#question(id));
    if (this.#land(named)) this.#later("pace", wait, () => this.#pump());
  }

  #refuse(entry, refusal) {
    const error = failure(refusal), { code, message, facts, temporary } = error;
    this.#settle(entry.id, refused(error));
    if (WRITTEN.includes(entry.type)) {
      Object.assign(entry, { state: "failed", error: { code, message, facts, temporary } });
      this.#store(entry, 0);
      this.#emit("pending");
    } else this.#remove(entry);
    this.#emit("refused", { command: entry, error });
  }

  #settle(id, result) {
    this.#promises.get(id)?.(result);
    this.#promises.delete(id);
  }

  #remove(entry, result = {}) {
    this.#outbox = this.#outbox.filter((one) => one.id !== entry.id);
    this.#store(entry);
    this.#settle(entry.id, result);
    this.#emit("pending");
  }

  // ---------------------------------------------------------------- the outbox in storage
  // One item for each entry, so that tabs do not overwrite each other's. It is the writing tab's alone for a while; what is
  // there longer, or was left by a page that went, is everybody's. Several may send it: its id makes that harmless.

  #key(id) {
    return `${this.#options.storageKey}.outbox.${id}`;
  }

  /** Storage may be missing, forbidden or full; then memory has to do. */
  #store(entry, until) {
    try {
      const { storage } = this.#options, key = this.#key(entry.id);
      if (until === undefined) storage.removeItem(key);
      else storage.setItem(key, encode({ entry, until }));
      return true;
    } catch {}
  }

  #records() {
    const records = [];
    try {
      const { storage } = this.#options;
      for (let i = 0; i < storage.length; i++) {
        const key = storage.key(i), record = key.startsWith(this.#key("")) && parse(storage.getItem(key));
        if (record?.entry && key === this.#key(record.entry.id)) records.push(record);
      }
    } catch {}
    return records;
  }

  /** Take what is everybody's, and everything that is older than `before`. */
  #adopt(before = 0) {
    const now = this.#env.Date.now();
    for (const { entry, until } of this.#records()) {
      const own = this.#find(entry.id);
      if (own && own !== this.#flying) Object.assign(own, { state: entry.state, error: entry.error });
      // More than a lease is left: the clock was set back.
      else if (!own && (until <= now || until > now + LEASE_MS || entry.at < before)) this.#outbox.push(entry);
      else if (!own) this.#later("lease", LEASE_MS, () => this.#scan());
    }
    this.#outbox.sort((one, other) => one.at - other.at);
  }

  #scan() {
    this.#adopt();
    this.#pump();
  }

  /** The page goes; the next one may have its entries at once. */
  #release() {
    this.#stop("lease");
    const kept = this.#records().map((record) => record.entry.id); // and not what its owner has cleared away
    const goes = (entry) => this.#sent.has(entry.id) || (kept.includes(entry.id) && this.#store(entry, 0));
    this.#outbox = this.#outbox.filter((entry) => !goes(entry));
    this.#sent.clear();
  }

  /** @type {[string, string, (event: any) => any][]} */ #listeners = [
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
    // An attempt from before may hang where there was no network, and would until its time is over.
    else if (this.status === "waiting" || this.#env.Date.now() - this.#attempt?.at > STALE_MS) this.#drop(), this.#try();
    else this.#emit("status");
  }

  #later(name, ms, run) {
    this.#stop(name);
    this.#timers.set(name, this.#env.setTimeout(() => this.#timers.delete(name) && run(), ms));
  }

  #stop(name) {
    this.#env.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
