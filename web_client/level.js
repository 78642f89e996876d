// @ts-check
/** Maths of the level meter: samples -> decibels -> a bar that rises at once and falls gently. */

/** What the bar's left end stands for: about the noise of a quiet room. */
export const FLOOR_DBFS = -60;
const FALL_PER_S = 1.4;
const PEAK_HOLD_S = 0.9;

/** @param {ArrayLike<number>} samples in [-1, 1] @returns {number} dBFS of the root mean square, at least -120 */
export function levelDbfs(samples) {
  let sum = 0;
  for (let i = 0; i < samples.length; i += 1) sum += (samples[i] ?? 0) ** 2;
  const power = samples.length > 0 ? sum / samples.length : 0;
  return Math.max(-120, 10 * Math.log10(power + 1e-12));
}

/** Speech peaks near -6 dBFS RMS, which is a full bar. @param {number} dbfs @returns {number} 0 to 1 */
export function barFraction(dbfs) {
  return Math.min(1, Math.max(0, (dbfs - FLOOR_DBFS) / (-6 - FLOOR_DBFS)));
}

/** @typedef {{level: number, peak: number, peakAge_s: number}} Meter  fractions of the bar */

/** @type {Readonly<Meter>} */
export const EMPTY_METER = Object.freeze({ level: 0, peak: 0, peakAge_s: 0 });

/**
 * @param {Readonly<Meter>} meter
 * @param {number} fraction the newest measurement
 * @param {number} elapsed_s since the one before
 * @returns {Meter}
 */
export function moveMeter(meter, fraction, elapsed_s) {
  const level = Math.max(fraction, meter.level - FALL_PER_S * elapsed_s);
  if (level >= meter.peak) return { level, peak: level, peakAge_s: 0 };
  const peakAge_s = meter.peakAge_s + elapsed_s;
  const peak =
    peakAge_s <= PEAK_HOLD_S ? meter.peak : Math.max(level, meter.peak - FALL_PER_S * elapsed_s);
  return { level, peak, peakAge_s };
}
