// @ts-check
/**
 * Runs before the page is painted: the look that was chosen in this browser (`settings.js`), so that nothing turns from
 * light to dark or from wide to narrow a moment later. And it tells when the inbox itself does not come.
 */
(() => {
  const root = document.documentElement;
  for (const name of ["theme", "sections", "customer"]) {
    try {
      const value = localStorage.getItem(`chatd.inbox.setting.${name}`);
      if (value && value !== "system") root.dataset[name] = value;
    } catch {
      // Storage is forbidden: the usual look.
    }
  }
  const tell = () => {
    const frame = document.querySelector(".inbox-frame");
    const failed = /** @type {HTMLElement | null} */ (document.querySelector(".frame-failed"));
    if (!frame || !failed) return; // the inbox is there, and has its own words
    frame.remove();
    failed.hidden = false;
  };
  // The errors of elements do not bubble.
  addEventListener("error", ({ target }) => target instanceof HTMLScriptElement && tell(), true);
  addEventListener("unhandledrejection", tell);
})();
