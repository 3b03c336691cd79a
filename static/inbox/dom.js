// @ts-check
/**
 * Making and mending elements without a framework.
 *
 * Promises: what comes in as a string goes out as text, never as markup. `reconcile` keeps the element of a key, so
 * that focus, selection, scroll and running transitions survive a redraw.
 */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element. A name may carry classes ("p.line.quiet"). An attribute that is `true` stands without a value; `false`,
 * `null` and `undefined` leave it out; one named `on…` is a listener; one named `.…` is a property.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T | `${T}.${string}` | string} name
 * @param {Record<string, any> | null} [attributes]
 * @param {...Child} children
 * @returns {any}
 */
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith(".")) /** @type {any} */ (element)[key.slice(1)] = value;
    else if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else setAttribute(element, key, value);
  }
  element.append(
    .../** @type {(Node | string)[]} */ (
      children.filter(isShown).map((child) => (typeof child === "number" ? String(child) : child))
    ),
  );
  return element;
}

/** @param {Child} child */
const isShown = (child) => child !== null && child !== undefined && child !== false && child !== "";

/**
 * Touches the page only when something is different.
 *
 * @param {Element} element
 * @param {string} name
 * @param {any} value
 */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== (value === true ? "" : String(value)))
    element.setAttribute(name, value === true ? "" : String(value));
}

/** @param {Element} element @param {Record<string, any>} attributes */
export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
}

/** @param {Node} element @param {string | number} text */
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = String(text);
}

/** Replaces the children. @param {Element} parent @param {...Child} children */
export function fill(parent, ...children) {
  parent.replaceChildren(
    .../** @type {(Node | string)[]} */ (
      children.filter(isShown).map((child) => (typeof child === "number" ? String(child) : child))
    ),
  );
}

/**
 * An icon of the sprite in the page. It says nothing to a screen reader: the words stand beside it or on its button.
 *
 * @param {string} name
 * @param {string} [classes]
 */
export function icon(name, classes = "") {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", `icon ${classes}`.trim());
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Makes an icon show another one. @param {Element | null} svg @param {string} name */
export function setIcon(svg, name) {
  const use = svg?.firstElementChild;
  if (use) setAttribute(use, "href", `#icon-${name}`);
}

/**
 * Makes the children of `parent` those of `items`, in their order. Elements move only where they must.
 *
 * @template I
 * @param {Element} parent
 * @param {readonly I[]} items
 * @param {(item: I) => string} keyOf
 * @param {(item: I) => Element} create
 * @param {(element: any, item: I) => void} update
 */
export function reconcile(parent, items, keyOf, create, update) {
  /** @type {Map<string, Element>} */
  const kept = new Map();
  for (const child of parent.children) kept.set(/** @type {any} */ (child).reconcileKey, child);
  /** @type {Set<Element>} */
  const wanted = new Set();
  const elements = items.map((item) => {
    const key = keyOf(item);
    const element = kept.get(key) ?? create(item);
    /** @type {any} */ (element).reconcileKey = key;
    wanted.add(element);
    update(element, item);
    return element;
  });
  for (const child of kept.values()) if (!wanted.has(child)) child.remove();
  const focused = document.activeElement;
  let next = parent.firstElementChild;
  for (const element of elements) {
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  // An element that is moved loses the focus on the way.
  if (focused !== document.activeElement && parent.contains(focused))
    /** @type {HTMLElement} */ (focused).focus({ preventScroll: true });
}

/**
 * Loads the sprite into the page. As a document of its own `<use>` could name it from afar, but browsers disagree on
 * which directive of a content security policy allows that.
 *
 * @param {string} address
 * @returns {Promise<void>}
 */
export function loadIcons(address) {
  return new Promise((resolve) => {
    // Not `fetch` and `DOMParser`: parsing text into a document is what Trusted Types forbid.
    const request = new XMLHttpRequest();
    request.responseType = "document";
    request.overrideMimeType("image/svg+xml");
    request.onload = () => {
      const sprite = request.responseXML?.documentElement;
      if (sprite) {
        sprite.setAttribute("hidden", "");
        sprite.setAttribute("class", "sprite");
        sprite.setAttribute("aria-hidden", "true");
        document.body.prepend(document.importNode(sprite, true));
      }
      resolve();
    };
    request.onerror = () => resolve(); // the words of every button are enough to go on with
    request.open("GET", address);
    request.send();
  });
}
