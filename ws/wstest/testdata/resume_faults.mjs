// resume.js against servers that do as they please, and callers too. It prints what went wrong.
fakeTime();
const { connect } = await import(process.argv[2]);
const problems = [];
process.on("exit", () => console.log(JSON.stringify(problems)));
process.on("uncaughtException", (error) => problems.push(`uncaught: ${error}`));
const check = (ok, what) => { if (!ok) problems.push(what); };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const bytes = (...b) => Uint8Array.from(b).buffer;
const ACK = 16, END = 17, WELCOME = 19, REFUSAL = 20;
const welcome = (arrived = 0, taken = arrived) => bytes(WELCOME, ...Array(16).fill(7), arrived, taken, 100, 100);

// fakeTime has time go on only when nothing is left to do, so that a busy machine changes no order.
function fakeTime() {
	const timers = new Map();
	let now = 0, last = 0;
	Date.now = () => now;
	globalThis.clearTimeout = (id) => void timers.delete(id);
	globalThis.setTimeout = (f, ms = 0, ...args) => {
		timers.set(++last, { at: now + (ms >= 1 && ms < 2 ** 31 ? ms : 1), run: () => f(...args) }); // as browsers and Node have it
		return last;
	};
	const fireNext = () => {
		setImmediate(fireNext);
		const [id, next] = [...timers].reduce((a, b) => b[1].at < a[1].at ? b : a, [0, { at: Infinity }]);
		if (!timers.delete(id)) return;
		now = next.at;
		next.run();
	};
	setImmediate(fireNext);
}

// serve returns a session whose server answers each frame by answer, and the frames that it was sent.
function serve(answer, options = {}) {
	const frames = [];
	let dials = 0;
	class Socket {
		constructor() {
			dials++;
			setTimeout(() => this.onopen());
		}
		send(frame) {
			frames.push(Array.from(frame));
			setTimeout(() => answer(frame[0], {
				say: (data) => this.onmessage({ data }), end: () => this.onclose(), dial: dials,
			}));
		}
		close() {}
	}
	const heard = [];
	const session = connect("ws://nowhere", {
		onmessage: (m) => heard.push(Array.from(m)), WebSocket: Socket, minBackoff: 1, maxBackoff: 1, ackDelay: 1, ...options,
	});
	return { session, frames, heard, dials: () => dials };
}
const HELLO = 18;
const friendly = (kind, { say }) => kind === HELLO && say(welcome());

for (const text of ["1000", "", "x"]) {
	for (const first of [true, false]) {
		const { session, heard } = serve((kind, { say }) => {
			if (kind === HELLO && !first) say(welcome());
			if (kind === (first ? HELLO : ACK)) say(text);
		});
		const end = await Promise.race([session.ended, sleep(1000)]);
		check(end?.message === "broken protocol" && !heard.length, `text ${text} was taken: ${end?.message}, ${heard.length} messages`);
		session.close();
	}
}

for (const message of [1000, null, undefined, {}, true, Symbol()]) {
	const { session } = serve(friendly);
	let error;
	try { session.send(message); } catch (e) { error = e; }
	check(error instanceof TypeError && session.unacknowledged === 0, `${String(message)} was sent: ${error}`);
	session.close();
}
{
	const { session, frames } = serve(friendly);
	const numbers = Uint16Array.of(0x0102, 0x0304), buffer = bytes(5, 6), part = new DataView(bytes(1, 2, 3), 1, 1);
	[numbers, buffer, part, new Uint8Array(buffer, 1)].forEach(session.send);
	numbers.fill(0);
	new Uint8Array(buffer).fill(0); // what was sent may be changed
	await sleep(50);
	const sent = frames.filter((f) => f[0] === 0).join(";");
	check(sent === "0,2,1,4,3;0,5,6;0,2;0,6", `bytes of other types went as ${sent}`);
	session.close();
}

