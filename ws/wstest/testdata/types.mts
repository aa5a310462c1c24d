// A page's program, for the TypeScript compiler alone: what resume.d.ts promises, and what it must refuse.
import { connect, type End, type Options, type Session, type State } from "./resume.js";

const heard: Uint8Array[] = [];
const states: State[] = ["connecting", "connected", "detached", "closed"];

const session: Session = connect(new URL("wss://example.com/ws"), {
	onmessage: (message) => heard.push(message.subarray(1)),
	onstate: (state) => states.push(state),
	window: 1000, maxMessages: -1, maxBytes: 1, ackDelay: 0, minBackoff: 1, maxBackoff: 2, silence: 3, WebSocket,
});
const options: Options = { onmessage: async (message: Uint8Array) => { await session.ended; heard.push(message); } };
const other = connect("ws://example.com/ws", options);

session.send("text");
session.send(heard[0]);
session.send(new ArrayBuffer(1));
session.send(new DataView(new ArrayBuffer(1)));
session.send(Float64Array.of(1));

const end: End = await session.shutdown();
const error: Error = end;
const lost: number = end.unacknowledged + other.unacknowledged;
const why: string = error.message;
if (session.state === "closed") session.close();
const ended: Promise<End> = other.ended;
console.log(lost, why, ended);

// @ts-expect-error: a handler for messages must be set
connect("ws://example.com/ws", {});
// @ts-expect-error: there must be options
connect("ws://example.com/ws");
// @ts-expect-error: times are numbers
connect("ws://example.com/ws", { ...options, window: "2m" });
// @ts-expect-error: no such option
connect("ws://example.com/ws", { onmessage() {}, maxmessages: 1 });
// @ts-expect-error: a number is no message
session.send(1000);
// @ts-expect-error: nor is nothing
session.send(undefined);
// @ts-expect-error: what a session is doing is read only
session.state = "closed";
// @ts-expect-error: there is no such state
if (session.state === "open") session.close();
