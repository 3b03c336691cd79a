// @ts-check
/**
 * The hosted page of one customer's thread, where the *Reply* button of a mail leads.
 *
 * Promises: the link is out of the address bar before anything else happens, and is given to chatd in the body of a POST,
 * so that it stands in no history, no log and no Referer; what it is exchanged for opens one conversation and lasts as
 * long as the tab; a link that has expired is explained kindly, with the way that still works.
 * Leaves to others: the conversation itself (`bubble/conversation.js`).
 */

import { Chat } from "./bubble/chat.js";
import { ConversationView } from "./bubble/conversation.js";
import { avatar, h, icon } from "./bubble/dom.js";
import { Session } from "./bubble/session.js";
import { loadStyles } from "./bubble/styles.js";
import { followView } from "./bubble/viewport.js";
import { loadWords } from "./bubble/words.js";

const KEPT = "chatd:page";

/** A link that chatd does not take (any more), as against one that could not be asked about. */
class LinkRefused extends Error {}

/** The link of the mail, which nobody sees any more afterwards. */
function takeLink() {
  const link = new URLSearchParams(location.hash.slice(1)).get("link") ?? "";
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return link;
}

/** @param {string} link @returns {Promise<{shop: string, token: string, conversation: string}>} */
async function exchange(link) {
  const response = await fetch("/v1/reply-links", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ link }),
    credentials: "omit",
    cache: "no-store",
  });
  if (response.ok) return response.json();
  // 429 and 5xx pass; anything else says that the link is none.
  if (response.status === 429 || response.status >= 500) throw new Error(`HTTP ${response.status}`);
  throw new LinkRefused(String(response.status));
}

class MessagesPage {
  link = takeLink();
  main = /** @type {HTMLElement} */ (document.querySelector("main"));

  async open() {
    this.words = await loadWords([...navigator.languages, document.documentElement.lang]);
    document.documentElement.lang = this.words.locale;
    followView(this.main, new AbortController().signal);
    try {
      if (this.link) {
        const { shop, token } = await exchange(this.link);
        this.link = "";
        sessionStorage.setItem(KEPT, shop);
        sessionStorage.setItem(`chatd:${shop}:token`, token);
      }
      const shop = sessionStorage.getItem(KEPT);
      if (!shop) return this.#explain("link_missing");
      this.#connect(shop);
    } catch (error) {
      if (error instanceof LinkRefused) this.#explain("link_expired");
      else this.#explain("link_failed", () => this.open());
    }
  }

  /** @param {string} shop the shop's key */
  #connect(shop) {
    const base = document.querySelector("meta[name=chatd-socket-base]")?.getAttribute("content") ?? "";
    const session = new Session({
      settings: { shop, socket: base + encodeURIComponent(shop) },
      storage: sessionStorage,
      outbox: sessionStorage,
      channel: "page",
    });
    session.addEventListener("ended", () => {
      session.logout();
      sessionStorage.clear();
      this.view?.remove();
      this.#explain("link_expired");
    });
    const chat = new Chat(session);
    const started = () => {
      if (!chat.state) return;
      chat.removeEventListener("change", started);
      void this.#show(chat);
    };
    chat.addEventListener("change", started);
    session.client.connect();
  }

  /** @param {Chat} chat */
  async #show(chat) {
    const words = /** @type {import("./bubble/words.js").Words} */ (this.words);
    const shop = /** @type {import("./state.js").CustomerState} */ (chat.state).shop;
    const host = document.createElement("chatd-messages");
    const root = host.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = await loadStyles(shop.colour);
    document.title = words.t("page_title", { shop: shop.name });
    this.view = new ConversationView({ chat, words, shop, isShown: () => true, introducible: false });
    root.append(
      h(
        "section.panel.page",
        { "aria-label": words.t("page_title", { shop: shop.name }) },
        h(
          "header.top",
          null,
          avatar(shop.name, "shop"),
          h("div.names", null, h("h1", { title: shop.name }, h("bdi", null, shop.name)), this.view.status),
        ),
        this.view.element,
      ),
    );
    this.main.replaceChildren(host);
    this.view.draw();
    this.view.composer.fit();
    if (!matchMedia("(pointer: coarse)").matches) this.view.focus();
  }

  /** @param {"link_missing" | "link_expired" | "link_failed"} why @param {() => void} [again] */
  #explain(why, again) {
    const { t } = /** @type {import("./bubble/words.js").Words} */ (this.words);
    const title = t(why === "link_failed" ? "link_failed_title" : "link_title");
    document.title = title;
    this.main.replaceChildren(
      h(
        "div.notice",
        { role: "alert" },
        icon("mail"),
        h("h1", null, title),
        h("p", null, t(why)),
        again && h("button", { type: "button", onclick: again }, t("try_again")),
      ),
    );
  }
}

void new MessagesPage().open();