for (const when of ["connected", "detached", "closed"]) {
	const onstate = (state) => { if (state === when) throw new Error("from onstate"); };
	const { session } = serve((kind, { say, end }) => {
		if (kind === HELLO) say(welcome());
		if (kind === ACK && when === "detached") end();
	}, { onstate });
	await sleep(50);
	if (when === "closed") session.close();
	const end = await Promise.race([session.ended, sleep(1000)]);
	check(end?.message === (when === "closed" ? "closed" : "onstate has thrown"), `onstate threw at ${when}: ${end?.message}`);
	session.close();
}

{ // A server that takes no more, but has messages to be acknowledged, is one that goes on.
	const { session, heard, frames } = serve((kind, { say }) => {
		if (kind === HELLO) say(welcome());
		if (kind === 0 && frames.at(-1)[1] === 2) [[21, 1], [0, 7], [17, 1]].forEach((f) => say(bytes(...f)));
	});
	session.send(Uint8Array.of(1));
	session.send(Uint8Array.of(2));
	const end = await Promise.race([session.ended, sleep(1000)]);
	check(end?.message === "the server has ended it" && end.unacknowledged === 1 && heard.join() === "7", `${end}: ${end?.unacknowledged}, ${heard}`);
}

{ // The last answer gets lost; the server has let the session go by the next connection.
	const { session } = serve((kind, { say, end, dial }) => {
		if (kind === HELLO) say(dial === 1 ? welcome() : bytes(REFUSAL, 1));
		if (kind === 0) say(bytes(ACK, 1));
		if (kind === END) end();
	});
	session.send("x");
	const end = await Promise.race([session.shutdown(), sleep(1000)]);
	check(end?.message === "closed" && end.unacknowledged === 0, `a shutdown whose answer got lost: ${end?.message}`);
}

{ // What was accepted before the server said how much it takes goes as far as that, and on with each acknowledgement.
	for (const [limits, inFlight] of [[[2, 100], 2], [[100, 5], 2], [[100, 100], 5]]) {
		const numbers = [], held = [];
		let most = 0, acknowledged = 0, socket;
		const { session, frames } = serve((kind, at) => {
			socket = at;
			if (kind === HELLO) at.say(bytes(WELCOME, ...Array(16).fill(7), 0, 0, ...limits));
			if (kind < 4) held.push(kind);
		});
		for (let i = 1; i <= 5; i++) session.send(Uint8Array.of(i, i));
		while (acknowledged < 5) {
			await sleep(10);
			most = Math.max(most, held.length - acknowledged);
			socket.say(bytes(ACK, ++acknowledged));
		}
		frames.forEach((f) => f[0] < 4 && numbers.push(f[1]));
		check(most === inFlight && numbers.join() === "1,2,3,4,5", `of ${limits}: ${most} at once, ${numbers}`);
		check(session.unacknowledged === 0, `${session.unacknowledged} are kept that were acknowledged`);
		session.close();
	}
}

{ // An acknowledgement goes with the next message, by itself after ackDelay or for 32 messages, and at once where it is asked for.
	const { session, frames } = serve((kind, { say }) => {
		if (kind === HELLO) say(welcome());
		if (kind === ACK && frames.length === 2) say(bytes(0, 1));
	}, { ackDelay: 40, onmessage: (m) => m[0] === 1 && session.send("x") });
	await sleep(20);
	check(frames.slice(2).join(";") === "0,120", `before what was received counts as taken: ${frames.slice(2).join(";")}`);
	session.send("y");
	await sleep(20);
	check(frames.slice(3).join(";") === "1,1,121", `no acknowledgement went along: ${frames.slice(3).join(";")}`);
	session.close();
}
for (const [name, said, want, early] of [
	["alone", [[0, 2]], [ACK, 1], 0], ["at once", [[2, 2]], [ACK, 1], 1], ["25 of 100", Array(25).fill([0, 2]), [ACK, 25], 1],
]) {
	const { session, frames } = serve((kind, { say }) => {
		if (kind === HELLO) say(welcome());
		if (kind === ACK && frames.length === 2) said.forEach((m) => say(bytes(...m)));
	}, { ackDelay: 60 });
	await sleep(30);
	check(frames.length === 2 + early, `${name}: ${frames.length - 2} acknowledgements before ackDelay`);
	await sleep(60);
	check(frames.slice(2).join(";") === want.join(), `${name} was acknowledged with ${frames.slice(2).join(";")}`);
	session.close();
}

