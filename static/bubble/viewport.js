// @ts-check
/**
 * How much of the screen the keyboard of a phone leaves free, as `--view-top` and `--view-height` for the style sheet.
 *
 * iOS lays its keyboard over the page and pushes the page up; only the visual viewport tells. Browsers that make the page
 * smaller instead report the same numbers.
 */

/** @param {HTMLElement} element @param {AbortSignal} signal */
export function followView(element, signal) {
  const view = visualViewport;
  if (!view) return;
  const tell = () => {
    element.style.setProperty("--view-top", `${view.offsetTop}px`);
    element.style.setProperty("--view-height", `${view.height}px`);
  };
  tell();
  for (const type of ["resize", "scroll"]) view.addEventListener(type, tell, { signal });
}
