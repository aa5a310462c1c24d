// One user's connection to whichever access server the gateway picks: login, requests with a deadline and an
// answer, and a new connection whenever one ends. It knows nothing of conversations and nothing of the page.

import { Cmd, Code, MAX_MESSAGE, decode, encode } from "./wire.js";

const REQUEST_TIMEOUT = 8_000; // ms, as for connecting and for the gateway's answer
const PING_INTERVAL = 20_000;
const BACKOFF_FIRST = 250;
const BACKOFF_MOST = 10_000;
// A connection that lived this long was a good one: the next back-off begins anew.
const STEADY = 5_000;

// The notification of a login elsewhere counts if the connection ends this soon after it, in ms: it is sent to all
// sessions of a user, and the one that is to stay may hear it, too.
const REPLACED_WITHIN = 3_000;

/** What a request fails with. code is the server's, or 0 when no answer came. */
export class RequestError extends Error {
  constructor(message, code = 0) {
    super(message);
    this.code = code;
  }
}

/**
 * Events: "state" whenever state changed, "online" after each login, "notify" when the server has something
 * newer.
 *
 * States: "connecting" at first, "online", "waiting" for the next attempt after a connection ended, and for good
 * "refused" (the token is wrong), "replaced" (logged in elsewhere) and "closed".
 */
export class Session extends EventTarget {
  state = "connecting";
  server = ""; // the access server's address; its id is in the answer to whoAmI
  nextAttempt = 0; // when, in state "waiting"

  #user;
  #token;
  #pick;
  #socket = null;
  #pending = []; // requests without an answer, oldest first: {cmd, resolve, reject, timer}
  #lanes = new Map(); // command → the promise of the last request: answers carry no more than the command
  #wake = null;
  #attempt = 0;
  #replaced = -Infinity; // when we heard of a login elsewhere

  /** pick is a function that asks the gateway and resolves to a WebSocket URL. */
  constructor({ user, token, pick }) {
    super();
    this.#user = user;
    this.#token = token;
    this.#pick = pick;
  }

  get user() {
    return this.#user;
  }

  /** Keeps one connection up until close, a refused login or a login elsewhere. */
  async run() {
    while (!this.#over) {
      const began = Date.now();
      const lived = await this.#connection().catch((error) => {
        if ([Code.noToken, Code.wrongToken].includes(error.code)) this.#become("refused");
        if (error.code === Code.replaced) this.#become("replaced");
        return false;
      });
      if (this.#over) return;
      if (lived && Date.now() - began > STEADY) this.#attempt = 0;
      await this.#pause();
    }
  }

  /** Attempts the next connection now, if it is waiting for one. */
  hurry() {
    this.#wake?.();
  }

  /** Ends the session for good. */
  close() {
    this.#become("closed");
    this.#socket?.close(1000);
    this.#wake?.();
  }

  /** Sends a request and resolves to its answer. Those of one command go one behind the other. */
  request(cmd, fields = {}) {
    const before = this.#lanes.get(cmd) ?? Promise.resolve();
    const socket = this.#socket;
    const result = before.then(() => this.#roundTrip(socket, cmd, fields));
    this.#lanes.set(cmd, result.catch(() => {}));
    return result;
  }

  get #over() {
    return ["refused", "replaced", "closed"].includes(this.state);
  }

  #become(state) {
    if (this.#over || this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  /** One connection from the pick to its end. Resolves to whether it came as far as a login. */
  async #connection() {
    const url = await this.#pick(AbortSignal.timeout(REQUEST_TIMEOUT));
    const socket = await open(url);
    if (this.#over) {
      socket.close(1000);
      return false;
    }
    this.#socket = socket;
    this.#lanes.clear();
    const ended = new Promise((resolve) => socket.addEventListener("close", resolve));
    socket.addEventListener("message", (event) => this.#take(socket, event.data));
    ended.then(() => this.#end(socket));

    let ping;
    try {
      await this.#roundTrip(socket, Cmd.login, { UID: this.#user, token: this.#token });
      this.server = new URL(url).host;
      this.#become("online");
      this.dispatchEvent(new Event("online"));
      ping = setInterval(() => {
        this.#roundTrip(socket, Cmd.ping, { UID: this.#user }).catch(() => socket.close(4000, "no answer to a ping"));
      }, PING_INTERVAL);
      await ended;
      return true;
    } finally {
      clearInterval(ping);
      socket.close();
    }
  }

  #roundTrip(socket, cmd, fields) {
    return new Promise((resolve, reject) => {
      if (!socket || socket !== this.#socket || socket.readyState !== WebSocket.OPEN) {
        throw new RequestError("There is no connection right now.");
      }
      const bytes = encode(cmd, fields);
      if (bytes.length > MAX_MESSAGE) throw new RequestError("That is too long.");
      const entry = { cmd, resolve, reject };
      entry.timer = setTimeout(() => {
        this.#settle(entry);
        reject(new RequestError("No answer came."));
        // A late answer would be taken for that of the next request.
        socket.close(4000, "no answer to a request");
      }, REQUEST_TIMEOUT);
      this.#pending.push(entry);
      socket.send(bytes);
    });
  }

  #settle(entry) {
    clearTimeout(entry.timer);
    this.#pending = this.#pending.filter((other) => other !== entry);
  }

  #take(socket, data) {
    let message;
    try {
      message = decode(new Uint8Array(data));
    } catch {
      socket.close(4002, "undecodable message");
      return;
    }
    if (message.cmd === Cmd.notify) {
      this.dispatchEvent(new Event("notify"));
      return;
    }
    if (message.errCode === Code.replaced && message.cmd === Cmd.error) {
      this.#replaced = Date.now();
      return;
    }
    if (message.cmd === Cmd.error && [Code.elsewhere, Code.wrongToken].includes(message.errCode)) {
      return; // the connection ends, and the next attempt tells
    }
    // What cannot be served is answered with a command of its own, in the order of the requests.
    const entry = this.#pending.find(({ cmd }) => message.cmd === cmd || message.cmd === Cmd.error);
    if (!entry) return;
    this.#settle(entry);
    if (message.errCode === Code.ok) entry.resolve(message);
    else entry.reject(new RequestError(message.errStr || "The server could not do that.", message.errCode));
  }

  #end(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    for (const entry of this.#pending.splice(0)) {
      clearTimeout(entry.timer);
      entry.reject(new RequestError("The connection ended."));
    }
    if (Date.now() - this.#replaced < REPLACED_WITHIN) this.#become("replaced");
  }

  /** Waits before the next attempt: twice as long each time, and a random part of it, so that the users of a
   *  server that died do not come back all at once. */
  async #pause() {
    const bound = Math.min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** this.#attempt++);
    const wait = bound * (0.5 + Math.random() / 2);
    this.nextAttempt = Date.now() + wait;
    this.#become("waiting");
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }
}

/** Opens a WebSocket; rejects when it does not open in time. */
function open(url) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const timer = setTimeout(() => {
      socket.close();
      reject(new RequestError("No connection could be made."));
    }, REQUEST_TIMEOUT);
    socket.onopen = () => {
      clearTimeout(timer);
      resolve(socket);
    };
    socket.onclose = () => {
      clearTimeout(timer);
      reject(new RequestError("No connection could be made."));
    };
  });
}