for (const count of [[0x80], Array(20).fill(0xff), [...Array(60).fill(0x80), 0xff], [...Array(200).fill(0x80), 0]]) {
	const { session } = serve((kind, { say }) => {
		if (kind === HELLO) say(welcome());
		if (kind === ACK) say(bytes(ACK, ...count));
	});
	const end = await Promise.race([session.ended, sleep(1000)]);
	check(end?.message === "broken protocol", `a count of ${count.length} bytes: ${end?.message}`);
	session.close();
}

{ // A server that welcomes and then ends each connection is not asked ever so often.
	const { session, dials } = serve((kind, { say, end }) => {
		if (kind === HELLO) say(welcome());
		if (kind === ACK) end();
	}, { minBackoff: 10, maxBackoff: 10_000 });
	await sleep(1500);
	check(dials() > 2 && dials() < 12, `${dials()} connections in 1.5 s`);
	session.close();
}

// No number makes a client dial without a pause, or takes the longest times for the shortest.
const odd = [0, -1, 1e-9, NaN, 2 ** 31, Number.MAX_VALUE, Infinity];
for (const [minBackoff, maxBackoff] of [...odd.map((n) => [n]), ...odd.map((n) => [1, n]), ...odd.map((n) => [n, n]), [2 ** 30, 2 ** 40]]) {
	const { session, dials } = serve((_, { end }) => end(), { minBackoff, maxBackoff });
	await sleep(1000);
	check(dials() < 200, `${dials()} attempts in 1 s, of back-offs from ${minBackoff} to ${maxBackoff}`);
	session.close();
}
for (const long of [2 ** 31 - 1, 2 ** 31, 2 ** 32 + 1, Infinity]) {
	const { session, dials } = serve((kind, { say, end, dial }) => {
		if (kind === HELLO && dial === 1) say(welcome());
		if (kind === ACK) end();
	}, { window: long, minBackoff: 100, maxBackoff: 100 });
	await sleep(1000);
	check(session.state === "detached" && dials() > 1, `after 1 s of a window of ${long} it is ${session.state}`);
	session.close();
	const silent = serve(friendly, { silence: long });
	await sleep(1000);
	check(silent.session.state === "connected" && silent.dials() === 1, `a silence of ${long} took ${silent.dials()} connections`);
	silent.session.close();
}
for (const many of [0, -1, -Infinity, NaN, 0.5, 1.5, 2 ** 31, 2 ** 40, Number.MAX_VALUE, Infinity]) {
	for (const name of ["maxMessages", "maxBytes"]) {
		const { session, frames } = serve((kind, { say }) => {
			if (kind === HELLO) say(welcome());
			if (kind === 0) say(bytes(ACK, 1));
		}, { [name]: many });
		try { session.send("x"); } catch (error) { check(false, `${name} ${many}: ${error}`); }
		await sleep(50);
		const counts = frames[0]?.slice(5) ?? []; // behind kind, version, no token, and two counts that are 0
		check(counts.length > 1 && counts.length <= 10 && counts.every((b, i) => b > 127 || b > 0 || i === 0), `${name} ${many} is told as ${counts}`);
		check(session.state === "connected" && session.unacknowledged === 0, `${name} ${many}: ${session.state}, ${session.unacknowledged} unacknowledged`);
		session.close();
	}
}

process.exit();
