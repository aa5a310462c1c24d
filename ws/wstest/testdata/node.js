"use strict";

// node node.js TEXT-URL BINARY-URL: the scenario with npm's ws, and what a browser's script cannot do.
const WebSocket = require("ws");
const scenario = require("./scenario.js");

class Trusting extends WebSocket {
	constructor(url) {
		super(url, { rejectUnauthorized: false });
	}
}

function once(socket, event) {
	return new Promise((done) => socket.once(event, (data) => done(String(data))));
}

async function fragments(url) {
	const socket = new Trusting(url);
	await once(socket, "open");
	const problems = [];
	const echoed = once(socket, "message");
	socket.send("one ", { fin: false });
	const ponged = once(socket, "pong");
	socket.ping("between");
	if ((await ponged) !== "between") {
		problems.push("a ping between fragments was answered otherwise");
	}
	for (let i = 0; i < 64; i++) {
		socket.send("x".repeat(16000), { fin: false });
	}
	socket.send("end", { fin: true });
	if ((await echoed) !== "one " + "x".repeat(64 * 16000) + "end") {
		problems.push("fragments came back otherwise");
	}
	const closed = once(socket, "close");
	socket.close(1000);
	if ((await closed) !== "1000") {
		problems.push("closed otherwise than with 1000");
	}
	return problems;
}

(async () => {
	const [text, binary] = process.argv.slice(2);
	const problems = [...(await scenario(Trusting, { text, binary })), ...(await fragments(text))];
	problems.forEach((p) => console.log(p));
	process.exit(problems.length ? 1 : 0);
})();
