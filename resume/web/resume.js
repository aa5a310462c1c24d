// resume.d.ts has the API.
const ACK = 16, END = 17, HELLO = 18, WELCOME = 19, REFUSAL = 20;
const after = setTimeout, stop = clearTimeout;
const BROKEN = "broken protocol";

export function connect(url, options) {
	const set = {
		WebSocket: globalThis.WebSocket, window: 120_000, maxMessages: 1024, maxBytes: 1 << 20, ackDelay: 50,
		minBackoff: 250, maxBackoff: 15_000, silence: 0, ...options,
	};
	if (typeof set.onmessage !== "function") throw new TypeError("onmessage is no function");
	const most = [set.maxMessages, set.maxBytes].map((n) => n < 0 ? 2 ** 31 - 1 : n);
	let [maxMessages, maxBytes] = most;
	let state = "connecting", draining, toldEnd, socket, token, tries = 0, failures = 0, upAt;
	let kept = [], bytes = 0, acked = 0, sent = 0; // ours; kept are those behind what was acknowledged
	let taken = 0, ackSent = 0, took = 0; // the server's
	let ackTimer, retry, silence, window, resolve;
	const ended = new Promise((f) => resolve = f);

	const isUp = () => state === "connected", isOver = () => state === "closed";
	const isDrained = () => draining && !kept.length;

	function become(next) {
		state = next;
		try {
			set.onstate?.(next);
		} catch (error) {
			finish("onstate has thrown", error);
		}
	}

	function dial() {
		stop(retry);
		const s = socket = new set.WebSocket(url);
		s.binaryType = "arraybuffer";
		s.onopen = () => {
			ackSent = taken;
			const counts = [taken, taken, ...most].flatMap(varint);
			s.send(Uint8Array.of(HELLO, 1, ...token ? [16, ...token, ...varint(++tries)] : [0], ...counts));
		};
		s.onmessage = (e) => s === socket && receive(new Uint8Array(e.data.byteLength ? e.data : 0)); // no text
		s.onclose = () => s === socket && lose();
		s.onerror = () => 0; // npm's ws throws without
		watch(10_000);
	}

	// The next connection comes after a random pause, which grows until one has lasted.
	function lose() {
		leave();
		if (isUp()) {
			if (Date.now() - upAt >= set.maxBackoff) failures = 0;
			window = after(finish, set.window, "the window is over");
			become("detached");
		}
		const pause = Math.min(set.maxBackoff, set.minBackoff * 2 ** failures++);
		if (!isOver()) retry = after(dial, pause * (1 + Math.random()) / 2);
	}

	function leave() {
		const s = socket;
		socket = ackTimer = stop(ackTimer);
		stop(silence);
		s?.close();
	}

	function watch(pause) {
		stop(silence);
		if (pause) silence = after(lose, pause);
	}

	function online() {
		if (socket) lose();
		if (!isOver()) dial();
	}

	function receive(frame) {
		const kind = frame[0];
		if (!isUp()) {
			if (kind === WELCOME) return welcome(frame);
			const why = kind === REFUSAL && frame[1];
			return kind === ACK || (why === 2 ? lose() : finish(why === 1 ? isDrained() ? "closed" : "the server has not kept it" : BROKEN));
		}
		watch(set.silence);
		const [count, at] = kind & 1 || kind === ACK ? cut(frame, 1) : [0, 1];
		if (!(count <= sent && (kind < 4 || kind === ACK || kind === END))) return finish(BROKEN);
		drop(count);
		if (kind === END) return finish(isDrained() ? "closed" : "the server has ended it");
		if (kind < 4) deliver(frame.subarray(at), kind & 2);
		feed();
	}

	function welcome(frame) {
		const counts = [];
		for (let i = 0, at = 17; i < 4; i++) [counts[i], at] = cut(frame, at);
		const [arrived, done, ...theirs] = counts;
		if (!(arrived <= sent && done >= acked && done <= arrived && theirs[0] > 0 && theirs[1] > 0)) return finish(BROKEN);
		token = frame.slice(1, 17);
		[maxMessages, maxBytes] = most.map((n, i) => Math.min(n, theirs[i]));
		drop(done);
		sent = arrived;
		if (kept.some((m) => m.length > maxBytes)) return finish("a message is too long");
		upAt = Date.now();
		toldEnd = false;
		stop(window);
		watch(set.silence);
		tell(ACK); // the token has come
		become("connected");
		feed();
	}

	const drop = (count) => { for (; acked < count; acked++) bytes -= kept.shift().length; };

	function feed() {
		let size = 0;
		for (let i = 0; i < Math.min(kept.length, maxMessages) && isUp(); i++) {
			if ((size += kept[i].length) > maxBytes) break;
			if (acked + i < sent) continue;
			sent++;
			const head = taken > ackSent ? [1, ...varint(noteAck())] : [0];
			const frame = new Uint8Array(head.length + kept[i].length);
			frame.set(head);
			frame.set(kept[i], head.length);
			socket.send(frame);
		}
		if (isDrained() && !toldEnd && isUp()) {
			toldEnd = true;
			tell(END);
		}
	}

	function deliver(message, atOnce) {
		try {
			set.onmessage(message);
		} catch (error) {
			finish("onmessage has thrown", error);
		}
		if (isOver()) return;
		taken++;
		took += message.length;
		if (!isUp()) return;
		if (atOnce || taken - ackSent >= Math.min(maxMessages / 4, 32) || took >= maxBytes / 4) tell(ACK);
		else ackTimer ??= after(() => taken > ackSent ? tell(ACK) : ackTimer = undefined, set.ackDelay);
	}

	const tell = (kind) => socket.send(Uint8Array.of(kind, ...varint(noteAck())));

	function noteAck() {
		ackTimer = stop(ackTimer);
		took = 0;
		return ackSent = taken;
	}

	function finish(reason, cause) {
		if (isOver()) return;
		if (isUp()) tell(END);
		leave();
		[retry, window].map(stop);
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
			if (kept.length >= maxMessages || bytes + data.length > maxBytes) throw new RangeError("no room");
			kept.push(data);
			bytes += data.length;
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

// cut returns a number and where it ends.
function cut(bytes, at) {
	for (let n = 0, scale = 1; scale < 2 ** 50; scale *= 128) {
		const byte = bytes[at++];
		n += byte % 128 * scale;
		if (!(byte > 127)) return [n, at];
	}
	return [NaN, at];
}
