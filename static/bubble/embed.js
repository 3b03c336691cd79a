// @ts-check
/**
 * The bubble's one script on a shop's page: it draws the launcher and waits.
 *
 * For: `<script async src="https://chat.example/bubble/KEY.js"></script>`. chatd puts the shop's settings in place of
 * the token below.
 *
 * Promises:
 * - One global, `window.chatd`. Included twice, it does nothing the second time.
 * - Nobody who has never written causes a socket, or a second request, before they reach for the launcher.
 * - The page's styles and the bubble's do not meet: closed shadow root, styles adopted as constructed sheets, which a
 *   Content-Security-Policy without `style-src 'unsafe-inline'` allows.
 * - A mistake in a call is told on the console and never thrown into the shop's own code.
 *
 * Leaves to others: the connection, the cart and the numbers (`session.js`), everything behind the click (`panel.js`, which
 * also draws the launcher's other face).
 *
 * Calls may be made before this script has arrived, by the stub
 * `window.chatd = window.chatd || []; chatd.push(["cart", {…}])`; they are carried out in their order.
 */
(() => {
  "use strict";

  /**
   * @typedef {object} Settings
   * @property {string} shop the shop's key
   * @property {string} socket
   * @property {string} assets where the modules lie, with a slash at the end
   * @property {string} name
   * @property {string} colour `#rrggbb`
   * @property {string} on_colour what stands out on it
   * @property {string} greeting
   * @property {string} locale
   * @property {"left" | "right"} position
   * @property {boolean} ask_first
   * @property {Record<string, string>} labels `open`, `close`, `failed`, in the shop's language
   */
  const settings = /** @type {Settings} */ (/** @type {unknown} */ (/*CHATD_SETTINGS*/null));

  // The page may hold `<form id="chatd">`, which makes `window.chatd` an element (DOM clobbering); only our own object
  // has this method.
  const early = /** @type {any} */ (window).chatd;
  if (!settings || (early && typeof early.identify === "function")) return;

  const prefix = `chatd:${settings.shop}:`;
  const nonce = /** @type {HTMLScriptElement | null} */ (document.currentScript)?.nonce ?? "";

  // ------------------------------------------------------------------ what the browser keeps

  /** A storage that never throws: with cookies blocked, even the property `localStorage` does. What cannot be kept lives as long as the page. */
  const safely = (/** @type {"localStorage" | "sessionStorage"} */ kind) => {
    /** @type {Map<string, string>} */
    const memory = new Map();
    /** @template T @param {(real: Storage) => T} work */
    const attempt = (work) => {
      try {
        return work(window[kind]);
      } catch {
        // Refused by the browser's settings, or full.
      }
    };
    return {
      real: attempt((real) => real) ?? null,
      getItem: (/** @type {string} */ key) => attempt((real) => real.getItem(key)) ?? memory.get(key) ?? null,
      setItem(/** @type {string} */ key, /** @type {string} */ value) {
        memory.set(key, value);
        attempt((real) => real.setItem(key, value));
      },
      removeItem(/** @type {string} */ key) {
        memory.delete(key);
        attempt((real) => real.removeItem(key));
      },
      /** Drops whatever this shop's bubble has kept. */
      forget() {
        memory.clear();
        attempt((real) => {
          for (const key of Object.keys(real)) if (key.startsWith(prefix)) real.removeItem(key);
        });
      },
    };
  };
  const storage = safely("localStorage");
  const tab = safely("sessionStorage");

  // ------------------------------------------------------------------ the launcher

  const host = document.createElement("chatd-bubble");
  const root = host.attachShadow({ mode: "closed" });

  const side = settings.position === "left" ? "left" : "right";

  const sheet = new CSSStyleSheet();
  // `all` and the rest are important because only so do they outweigh the page's own rules for the host element.
  sheet.replaceSync(`
    :host {
      all: initial !important; position: fixed !important; inset: auto !important; z-index: 2147483000 !important;
      color-scheme: light dark !important;
    }
    [hidden] { display: none !important; }
    .launcher {
      box-sizing: border-box; position: fixed; ${side}: calc(20px + env(safe-area-inset-${side}, 0px));
      bottom: calc(20px + env(safe-area-inset-bottom, 0px)); inline-size: 56px; block-size: 56px; margin: 0; padding: 0;
      display: grid; place-items: center; border: 0; border-radius: 50%; background: #0f766e;
      color: #fff; cursor: pointer; -webkit-tap-highlight-color: transparent;
      box-shadow: 0 1px 2px rgb(0 0 0 / .16), 0 6px 20px rgb(0 0 0 / .18); transition: transform 150ms ease-out;
    }
    .launcher:hover { transform: scale(1.05); }
    .launcher:active { transform: scale(.97); }
    .launcher:focus-visible { outline: 2px solid #0f766e; outline-offset: 2px; box-shadow: 0 0 0 2px #fff; }
    svg { grid-area: 1 / 1; inline-size: 28px; block-size: 28px; fill: none; stroke: currentColor; stroke-width: 1.5;
      stroke-linecap: round; stroke-linejoin: round; transition: transform 150ms ease-out, opacity 150ms ease-out; }
    [aria-busy=true] .chat { animation: breathe 1s ease-in-out infinite alternate; }
    @keyframes breathe { to { opacity: .35; } }
    .unread, .note { font: 600 12px/20px system-ui, sans-serif; }
    .unread { position: absolute; inset-block-start: -4px; inset-inline-end: -4px; min-inline-size: 20px;
      box-sizing: border-box; padding-inline: 6px; border-radius: 10px; background: #d92d20; color: #fff;
      font-variant-numeric: tabular-nums; box-shadow: 0 0 0 2px #fff; }
    .note { position: fixed; ${side}: 88px; bottom: 34px; margin: 0; padding: 4px 12px; border-radius: 10px;
      background: #16181d; color: #fff; font-weight: 400; font-size: 13px; max-inline-size: calc(100vw - 140px); }
    @media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
    @media (forced-colors: active) { .launcher { border: 2px solid ButtonText; } }
    @media print { :host { display: none !important; } }`);
  root.adoptedStyleSheets = [sheet];

  const make = (/** @type {string} */ name, /** @type {Record<string, string>} */ attributes, .../** @type {Node[]} */ children) => {
    const svg = /^(svg|path)$/.test(name);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return /** @type {any} */ (element);
  };
  const balloon = "M3.6 16.6l1-3.2A7 6.2 0 1 1 7.5 15ZM7.2 9.2h.01M10 9.2h.01M12.8 9.2h.01";
  const badge = make("span", { class: "unread", "aria-hidden": "true" });
  const launcher = make(
    "button",
    { class: "launcher", type: "button", "aria-haspopup": "dialog" },
    make("svg", { class: "chat", viewBox: "0 0 20 20", "aria-hidden": "true" }, make("path", { d: balloon })),
    badge,
  );
  // By properties and not in the sheet: there, what is no colour could close the rule and open another.
  const { colour, on_colour: color } = settings;
  Object.assign(launcher.style, { backgroundColor: colour, outlineColor: colour, color });
  const note = make("p", { class: "note", role: "status", hidden: "" });
  root.append(launcher, note);

  let opened = false;
  let unread = 0;
  const draw = () => {
    launcher.setAttribute("aria-expanded", String(opened));
    launcher.setAttribute(
      "aria-label",
      opened ? settings.labels.close : settings.labels.open + (unread ? ` (${unread})` : ""),
    );
    badge.hidden = opened || unread === 0;
    badge.textContent = unread > 99 ? "99+" : String(unread);
  };

  // ------------------------------------------------------------------ what is fetched when it is wanted

  /** What the panel waits for, fetched side by side. chatd serves each of the two modules with all that it imports. */
  const BEHIND_THE_CLICK = ["panel.js", "session.js", "panel.css", "../tokens.css"];
  let warmed = false;
  const warm = () => {
    if (warmed) return;
    warmed = true;
    for (const path of BEHIND_THE_CLICK) {
      const link = document.createElement("link");
      link.rel = path.endsWith(".js") ? "modulepreload" : "preload";
      if (link.rel === "preload") Object.assign(link, { as: "fetch", crossOrigin: "anonymous" });
      link.href = new URL(path, `${settings.assets}bubble/`).href;
      if (nonce) link.nonce = nonce;
      document.head?.append(link);
    }
  };

  let tries = 0;
  /** After a failure another address is asked for: browsers remember that a module could not be had. */
  const load = (/** @type {string} */ file) =>
    import(`${settings.assets}bubble/${file}${tries ? "?try=" + tries : ""}`);

  /** @type {Promise<any> | null} */
  let session = null;
  /** @type {any} the same, once it is there */
  let live = null;
  /** @type {any} */
  let panel = null;
  /** @type {unknown} */
  let cart = null;
  let identity = "";

  /** The connection of this page; made once, by whoever needs it first. */
  const connected = () => {
    const wanted = (session ??= load("session.js").then(({ Session }) => {
      if (session !== wanted) throw new Error("logged out meanwhile");
      const made = (live = new Session({ settings, storage, outbox: storage.real, identity }));
      made.addEventListener("unread", (/** @type {CustomEvent} */ event) => {
        unread = event.detail;
        draw();
        tell("unread", unread);
      });
      made.addEventListener("message", (/** @type {CustomEvent} */ event) => tell("message", event.detail));
      // Another tab has logged out: what is on this screen belongs to somebody else now.
      made.addEventListener("ended", () => api.logout());
      if (cart) made.setCart(cart);
      made.client.connect();
      return made;
    }));
    wanted.catch(() => session === wanted && (session = null));
    return wanted;
  };
  const connectLater = () => idle(() => void connected().catch(() => {}));

  const open = async ({ restored = false } = {}) => {
    if (opened || launcher.getAttribute("aria-busy") === "true") return;
    warm();
    note.hidden = true;
    launcher.setAttribute("aria-busy", "true");
    try {
      const [{ Panel }, made] = await Promise.all([load("panel.js"), connected()]);
      panel ??= new Panel({ root, settings, session: made, tab, close: () => close() });
      await panel.ready;
      opened = true;
      panel.open({ restored });
      tab.setItem(`${prefix}open`, "1");
      tell("open", { restored });
    } catch (error) {
      tries += 1;
      panel?.remove();
      panel = null; // what it lacks is fetched anew at the next click
      console.warn("chatd: the chat could not be loaded", error);
      // A panel that opens by itself on the next page must not complain by itself as well.
      note.textContent = settings.labels.failed ?? "";
      note.hidden = restored || !note.textContent;
    } finally {
      launcher.removeAttribute("aria-busy");
      draw();
    }
  };

  const close = () => {
    if (!opened) return;
    opened = false;
    tab.removeItem(`${prefix}open`);
    panel.close();
    draw();
    launcher.focus({ preventScroll: true });
    tell("close");
  };

  launcher.addEventListener("pointerenter", warm, { once: true });
  launcher.addEventListener("click", () => (opened ? close() : void open()));

  // ------------------------------------------------------------------ window.chatd

  /** @type {Map<string, Set<(detail?: unknown) => void>>} */
  const listeners = new Map(["open", "close", "message", "unread"].map((name) => [name, new Set()]));
  const tell = (/** @type {string} */ name, /** @type {unknown} */ detail = undefined) => {
    for (const listener of listeners.get(name) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        console.error(`chatd: a listener of "${name}" failed`, error);
      }
    }
  };

  const api = {
    /** Opens the panel. */
    open: () => void open(),
    /** Closes the panel. */
    close,
    /** The whole cart as it is now, money in integer minor units. Kept until a conversation exists. */
    cart(/** @type {unknown} */ value) {
      cart = value;
      live?.setCart(value);
    },
    /** Says who is logged in: `{token}` is a JWT that the shop's backend has signed. */
    identify(/** @type {{token: string}} */ value) {
      if (typeof value?.token !== "string")
        return console.warn("chatd.identify: expected {token: a JWT from the shop's backend}");
      identity = value.token;
      if (live) live.identify(identity);
      else connectLater();
    },
    /** Forgets the customer at once: token, unsent messages, draft and thread. */
    logout() {
      if (opened) close();
      panel?.remove();
      // First the connection, which writes down what it has not sent yet; then there is nobody left to write.
      live?.logout();
      panel = session = live = cart = null;
      identity = "";
      unread = 0;
      storage.forget();
      tab.forget();
      draw();
    },
    /** Calls `listener` on "open", "close", "message" and "unread"; the answer takes it off again. */
    on(/** @type {string} */ name, /** @type {(detail?: unknown) => void} */ listener) {
      const set = listeners.get(name);
      if (!set || typeof listener !== "function") {
        console.warn(`chatd.on: expected one of ${[...listeners.keys()].join(", ")} and a function`);
        return () => {};
      }
      set.add(listener);
      return () => set.delete(listener);
    },
    /** One call as the stub writes it down: `["cart", {…}]`. */
    push(/** @type {[string, ...unknown[]]} */ call) {
      const method =
        Array.isArray(call) && call[0] !== "push" && Object.hasOwn(api, call[0])
          ? api[/** @type {"on"} */ (call[0])]
          : null;
      if (!method) return console.warn("chatd.push: expected [method, …arguments], got", call);
      /** @type {Function} */ (method)(...call.slice(1));
    },
  };
  /** @type {any} */ (window).chatd = api;

  // ------------------------------------------------------------------ the beginning

  const idle = (/** @type {() => void} */ work) =>
    "requestIdleCallback" in window ? requestIdleCallback(work, { timeout: 1_000 }) : setTimeout(work, 300);

  draw();
  // Beside <body>, not in it: pages that replace their body on navigation, or move it by a transform, take nothing along.
  document.documentElement.append(host);
  if (Array.isArray(early)) for (const call of early) api.push(call);
  document.dispatchEvent(new CustomEvent("chatd:ready", { detail: api }));
  if (tab.getItem(`${prefix}open`)) void open({ restored: true });
  else if (storage.getItem(`${prefix}talked`)) connectLater();
})();
