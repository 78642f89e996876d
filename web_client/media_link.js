// @ts-check
/** The WebRTC connection of one attempt: makes the offer, takes the answer, says how it is going. */

import { say } from "./protocol.js";

/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */

/**
 * @typedef {object} MediaLinkConfig
 * @property {RTCIceServer[]} iceServers
 * @property {MediaStreamTrack | null} microphone null: only see and hear
 * @property {(message: ClientMessage) => void} send
 * @property {(stream: MediaStream) => void} onStream picture and voice, in one stream
 * @property {(state: RTCPeerConnectionState) => void} onState
 * @property {(code: string) => void} onFail the browser refuses to go on
 * @property {(config: RTCConfiguration) => RTCPeerConnection} [createConnection]
 */

export class MediaLink {
  #config;
  /** @type {RTCPeerConnection | null} null once closed: late words of it mean nothing */
  #connection;
  #relayFound = false;

  /** @param {MediaLinkConfig} config */
  constructor(config) {
    this.#config = config;
    const create = config.createConnection ?? ((wanted) => new RTCPeerConnection(wanted));
    this.#connection = create({ iceServers: config.iceServers });
    void this.#offer(this.#connection);
  }

  /** Why nothing gets through, if nothing does. @returns {string} a code of messages.js */
  get blockedCode() {
    const relayed = this.#config.iceServers.some(({ urls }) =>
      [urls].flat().some((url) => /^turns?:/i.test(url)),
    );
    return relayed && !this.#relayFound ? "relay_silent" : "media_blocked";
  }

  /** @param {string} sdp the server's answer */
  async accept(sdp) {
    const connection = this.#connection;
    if (!connection || connection.signalingState !== "have-local-offer") return;
    try {
      await connection.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      if (this.#connection !== connection) return;
      console.warn("The browser could not use the answer.", error);
      this.#config.onFail("bad_sdp");
    }
  }

  /** @param {MediaStreamTrack} track speaks from now on */
  async replaceMicrophone(track) {
    const sender = this.#connection?.getTransceivers()[0]?.sender;
    await sender?.replaceTrack(track);
  }

  /** @returns {Promise<RTCStatsReport | null>} */
  async stats() {
    return this.#connection ? this.#connection.getStats() : null;
  }

  /** May be called again. */
  close() {
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
  }

  /** @param {RTCPeerConnection} connection */
  async #offer(connection) {
    const { microphone, send } = this.#config;
    if (microphone) connection.addTransceiver(microphone, { direction: "sendrecv" });
    else connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.ontrack = (event) => {
      if (this.#connection !== connection) return;
      lowDelay(event.receiver);
      const stream = event.streams[0];
      if (stream) this.#config.onStream(stream);
    };
    // Candidates may come before the offer is on its way: the server would not know what they are for.
    let offered = false;
    /** @type {(RTCIceCandidate | null)[]} */
    const early = [];
    connection.onicecandidate = ({ candidate }) => {
      if (this.#connection !== connection) return;
      if (candidate?.type === "relay") this.#relayFound = true;
      if (offered) send(say.candidate(candidate));
      else early.push(candidate);
    };
    connection.onconnectionstatechange = () => {
      if (this.#connection === connection) this.#config.onState(connection.connectionState);
    };
    try {
      await connection.setLocalDescription();
      if (this.#connection !== connection) return;
      send(say.offer(connection.localDescription?.sdp ?? ""));
      offered = true;
      early.forEach((candidate) => send(say.candidate(candidate)));
    } catch (error) {
      if (this.#connection !== connection) return;
      console.warn("The browser could not make an offer.", error);
      this.#config.onFail("bad_sdp");
    }
  }
}

/**
 * Asks for the smallest buffer the network allows. The two are older and newer names of one wish;
 * browsers that know neither keep their own choice.
 * @param {RTCRtpReceiver} receiver
 */
function lowDelay(receiver) {
  const hints =
    /** @type {{jitterBufferTarget?: number | null, playoutDelayHint?: number | null}} */ (
      receiver
    );
  if ("jitterBufferTarget" in receiver) hints.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) hints.playoutDelayHint = 0;
}
