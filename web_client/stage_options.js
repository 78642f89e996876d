// @ts-check
/** What the address of /stage asks for. */

/**
 * @typedef {object} StageOptions
 * @property {string} session an id, or "latest"
 * @property {string} background a colour of CSS
 * @property {"contain" | "cover"} fit
 * @property {boolean} voice
 * @property {boolean} placeholder the avatar's picture while nobody speaks
 */

/** #rgb, #rrggbb and the like, with the # left out, as addresses prefer it. */
const BARE_HEX = /^([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})$/i;

/**
 * Reads the options; what makes no sense is as if it were not there, because nobody stands at a stage to
 * read a message.
 *
 * @param {string} search "?background=..."
 * @param {string} hash of the same address: `?background=#00ff00` is typed easily, and the browser takes
 *   what begins with # for something else
 * @param {(colour: string) => boolean} isColour
 * @returns {StageOptions}
 */
export function readOptions(search, hash, isColour) {
  const query = new URLSearchParams(search + hash.replaceAll("#", "%23"));
  const wanted = query.get("background") ?? "";
  const background = BARE_HEX.test(wanted) ? `#${wanted}` : wanted;
  return {
    session: query.get("session") || "latest",
    background: background && isColour(background) ? background : "transparent",
    fit: query.get("fit") === "cover" ? "cover" : "contain",
    voice: query.get("voice") !== "off",
    placeholder: query.get("placeholder") === "on",
  };
}
