// @ts-check
/** The last picture of a video, kept in front of it until there is a new one. */

export class Still {
  #video;
  #canvas;
  /** @type {number | undefined} */
  #until;

  /** @param {HTMLVideoElement} video @param {HTMLCanvasElement} canvas of the same place and size */
  constructor(video, canvas) {
    this.#video = video;
    this.#canvas = canvas;
  }

  /**
   * Copies what the video shows; without a picture there is nothing to keep.
   *
   * @param {number} [for_ms] how long at most; without it until `drop`
   */
  keep(for_ms) {
    const { videoWidth, videoHeight, srcObject } = this.#video;
    if (!this.#canvas.hidden || !srcObject || videoWidth === 0) return;
    this.#canvas.width = videoWidth;
    this.#canvas.height = videoHeight;
    this.#canvas.getContext("2d")?.drawImage(this.#video, 0, 0);
    this.#canvas.hidden = false;
    if (for_ms !== undefined) this.#until = window.setTimeout(() => this.drop(), for_ms);
  }

  /** There is a new picture, or the old one has no meaning any more. May be called again. */
  drop() {
    window.clearTimeout(this.#until);
    this.#canvas.hidden = true;
  }
}
