// @ts-check
/** Which avatar: the server's list, the page's address (?avatar=NAME), and the user's choice. */

import { checkAvatar } from "./protocol.js";

/** @typedef {import("./protocol.js").Avatar} Avatar */

export class AvatarChoice {
  #elements;
  #onShow;
  #onChange;

  /**
   * @param {{box: HTMLElement, select: HTMLSelectElement}} elements
   * @param {(avatar: Avatar) => void} onShow the avatar to show before anything is live
   * @param {() => void} onChange the user chose another one
   */
  constructor(elements, onShow, onChange) {
    this.#elements = elements;
    this.#onShow = onShow;
    this.#onChange = onChange;
  }

  /** @returns {string | null} null: the server may choose */
  get name() {
    return this.#elements.select.value || null;
  }

  /** Reads the server's list. @param {string | null} wanted @throws {Error} if it cannot be read */
  async load(wanted) {
    const response = await fetch("api/avatars");
    if (!response.ok) return;
    /** @type {Avatar[]} */
    const avatars = await response.json();
    avatars.forEach((avatar, index) => checkAvatar(avatar, `avatars[${index}]`));
    const first = avatars.find(({ name }) => name === wanted) ?? avatars[0];
    if (!first) return;
    const { box, select } = this.#elements;
    select.replaceChildren(
      ...avatars.map(({ name, label }) => new Option(label, name, false, name === first.name)),
    );
    box.hidden = avatars.length < 2;
    select.addEventListener("change", () => {
      const avatar = avatars.find(({ name }) => name === select.value);
      if (avatar) this.#onShow(avatar);
      this.#onChange();
    });
    this.#onShow(first);
  }
}
