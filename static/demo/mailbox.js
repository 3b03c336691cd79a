// @ts-check
/**
 * The demo's mailbox: the list of mails as they come, and one of them as a mail program shows it.
 *
 * What a mail says enters this page as text only. Its HTML is a document of its own, in a frame without scripts and without
 * an origin; the server says so as well, for whoever opens that document by itself.
 */

import { makeTranslator, pickLocale } from "../i18n.js";
import { TEXTS } from "./mailbox.texts.js";

const LOOK_MS = 1_500;
const LOOK_AGAIN_MS = 5_000;
const TOLD_MS = 6_000;
const VIEWS = ["html", "text", "source"];

/** @typedef {{number: number, at: number, from: string, to: string, subject: string, preview: string, envelope_to: string[]}} Summary */

const locale = pickLocale(navigator.languages, Object.keys(TEXTS));
const { t, listTime, dateTime } = makeTranslator(TEXTS[locale], locale, { clock: navigator.language });

/** @param {string} id @returns {HTMLElement} */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

let mailbox = "";
let kept = 200;
/** @type {Summary[]} newest first */
let mails = [];
/** @type {number | null} */
let chosen = null;
let first = true;

function speak() {
  document.documentElement.lang = locale;
  document.title = `${t("title")} · chatd`;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.getAttribute("data-text") ?? "");
  for (const node of document.querySelectorAll("[data-label]"))
    node.setAttribute("aria-label", t(node.getAttribute("data-label") ?? ""));
  for (const node of document.querySelectorAll("[data-title]"))
    node.setAttribute("title", t(node.getAttribute("data-title") ?? ""));
}

// ---------------------------------------------------------------- the list

async function look() {
  const newest = mails.length ? mails[0].number : 0;
  const answer = await fetch(`/mails?mailbox=${mailbox}&after=${newest}`);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const found = await answer.json();
  kept = found.kept_max;
  if (found.mailbox !== mailbox) {
    // The demo was started again: its mailbox is a new one, and empty.
    mails = [];
    mailbox = found.mailbox;
    if (!first) choose(null);
  }
  const fresh = /** @type {Summary[]} */ (found.mails);
  if (fresh.length || first) {
    mails = [...fresh, ...mails].slice(0, kept);
    drawList();
    if (fresh.length && !first) {
      announce(t("arrived", { subject: fresh[0].subject || t("no_subject") }));
      if (chosen === null) followAddress();
    }
  }
  if (first) {
    first = false;
    followAddress();
  }
}

/** Told once, and not for ever. @param {string} text */
function announce(text) {
  element("state").textContent = text;
  setTimeout(() => {
    if (element("state").textContent === text) element("state").textContent = "";
  }, TOLD_MS);
}

async function watch() {
  let pause = LOOK_MS;
  try {
    if (!document.hidden) await look();
    if (element("state").dataset.lost) {
      delete element("state").dataset.lost;
      element("state").textContent = "";
    }
  } catch {
    element("state").dataset.lost = "yes";
    element("state").textContent = t("lost");
    pause = LOOK_AGAIN_MS;
  }
  setTimeout(watch, pause);
}

function drawList() {
  element("empty").hidden = mails.length > 0;
  document.body.toggleAttribute("data-empty", mails.length === 0);
  const list = element("list");
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.number : undefined;
  list.replaceChildren(...mails.map(row));
  if (focused) /** @type {HTMLElement | null} */ (list.querySelector(`[data-number="${focused}"]`))?.focus();
}

/** @param {Summary} mail */
function row(mail) {
  const button = document.createElement("a");
  button.href = `#${mail.number}`;
  button.dataset.number = String(mail.number);
  if (mail.number === chosen) button.setAttribute("aria-current", "true");
  button.append(
    cell("to", mail.to || mail.envelope_to.join(", ")),
    cell("time", listTime(mail.at)),
    cell("subject", mail.subject || t("no_subject")),
    cell("preview", mail.preview),
  );
  const item = document.createElement("li");
  item.append(button);
  return item;
}

/** @param {string} name @param {string} text */
function cell(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.dir = "auto";
  span.textContent = text;
  return span;
}

// ---------------------------------------------------------------- one mail

/** @param {number | null} number */
async function choose(number) {
  const mail = mails.find((one) => one.number === number);
  chosen = mail ? mail.number : null;
  document.body.dataset.pane = mail ? "mail" : "list";
  element("article").hidden = !mail;
  element("nothing").hidden = Boolean(mail);
  for (const link of element("list").querySelectorAll("a"))
    if (link.dataset.number === String(chosen)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  if (!mail) return;
  element("subject").textContent = mail.subject || t("no_subject");
  element("from").textContent = mail.from;
  element("to").textContent = mail.to || mail.envelope_to.join(", ");
  element("at").textContent = dateTime(mail.at);
  const [whole, source] = await Promise.all([
    fetch(`/mails/${mail.number}`).then((answer) => answer.json()),
    fetch(`/mails/${mail.number}/source`).then((answer) => answer.text()),
  ]);
  if (chosen !== mail.number) return; // somebody was faster
  const frame = /** @type {HTMLIFrameElement} */ (element("frame"));
  // Replaced, not followed: the frame must leave no steps in this page's history.
  const fresh = /** @type {HTMLIFrameElement} */ (frame.cloneNode());
  if (whole.html) fresh.src = `/mails/${mail.number}/html`;
  else fresh.removeAttribute("src");
  frame.replaceWith(fresh);
  writeText(whole.text || t("no_text"));
  element("source").textContent = source;
  show(whole.html ? "html" : "text");
}

/** The text part, with its addresses to be clicked as in a mail program. @param {string} text */
function writeText(text) {
  const parts = text.split(/(https?:\/\/[^\s<>"]+)/);
  element("text").replaceChildren(
    ...parts.map((part, index) => {
      if (index % 2 === 0) return document.createTextNode(part);
      const link = document.createElement("a");
      link.href = part;
      link.target = "_blank";
      link.rel = "noopener noreferrer";
      link.textContent = part;
      return link;
    }),
  );
}

/** @param {string} view */
function show(view) {
  for (const name of VIEWS) {
    const tab = element(`tab-${name}`);
    tab.setAttribute("aria-selected", String(name === view));
    tab.tabIndex = name === view ? 0 : -1;
    element(`view-${name}`).hidden = name !== view;
  }
}

/** Which mail the address bar names: reload and back do what one expects. */
function followAddress() {
  const number = Number(location.hash.slice(1));
  const wide = matchMedia("(min-width: 720px)").matches;
  choose(number || (wide && mails.length ? mails[0].number : null));
}

speak();
addEventListener("hashchange", followAddress);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look().catch(() => {});
});
element("back").addEventListener("click", () => {
  location.hash = "";
});
VIEWS.forEach((name, index) => {
  element(`tab-${name}`).addEventListener("click", () => show(name));
  element(`tab-${name}`).addEventListener("keydown", (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const next = VIEWS[(index + step + VIEWS.length) % VIEWS.length];
    show(next);
    element(`tab-${next}`).focus();
  });
});
watch();
