// @ts-check
/**
 * Runs inside the page: for each frame that is really presented, notes the time, how loud the
 * delayed voice is, and the luma of the mouth's region.
 *
 * @param {{box: number[], pixels: number[], seconds: number}} options
 */
async ({ box, pixels, seconds }) => {
  const [left = 0, top = 0, boxWidth = 1, boxHeight = 1] = box;
  const [width = 1, height = 1] = pixels;
  const video = /** @type {HTMLVideoElement} */ (document.querySelector("video"));
  const canvas = new OffscreenCanvas(width, height);
  const paper = /** @type {OffscreenCanvasRenderingContext2D} */ (
    canvas.getContext("2d", { willReadFrequently: true })
  );

  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  const samples = new Float32Array((analyser.fftSize = 2048));
  context.createMediaStreamSource(/** @type {MediaStream} */ (video.srcObject)).connect(analyser);

  /** @type {{time_ms: number[], presented: number[], voice: number[], mouth: string}} */
  const rows = { time_ms: [], presented: [], voice: [], mouth: "" };
  /** @type {string[]} */
  const mouths = [];
  const end_ms = performance.now() + seconds * 1000;
  await new Promise((resolve) => {
    /** A picture may never come: the time ends the recording all the same. */
    setTimeout(resolve, seconds * 1000 + 2000);
    /** @type {VideoFrameRequestCallback} */
    const onFrame = (now, frame) => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      const { videoWidth, videoHeight } = video;
      paper.drawImage(
        video,
        left * videoWidth,
        top * videoHeight,
        boxWidth * videoWidth,
        boxHeight * videoHeight,
        0,
        0,
        width,
        height,
      );
      const { data } = paper.getImageData(0, 0, width, height);
      let mouth = "";
      for (let i = 0; i < data.length; i += 4) {
        const luma =
          0.299 * (data[i] ?? 0) + 0.587 * (data[i + 1] ?? 0) + 0.114 * (data[i + 2] ?? 0);
        mouth += Math.round(luma).toString(16).padStart(2, "0");
      }
      mouths.push(mouth);
      rows.time_ms.push(frame.presentationTime);
      rows.presented.push(frame.presentedFrames);
      rows.voice.push(Math.sqrt(power));
      if (now < end_ms) video.requestVideoFrameCallback(onFrame);
      else resolve(null);
    };
    video.requestVideoFrameCallback(onFrame);
  });
  void context.close();
  rows.mouth = mouths.join("");
  return rows;
};
