/** What a session is doing. "detached": it has no connection, and is kept for `window`. */
export type State = "connecting" | "connected" | "detached" | "closed";

/** Times are in ms; one of more than 24.8 days, which is as long as a timer can run, counts as that. */
export interface Options {
	/**
	 * Is called with each of the server's messages, once and in order; the message is acknowledged when it has returned. One that
	 * throws ends the session.
	 */
	onmessage: (message: Uint8Array) => void;
	/** Is called when the state has changed. One that throws ends the session. */
	onstate?: (state: State) => void;
	/** How long a session without a connection is kept; default 2 minutes, 0: not at all. The server has a window of its own. */
	window?: number;
	/** How many messages may be unacknowledged; default (and 0) 1,024. Negative: no bound but the other. The smaller of both ends' counts. */
	maxMessages?: number;
	/** And how many bytes of them; default 1 MiB. */
	maxBytes?: number;
	/** How long an acknowledgement may wait for a message to go with; default 50. */
	ackDelay?: number;
	/**
	 * The pause before the second attempt to connect is half to all of it; default 250, and 1 at least. It doubles with each, until a
	 * connection has lasted for maxBackoff.
	 */
	minBackoff?: number;
	/** The longest such pause; default (and 0) 15,000, and 10 at least. */
	maxBackoff?: number;
	/**
	 * After how long without a frame a connection is given up; default 0: never. The server then has to send oftener than that,
	 * as with a libnet.Config.Heartbeat over Session.NetConn.
	 */
	silence?: number;
	/** What makes connections; default the global WebSocket. */
	WebSocket?: new (url: string | URL) => any;
}

/** Why a session ended, and what that cost. */
export interface End extends Error {
	/** "closed" for close and shutdown. */
	message: string;
	/** How many messages that send took were not acknowledged: always the last ones. Some may have arrived all the same. */
	unacknowledged: number;
}

export interface Session {
	readonly state: State;
	/** How many messages are kept, since the server's application has not acknowledged them. */
	readonly unacknowledged: number;
	/** Resolves when the session has ended, for good. */
	readonly ended: Promise<End>;
	/**
	 * Sends a message, and keeps it until it is acknowledged, over as many connections as that needs. Throws an Error when the session
	 * has ended or is shutting down, a RangeError where more would be unacknowledged than is allowed, and a TypeError for what is
	 * neither a string nor bytes; then nothing was sent. Bytes are copied, of whatever view as they lie in memory.
	 */
	send(message: string | ArrayBuffer | ArrayBufferView): void;
	/** Ends the session at once, on both ends. */
	close(): void;
	/** Takes no further message, waits until all are acknowledged, and ends the session on both ends. */
	shutdown(): Promise<End>;
}

/** Begins a session. It comes back by itself: after a pause that grows and is random, and at once when the page is online again. */
export function connect(url: string | URL, options: Options): Session;
