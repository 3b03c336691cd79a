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
 * Leaves to others: the connection, the cart and the numbers (`session.js`), everything behind the click (`panel.js`).
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
    /** @type {Storage | null} */
    let real = null;
    try {
      real = window[kind];
    } catch {
      // Refused by the browser's settings.
    }
    return {
      real,
      getItem(/** @type {string} */ key) {
        try {
          return real?.getItem(key) ?? memory.get(key) ?? null;
        } catch {
          return memory.get(key) ?? null;
        }
      },
      setItem(/** @type {string} */ key, /** @type {string} */ value) {
        memory.set(key, value);
        try {
          real?.setItem(key, value);
        } catch {
          // Full, or refused.
        }
      },
      removeItem(/** @type {string} */ key) {
        memory.delete(key);
        try {
          real?.removeItem(key);
        } catch {
          // Refused.
        }
      },
      /** Drops whatever this shop's bubble has kept. */
      forget() {
        memory.clear();
        try {
          for (const key of Object.keys(real ?? {})) if (key.startsWith(prefix)) real?.removeItem(key);
        } catch {
          // Refused.
        }
      },
    };
  };
  const storage = safely("localStorage");
  const tab = safely("sessionStorage");

  // ------------------------------------------------------------------ the launcher

  const host = document.createElement("chatd-bubble");
  const root = host.attachShadow({ mode: "closed" });

  /** Relative luminance by WCAG 2.2; above 0.18, black stands out more than white does. */
  const luminance = [1, 3, 5]
    .map((at) => parseInt(settings.colour.slice(at, at + 2), 16) / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  // Only a colour of exactly this form goes into the sheet: anything else could close the rule and open another.
  const accent = /^#[0-9a-f]{6}$/i.test(settings.colour) ? settings.colour : "#0f766e";
  const side = settings.position === "left" ? "left" : "right";

  const sheet = new CSSStyleSheet();
  // `all` and the rest are important because only so do they outweigh the page's own rules for the host element.
  sheet.replaceSync(`
    :host {
      all: initial !important; position: fixed !important; inset: auto !important; z-index: 2147483000 !important;
      color-scheme: light dark !important;
      --accent: ${accent}; --on-accent: ${luminance > 0.18 ? "#16181d" : "#fff"};
    }
    [hidden] { display: none !important; }
    .launcher {
      box-sizing: border-box; position: fixed; ${side}: calc(20px + env(safe-area-inset-${side}, 0px));
      bottom: calc(20px + env(safe-area-inset-bottom, 0px)); inline-size: 56px; block-size: 56px; margin: 0; padding: 0;
      display: grid; place-items: center; border: 0; border-radius: 50%; background: var(--accent);
      color: var(--on-accent); cursor: pointer; -webkit-tap-highlight-color: transparent;
      box-shadow: 0 1px 2px rgb(0 0 0 / .16), 0 6px 20px rgb(0 0 0 / .18); transition: transform 150ms ease-out;
    }
    .launcher:hover { transform: scale(1.05); }
    .launcher:active { transform: scale(.97); }
    .launcher:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; box-shadow: 0 0 0 2px #fff; }
    svg { grid-area: 1 / 1; inline-size: 28px; block-size: 28px; fill: none; stroke: currentColor; stroke-width: 1.5;
      stroke-linecap: round; stroke-linejoin: round; transition: transform 150ms ease-out, opacity 150ms ease-out; }
    .shut, [aria-expanded=true] .chat { opacity: 0; transform: scale(.6); }
    [aria-expanded=true] .shut { opacity: 1; transform: none; }
    [aria-busy=true] .chat { animation: breathe 1s ease-in-out infinite alternate; }
    @keyframes breathe { to { opacity: .35; } }
    .unread, .note { font: 600 12px/20px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
    .unread { position: absolute; inset-block-start: -4px; inset-inline-end: -4px; min-inline-size: 20px;
      box-sizing: border-box; padding-inline: 6px; border-radius: 10px; background: #d92d20; color: #fff;
      font-variant-numeric: tabular-nums; box-shadow: 0 0 0 2px #fff; }
    .note { position: fixed; ${side}: 88px; bottom: 34px; margin: 0; padding: 4px 12px; border-radius: 10px;
      background: #16181d; color: #fff; font-weight: 400; font-size: 13px; max-inline-size: calc(100vw - 140px); }
    @media (max-width: 479.98px), (max-height: 419.98px) { .launcher[aria-expanded=true] { visibility: hidden; } }
    @media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important; } }
    @media (forced-colors: active) { .launcher { border: 2px solid ButtonText; } }
    @media print { :host { display: none !important; } }`);
  root.adoptedStyleSheets = [sheet];

  const glyph = (/** @type {string} */ name, /** @type {string[]} */ paths) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", name);
    svg.setAttribute("viewBox", "0 0 20 20");
    svg.setAttribute("aria-hidden", "true");
    for (const line of paths) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", line);
      svg.append(path);
    }
    return svg;
  };
  const launcher = document.createElement("button");
  launcher.type = "button";
  launcher.className = "launcher";
  launcher.setAttribute("aria-haspopup", "dialog");
  const badge = document.createElement("span");
  badge.className = "unread";
  badge.setAttribute("aria-hidden", "true");
  launcher.append(
    glyph("chat", [
      "M17 9.2c0 3.4-3.1 6.2-7 6.2-.9 0-1.7-.1-2.5-.4L3.6 16.600l1-3.200C3.6 12.3 3 10.8 3 9.2 3 5.8 6.1 3 10 3s7 2.8 7 6.200Z",
      "M7.2 9.200h.01M10 9.200h.01M12.8 9.200h.01",
    ]),
    glyph("shut", ["M5.5 8l4.5 4.500L14.5 8"]),
    badge,
  );
  const note = document.createElement("p");
  note.className = "note";
  note.setAttribute("role", "status");
  note.hidden = true;
  root.append(launcher, note);
  // A shop's keyboard shortcuts see our keys as pressed on a plain element, so "/" while writing would open its search.
  for (const type of ["keydown", "keypress", "keyup"]) host.addEventListener(type, (event) => event.stopPropagation());

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
    import(`${settings.assets}bubble/${file}${tries ? `?try=${tries}` : ""}`);

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
      made.connect();
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
      if (!restored) tell("open");
    } catch (error) {
      tries += 1;
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
  launcher.addEventListener("pointerdown", warm, { once: true });
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
    "requestIdleCallback" in window ? requestIdleCallback(work, { timeout: 3_000 }) : setTimeout(work, 300);

  draw();
  // Beside <body>, not in it: pages that replace their body on navigation, or move it by a transform, take nothing along.
  document.documentElement.append(host);
  if (Array.isArray(early)) for (const call of early) api.push(call);
  document.dispatchEvent(new CustomEvent("chatd:ready", { detail: api }));
  if (tab.getItem(`${prefix}open`)) void open({ restored: true });
  else if (storage.getItem(`${prefix}talked`)) connectLater();
})();
