"use strict";

// scenario runs in a browser and in Node: what any WebSocket client sees of a server that echoes. It returns what went wrong.
async function scenario(WebSocket, urls) {
	const problems = [];

	function open(url) {
		const socket = new WebSocket(url);
		socket.binaryType = "arraybuffer";
		const arrived = [];
		let wake = () => {};
		socket.onmessage = (event) => { arrived.push(event.data); wake(); };
		const opened = new Promise((done) => { socket.onopen = done; });
		const closed = new Promise((done) => {
			socket.onclose = (event) => { done(`${event.code} ${event.reason} ${event.wasClean}`); wake(); };
		});
		socket.onerror = () => {}; // a close follows
		async function next() {
			while (arrived.length === 0 && socket.readyState <= WebSocket.OPEN) {
				await new Promise((done) => { wake = done; });
			}
			return arrived.shift();
		}
		return { socket, opened, closed, next };
	}

	async function step(name, url, run) {
		const c = open(url);
		const late = new Promise((done) => setTimeout(() => done("took too long"), 15000));
		const problem = await Promise.race([c.opened.then(() => run(c)), late]);
		if (problem) {
			problems.push(`${name}: ${problem}`);
		}
		c.socket.close();
		await Promise.race([c.closed, late]);
	}

	function bytes(length) {
		return Uint8Array.from({ length }, (_, i) => (i * 31) & 0xff);
	}

	await step("text", urls.text, async (c) => {
		for (const text of ["hello", "", "Grüße 🎈", "x".repeat(1 << 20)]) {
			c.socket.send(text);
			if ((await c.next()) !== text) {
				return `a text of ${text.length} came back otherwise`;
			}
		}
	});
	await step("binary", urls.binary, async (c) => {
		for (const length of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
			const sent = bytes(length);
			c.socket.send(sent);
			const got = new Uint8Array(await c.next());
			if (got.length !== length || got.some((b, i) => b !== sent[i])) {
				return `${length} bytes came back otherwise`;
			}
		}
	});
	await step("order", urls.text, async (c) => {
		for (let i = 0; i < 500; i++) {
			c.socket.send(`message ${i}`);
		}
		for (let i = 0; i < 500; i++) {
			const got = await c.next();
			if (got !== `message ${i}`) {
				return `${got} came in place of message ${i}`;
			}
		}
	});
	await step("the client closes", urls.text, async (c) => {
		c.socket.close(4002, "mine");
		const end = await c.closed;
		return end === "4002 mine true" ? "" : end;
	});
	await step("the client closes without a code", urls.text, async (c) => {
		c.socket.close();
		const end = await c.closed;
		return end === "1005  true" ? "" : end;
	});
	await step("the server closes", urls.text, async (c) => {
		c.socket.send("before");
		c.socket.send("close");
		const last = await c.next();
		const end = await c.closed;
		return last === "before" && end === "4001 logged in elsewhere true" ? "" : `${last}, then ${end}`;
	});
	await step("a message too large", urls.binary, async (c) => {
		c.socket.send(bytes((1 << 20) + 1));
		const end = await c.closed;
		return end.startsWith("1009 ") ? "" : end;
	});
	return problems;
}

if (typeof module !== "undefined") {
	module.exports = scenario;
}
