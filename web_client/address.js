// @ts-check
/** Addresses of the server, seen from the page. */

/** The WebSocket beside the page. @param {string} base the page's own address @returns {URL} */
export function socketAddress(base) {
  const address = new URL("ws", base);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return address;
}

/** @param {string} hostname of the page's address @returns {boolean} whether no network is needed to reach it */
export function isLocal(hostname) {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname) || hostname.endsWith(".localhost");
}
