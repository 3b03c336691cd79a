// @ts-check
/**
 * Joins the parts of the inbox: reads what the page was served with, opens the socket, keeps the address in step, and
 * puts `<inbox-app>` into the page. Everything else is elsewhere.
 */

import { Client } from "../client.js";
import { callAttention } from "./attention.js";
import { loadIcons } from "./dom.js";
import { Drafts } from "./drafts.js";
import "./elements/inbox-app.js";
import { Inbox } from "./inbox.js";
import { addressOf, loginAddress, placeOf } from "./place.js";
import { browserStorage, Settings } from "./settings.js";
import { Bell } from "./sound.js";
import { loadWords } from "./words.js";

/** Close code for "logged out" (docs/protocol.md, section 6); the client does not come back after it. */
const SESSION_ENDED = 4503;
/** Changes of a page that nobody sees are drawn together, this seldom. */
const HIDDEN_DRAW_MS = 500;

/** @param {string} name */
const served = (name) =>
  /** @type {HTMLMetaElement | null} */ (document.querySelector(`meta[name="chatd-${name}"]`))?.content ?? "";

const storage = browserStorage();
const settings = new Settings(storage);
const staff = served("staff");
let welcomed = false;

/** A ticket for each connection; it proves the session without a cookie having to travel with the socket. */
async function hello() {
  const response = await fetch("/v1/tickets", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": served("csrf") },
    body: "{}",
    credentials: "same-origin",
    cache: "no-store",
  });
  if (response.status === 401 || response.status === 403) {
    // At the start there is nothing to lose. Later something unsent may be on the screen: the page stays and says so.
    if (!welcomed) location.assign(loginAddress(location.pathname + location.search));
    throw Object.assign(new Error("logged out"), { endedCode: SESSION_ENDED });
  }
  if (!response.ok) throw new Error(`no ticket: HTTP ${response.status}`);
  const { ticket } = await response.json();
  return { ticket };
}

/** @param {string} address may be relative, or of http where the socket wants ws */
function socketAddress(address) {
  const url = new URL(address, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

const words = () =>
  loadWords({
    chosen: settings.get("locale"),
    wanted: [...(settings.get("locale") ? [] : navigator.languages), served("locale")],
    shop: { name: served("shop"), colour: served("shop-colour") },
    clock: navigator.language,
  });

async function start() {
  settings.applyTheme(document.documentElement);
  const client = new Client({
    url: socketAddress(served("socket")),
    hello,
    storage,
    storageKey: `chatd.inbox.${staff}`,
  });
  client.addEventListener("welcome", () => {
    welcomed = true;
    document.body.classList.remove("starting");
  });

  const inbox = new Inbox({
    client,
    settings,
    words: await words(),
    drafts: new Drafts(storage, `chatd.inbox.${staff}.drafts`),
    place: placeOf(location),
    schedule: (run) =>
      document.visibilityState === "visible" ? requestAnimationFrame(run) : setTimeout(run, HIDDEN_DRAW_MS),
  });
  const bell = new Bell(window);
  let shown = new AbortController();

  const show = () => {
    shown.abort();
    shown = new AbortController();
    document.documentElement.lang = inbox.words.language;
    const app = /** @type {any} */ (document.createElement("inbox-app"));
    app.inbox = inbox;
    for (const before of document.querySelectorAll("inbox-app, .inbox-frame")) before.remove();
    document.body.append(app);
    callAttention(inbox, { document, bell, live: app.live }, shown.signal);
  };

  settings.addEventListener("change", async (/** @type {any} */ { detail }) => {
    if (detail === "theme") settings.applyTheme(document.documentElement);
    if (detail !== "locale") return;
    inbox.words = await words();
    show();
  });
  inbox.addEventListener("navigate", (/** @type {any} */ { detail }) => {
    history[detail.replace ? "replaceState" : "pushState"](null, "", addressOf(inbox.place));
  });
  window.addEventListener("popstate", () => inbox.go(placeOf(location), { silent: true }));
  window.addEventListener("pagehide", () => inbox.seen.flush());
  atMidnight(() => inbox.changed("rows", "thread"));

  show();
  client.connect(); // not before somebody listens: the welcome comes once
}

/** "Today" becomes "Yesterday" without anything else happening. @param {() => void} run */
function atMidnight(run) {
  const next = new Date().setHours(24, 0, 1, 0);
  setTimeout(() => {
    run();
    atMidnight(run);
  }, next - Date.now());
}

loadIcons(`${served("assets")}icons.svg`); // beside everything else: the page has begun to fetch them already
start();
