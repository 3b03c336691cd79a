// @ts-check
/**
 * What one person has chosen for their inbox in this browser. Dispatches "change" with the name of the setting, in
 * every tab.
 *
 * Promises: an unknown or broken stored value counts as the usual one; a forbidden storage costs only the memory of it.
 */

const PREFIX = "chatd.inbox.setting.";

/** The first value of each is the usual one. */
const VALUES = Object.freeze({
  theme: ["system", "light", "dark"],
  enter_sends: ["yes", "no"],
  sound: ["on", "off"],
  sections: ["wide", "narrow"],
  customer: ["shown", "hidden"],
  locale: ["", "en", "sv", "de", "es", "fr", "ru", "zh"],
});

/** @typedef {keyof typeof VALUES} Name */

/** The browser's storage, or null where a person has forbidden it: then the very mention of it throws. */
export function browserStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}

export class Settings extends EventTarget {
  /** @param {Storage | null} storage */
  constructor(storage) {
    super();
    this.storage = storage;
    /** @type {Map<Name, string>} what could not be stored */
    this.memory = new Map();
    globalThis.addEventListener?.("storage", (event) => {
      if (event.key?.startsWith(PREFIX)) this.#tell(/** @type {Name} */ (event.key.slice(PREFIX.length)));
    });
  }

  /** @param {Name} name */
  get(name) {
    let value = this.memory.get(name) ?? null;
    try {
      value ??= this.storage?.getItem(PREFIX + name) ?? null;
    } catch {}
    return VALUES[name].includes(value ?? "?") ? /** @type {string} */ (value) : VALUES[name][0];
  }

  /** @param {Name} name @param {string} value */
  set(name, value) {
    try {
      if (!this.storage) throw new Error("no storage");
      this.storage.setItem(PREFIX + name, value);
      this.memory.delete(name);
    } catch {
      this.memory.set(name, value);
    }
    this.#tell(name);
  }

  /** Light, dark, or whatever the system has. @param {HTMLElement} root */
  applyTheme(root) {
    const theme = this.get("theme");
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  /** @param {Name} name */
  #tell(name) {
    this.dispatchEvent(new CustomEvent("change", { detail: name }));
  }
}
