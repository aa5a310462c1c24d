"use strict";

// The server makes the whole page, with or without this script, which does four things: it asks for the page
// again and puts what has changed in its place, reads values off the charts, asks before a session is closed,
// and lets all that pause.

const every = 1000; // ms between an answer and the next question
const patience = 10000; // ms for an answer

// fetch takes no address with a password in it, which is how one may have come here.
const here = new URL(location.href);
here.username = here.password = here.hash = "";

const status = document.getElementById("status");
const pause = document.getElementById("pause");
let paused = false;
let timer = 0;
let asking = false;

// become changes a node into another in place, so that focus, selection and a click in progress survive.
function become(node, other) {
  if (node.nodeType !== other.nodeType || node.nodeName !== other.nodeName) {
    node.replaceWith(document.importNode(other, true));
    return;
  }
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.nodeValue !== other.nodeValue) node.nodeValue = other.nodeValue;
    return;
  }
  for (const { name, value } of other.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  for (const { name } of [...node.attributes]) {
    if (!other.hasAttribute(name)) node.removeAttribute(name);
  }
  const mine = [...node.childNodes];
  const theirs = [...other.childNodes];
  theirs.forEach((child, i) => {
    if (i < mine.length) become(mine[i], child);
    else node.append(document.importNode(child, true));
  });
  mine.slice(theirs.length).forEach((child) => child.remove());
}

function say(text, state) {
  status.textContent = text;
  status.className = state;
}

async function ask() {
  if (asking) return;
  asking = true;
  try {
    const response = await fetch(here, { signal: AbortSignal.timeout(patience) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll(".live")) {
      const fresh = page.getElementById(part.id);
      if (fresh) become(part, fresh);
    }
    document.title = page.title;
    say("live", "on");
    read();
  } catch {
    say("no answer", "off");
  }
  asking = false;
}

async function keepAsking() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  await ask();
  clearTimeout(timer);
  timer = setTimeout(keepAsking, every);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Resume" : "Pause";
  if (paused) say("paused", "");
  keepAsking();
});
document.addEventListener("visibilitychange", keepAsking);

// Values of a chart at the pointer.

let pointed = null; // { chart, at }: at is a part of the chart's width

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

function readChart({ chart, at }) {
  const lines = [...chart.querySelectorAll(".line")].map((line) => ({
    name: line.dataset.name,
    values: line.dataset.values.split(" "),
  }));
  const points = lines[0].values.length;
  const i = Math.min(points - 1, Math.max(0, Math.round(at * (points - 1))));
  const time = new Date((Number(chart.dataset.end) - (points - 1 - i) * Number(chart.dataset.step)) * 1000);
  const values = lines.map(({ name, values }) => {
    const value = values[i] === "" || values[i] === "-" ? "–" : compact.format(Number(values[i])) + chart.dataset.unit;
    return name ? `${name} ${value}` : value;
  });
  const x = (i * 300) / (points - 1);
  chart.querySelector(".cross").setAttribute("d", `M${x} 0V56`);
  chart.querySelector(".most").textContent = values.join(" · ");
  chart.querySelector(".ago").textContent = time.toLocaleTimeString();
}

function read() {
  if (pointed) readChart(pointed);
}

document.addEventListener("pointermove", (event) => {
  const chart = event.target.closest?.(".chart");
  if (pointed && pointed.chart !== chart) {
    pointed.chart.querySelector(".cross").setAttribute("d", "");
  }
  if (!chart) {
    pointed = null;
    return;
  }
  const box = chart.getBoundingClientRect();
  pointed = { chart, at: (event.clientX - box.left) / box.width };
  read();
});

// Closing a session: the question names the one that was meant, whatever row it is in by now.

document.addEventListener("submit", async (event) => {
  if (event.target.method !== "post") return; // the search leads to another page
  event.preventDefault();
  const form = new URLSearchParams(new FormData(event.target));
  const id = form.get("id");
  if (!confirm(`Close session ${id}? What it has queued is discarded.`)) return;
  try {
    const response = await fetch(new URL(event.target.getAttribute("action"), here), { method: "POST", body: form });
    if (!response.ok) say(await response.text(), "off");
  } catch {
    say("no answer", "off");
  }
  keepAsking();
});

keepAsking();
