// @ts-check
/** Addresses of the server, seen from the page; and the token that the page's own address may hold. */

/** @param {string} search of the page's address, "?token=..." @returns {string | null} */
export function tokenOf(search) {
  return new URLSearchParams(search).get("token") || null;
}

/**
 * The WebSocket beside the page.  A browser cannot put a header on it, so a token goes along as text.
 *
 * @param {string} base the page's own address
 * @param {string | null} token
 * @returns {URL}
 */
export function socketAddress(base, token) {
  const address = new URL("ws", base);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  if (token) address.searchParams.set("token", token);
  return address;
}

/** @param {string} hostname of the page's address @returns {boolean} whether no network is needed to reach it */
export function isLocal(hostname) {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname) || hostname.endsWith(".localhost");
}
