// @ts-check
/**
 * Maths of the pose pad. x runs 0 to 1 from left to right, y from top to bottom.
 *
 * yaw > 0 turns the nose to the right of the picture, pitch > 0 looks up, roll > 0 tilts the top of
 * the head to the right. The middle of the pad is straight ahead, also where the ranges are uneven.
 */

/** @typedef {import("./protocol.js").Pose} Pose */
/** @typedef {import("./protocol.js").PoseRange} PoseRange */

/** @type {Readonly<Pose>} */
export const STRAIGHT = Object.freeze({ yaw: 0, pitch: 0, roll: 0 });
/** Degrees of one press of an arrow key. */
const STEP_DEG = 2;
const BIG_STEP_DEG = 8;

/** @param {number} value @param {number} low @param {number} high @returns {number} */
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** @param {number} share -1 to 1 @param {[number, number]} range @returns {number} degrees */
function toDegrees(share, [low, high]) {
  // The + 0 turns -0 into 0: nobody wants to read "-0°".
  return clamp(share < 0 ? -share * Math.min(low, 0) : share * Math.max(high, 0), low, high) + 0;
}

/** @param {number} degrees @param {[number, number]} range @returns {number} -1 to 1 */
function toShare(degrees, [low, high]) {
  const end = degrees < 0 ? -low : high;
  return end > 0 ? clamp(degrees / end, -1, 1) + 0 : 0;
}

/** @param {number} x @param {number} y @param {PoseRange} range @returns {{yaw: number, pitch: number}} */
export function padToPose(x, y, range) {
  return {
    yaw: toDegrees(2 * clamp(x, 0, 1) - 1, range.yaw),
    pitch: toDegrees(1 - 2 * clamp(y, 0, 1), range.pitch),
  };
}

/** @param {Pose} pose @param {PoseRange} range @returns {{x: number, y: number}} */
export function poseToPad(pose, range) {
  return {
    x: (1 + toShare(pose.yaw, range.yaw)) / 2,
    y: (1 - toShare(pose.pitch, range.pitch)) / 2,
  };
}

/** @param {Pose} pose @param {PoseRange} range @returns {Pose} */
export function clampPose(pose, range) {
  return {
    yaw: clamp(pose.yaw, ...range.yaw),
    pitch: clamp(pose.pitch, ...range.pitch),
    roll: clamp(pose.roll, ...range.roll),
  };
}

/** @param {Pose} pose @returns {Pose} as the sliders of the panel count */
export function halfDegrees({ yaw, pitch, roll }) {
  /** @param {number} degrees */
  const half = (degrees) => Math.round(degrees * 2) / 2 + 0;
  return { yaw: half(yaw), pitch: half(pitch), roll: half(roll) };
}

/**
 * @param {Pose} pose
 * @param {string} key of a keyboard event
 * @param {boolean} big a big step (Shift)
 * @param {PoseRange} range
 * @returns {Pose | null} null when the key means nothing here
 */
export function poseAfterKey(pose, key, big, range) {
  const step = big ? BIG_STEP_DEG : STEP_DEG;
  switch (key) {
    case "ArrowLeft":
      return clampPose({ ...pose, yaw: pose.yaw - step }, range);
    case "ArrowRight":
      return clampPose({ ...pose, yaw: pose.yaw + step }, range);
    case "ArrowUp":
      return clampPose({ ...pose, pitch: pose.pitch + step }, range);
    case "ArrowDown":
      return clampPose({ ...pose, pitch: pose.pitch - step }, range);
    case "PageUp":
      return clampPose({ ...pose, pitch: pose.pitch + BIG_STEP_DEG }, range);
    case "PageDown":
      return clampPose({ ...pose, pitch: pose.pitch - BIG_STEP_DEG }, range);
    case "Home":
      return clampPose({ ...STRAIGHT }, range);
    default:
      return null;
  }
}

/** What a screen reader says. @param {{yaw: number, pitch: number}} pose @returns {string} */
export function poseText({ yaw, pitch }) {
  const side = Math.round(Math.abs(yaw));
  const height = Math.round(Math.abs(pitch));
  const words = [
    ...(side ? [`${side}° to the ${yaw > 0 ? "right" : "left"}`] : []),
    ...(height ? [`${height}° ${pitch > 0 ? "up" : "down"}`] : []),
  ];
  return words.length > 0 ? words.join(", ") : "straight ahead";
}
