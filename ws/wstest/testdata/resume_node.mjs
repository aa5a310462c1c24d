import { readFileSync } from "node:fs";
import WebSocket from "ws";
const [script, url, messages] = process.argv.slice(2);
const { connect } = await import(script);
const exchange = new Function(`${readFileSync(new URL("resume.js", import.meta.url))}; return exchange`)();
console.log(JSON.stringify(await exchange(connect, url, Number(messages), { WebSocket })));
