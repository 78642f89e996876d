// @ts-check
/** Finding and making elements: the page's own html must hold what its scripts ask for. */

/**
 * @template {Element} E
 * @param {string} id
 * @param {new () => E} kind
 * @returns {E}
 */
export function find(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`This page has no ${kind.name} #${id}.`);
  return element;
}

/** @param {string} className @param {string} text @returns {HTMLSpanElement} */
export function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

/** @param {EventTarget | null} target @returns {boolean} whether a typed digit means text there */
export function isField(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["range", "checkbox"].includes(target.type);
  return target.isContentEditable || target.matches("select, textarea");
}

/**
 * Read-only figures for tests and for the curious: `daetalker.framesShown` in the browser's console.
 *
 * @param {() => Record<string, unknown>} read called anew for each look
 */
export function inspectable(read) {
  const figures = {};
  for (const name of Object.keys(read())) {
    Object.defineProperty(figures, name, { get: () => read()[name], enumerable: true });
  }
  Object.defineProperty(window, "daetalker", { value: Object.freeze(figures) });
}
