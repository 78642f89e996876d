// @ts-check
/** One line that comes, offers something for a while, and goes. */

export const OFFER_MS = 6_000;

export class Toast {
  #elements;
  #timer = 0;
  /** @type {(() => void) | null} */
  #offer = null;

  /** @param {{toast: HTMLElement, text: HTMLElement, action: HTMLButtonElement}} elements */
  constructor(elements) {
    this.#elements = elements;
    const { toast, action } = elements;
    action.addEventListener("click", () => {
      const offer = this.#offer;
      this.hide();
      offer?.();
    });
    // Nobody should have to race for a button they are already at.
    for (const type of ["pointerenter", "focusin"]) {
      toast.addEventListener(type, () => window.clearTimeout(this.#timer));
    }
    for (const type of ["pointerleave", "focusout"]) {
      toast.addEventListener(type, () => this.#leaveLater());
    }
  }

  /** @param {string} words @param {{label: string, call: () => void}} [offer] */
  show(words, offer) {
    const { toast, text, action } = this.#elements;
    this.#offer = offer?.call ?? null;
    text.textContent = words;
    action.textContent = offer?.label ?? "";
    action.hidden = !offer;
    toast.dataset["shown"] = "true";
    this.#leaveLater();
  }

  hide() {
    const { toast, text, action } = this.#elements;
    window.clearTimeout(this.#timer);
    this.#offer = null;
    text.textContent = "";
    action.hidden = true;
    toast.dataset["shown"] = "false";
  }

  #leaveLater() {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.hide(), OFFER_MS);
  }
}
