const ACK = 16, END = 17, HELLO = 18, WELCOME = 19, REFUSAL = 20, LAST = 21;
const MOST = 2 ** 31 - 1, stop = clearTimeout; // resume.d.ts has the API
const after = (f, ms, x) => setTimeout(f, Math.min(ms, MOST), x); // longer ones fire at once

export function connect(url, {
	onmessage, onstate, window = 12e4, maxMessages, maxBytes, ackDelay = 50,
	minBackoff = 250, maxBackoff, silence, WebSocket = globalThis.WebSocket,
}) {
	if (typeof onmessage !== "function") throw new TypeError("no onmessage");
	const most = [maxMessages, maxBytes] = [maxMessages || 1024, maxBytes || 1 << 20].map((n) => n < 0 ? MOST : Math.ceil(Math.min(n, MOST)));
	maxBackoff = Math.max(10, maxBackoff || 15e3);
	let state = "connecting", draining, socket, token, tries = 0, fails = 0, upAt;
	let kept = [], acked = 0, sent = 0, bytes = 0, gone = 0; // ours
	let taken = 0, ackSent = 0, took = 0; // the server's
	let ackTimer, retry, silent, expiry, resolve;
	const ended = new Promise((f) => resolve = f), isUp = () => state === "connected", isOver = () => state === "closed",
		isDrained = () => draining && !kept.length;

	function become(next) {
		state = next;
		try { onstate?.(next); } catch (error) { finish("onstate has thrown", error); }
	}

	function dial() {
		stop(retry);
		const s = socket = new WebSocket(url);
		s.binaryType = "arraybuffer";
		s.onopen = () => {
			const resumes = token ? [16, ...token, ...varint(++tries)] : [0];
			s.send(Uint8Array.of(HELLO, 1, ...resumes, ...[taken, taken, ...most].flatMap(varint)));
		};
		s.onmessage = (e) => s === socket && receive(new Uint8Array(e.data.byteLength ? e.data : 0)); // no text
		s.onclose = () => s === socket && lose();
		s.onerror = () => 0; // npm's ws throws without
		watch(1e4);
	}

	// Pauses are random, and grow until a connection lasts.
	function lose() {
		leave();
		if (isUp()) {
			if (Date.now() - upAt >= maxBackoff) fails = 0;
			expiry = after(finish, window, "the window is over");
			become("detached");
		}
		const pause = Math.min(maxBackoff, (Math.max(1, minBackoff) || 1) * 2 ** fails++);
		if (!isOver()) retry = after(dial, pause * (1 + Math.random()) / 2);
	}

	function leave() {
		const s = socket;
		socket = ackTimer = stop(ackTimer);
		stop(silent);
		s?.close();
	}

	function watch(ms) {
		stop(silent);
		if (ms) silent = after(lose, ms);
	}

	function online() {
		if (socket) lose();
		if (!isOver()) dial();
	}

	function receive(frame) {
		const kind = frame[0];
		watch(silence);
		if (!isUp()) {
			if (kind === WELCOME) return welcome(frame);
			const why = kind === REFUSAL && frame[1];
			if (why === 2) return lose(); // not now
			return finish(why !== 1 ? void 0 : isDrained() ? "closed" : "the server has not kept it");
		}
		const [count, at] = kind & 1 || kind === ACK ? cut(frame, 1) : [0, 1];
		if (!(count <= sent && (kind < 4 || [ACK, END, LAST].includes(kind)))) return finish();
		drop(count);
		if (kind === END) return finish(isDrained() ? "closed" : "the server has ended it");
		if (kind < 4) deliver(frame.subarray(at), kind & 2);
		feed();
	}

	function welcome(frame) {
		const counts = [];
		for (let i = 0, at = 17; i < 4; i++) [counts[i], at] = cut(frame, at);
		const [arrived, done, ...theirs] = counts;
		if (!(arrived <= sent && done >= acked && done <= arrived && theirs.every((n) => n > 0))) return finish();
		token = frame.slice(1, 17);
		[maxMessages, maxBytes] = most.map((n, i) => Math.min(n, theirs[i]));
		drop(done);
		sent = arrived;
		if (kept.some((m) => m.data.length > maxBytes)) return finish("a message is too long");
		upAt = Date.now();
		stop(expiry);
		state = "connected";
		tell(ACK); // the token has come
		become(state);
		feed();
	}

	const drop = (count) => { for (; acked < count; acked++) gone = kept.shift().end; };

	function feed() {
		for (let m; isUp() && sent - acked < maxMessages && (m = kept[sent - acked])?.end - gone <= maxBytes; sent++) {
			const head = taken > ackSent ? counted(1) : [0];
			const frame = new Uint8Array(head.length + m.data.length);
			frame.set(head);
			frame.set(m.data, head.length);
			socket.send(frame);
		}
		if (isDrained()) tell(END);
	}

	function deliver(message, atOnce) {
		try { onmessage(message); } catch (error) { finish("onmessage has thrown", error); }
		if (isOver()) return;
		taken++;
		took += message.length;
		if (atOnce || taken - ackSent >= Math.min(maxMessages / 4, 32) || took >= maxBytes / 4) tell(ACK);
		else ackTimer ??= after(tell, ackDelay, ACK);
	}

	const tell = (kind) => isUp() && socket.send(Uint8Array.from(counted(kind)));

	function counted(kind) {
		ackTimer = stop(ackTimer);
		took = 0;
		return [kind, ...varint(ackSent = taken)];
	}

	function finish(reason = "broken protocol", cause) {
		if (isOver()) return;
		tell(END);
		leave();
		[retry, expiry].map(stop);
		globalThis.removeEventListener?.("online", online);
		become("closed");
		resolve(Object.assign(new Error(reason, { cause }), { unacknowledged: kept.length }));
	}

	dial();
	globalThis.addEventListener?.("online", online);
	return {
		ended,
		get state() { return state; },
		get unacknowledged() { return kept.length; },
		send(message) {
			if (draining || isOver()) throw new Error("the session has ended");
			const data = copy(typeof message === "string" ? new TextEncoder().encode(message) : message);
			if (kept.length >= maxMessages || bytes - gone + data.length > maxBytes) throw new RangeError("no room");
			kept.push({ data, end: bytes += data.length });
			feed();
		},
		close: () => finish("closed"),
		shutdown() {
			draining = true;
			feed();
			return ended;
		},
	};
}

function copy(message) {
	if (!(message?.byteLength >= 0)) throw new TypeError("neither a string nor bytes");
	const { buffer = message, byteOffset, byteLength } = message;
	return new Uint8Array(buffer, byteOffset, byteLength).slice();
}

const varint = (n) => n > 127 ? [n % 128 + 128, ...varint(Math.floor(n / 128))] : [n];

// cut returns a number and where it ends; NaN for half a one.
function cut(bytes, at) {
	let n = 0, scale = 1;
	do {
		n += bytes[at] % 128 * scale;
		scale *= 128;
	} while (bytes[at++] > 127);
	return [n, at];
}
