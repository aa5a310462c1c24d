// One chat: its messages, and the field to write in.

import { day, setAvatar, setText, timeOfDay } from "./format.js";

const SHOWN = 200; // messages shown at first, and more each time earlier ones are asked for
const TOGETHER = 5 * 60_000; // ms: messages of one person closer than this stand together
const NEAR_END = 80; // px: who is this close to the end wants to see what comes

const element = (id) => document.getElementById(id);

export class Thread {
  #store;
  #on;
  #conversation = null;
  #shown = SHOWN;
  #rows = new Map(); // message, or a day's text → its <li>
  #resized;
  #size = ""; // of the box of messages, as #resized saw it last
  #following = true; // whether the newest message is to stay in sight

  /** on.write is called with a conversation and a text, on.retry and on.discard with a message that failed. */
  constructor(store, on) {
    this.#store = store;
    this.#on = on;
    const draft = element("draft");
    const send = () => {
      const text = draft.value.trim();
      if (!text || !this.#conversation) return;
      draft.value = "";
      this.#drafted();
      on.write(this.#conversation, text);
      this.#toEnd();
      draft.focus();
    };
    element("composer").onsubmit = (event) => {
      event.preventDefault();
      send();
    };
    draft.onkeydown = (event) => {
      // While a word is being composed (Japanese, Chinese…), Enter belongs to the composition.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    };
    draft.oninput = () => this.#drafted();
    element("messages").onscroll = () => {
      if (this.#size !== sizeOf(element("messages"))) return; // not the user: the observer is about to see to it
      this.#following = this.#atEnd();
      if (this.#following) element("newest").hidden = true;
    };
    // The keyboard of a phone, or a draft of several lines, takes room.
    this.#resized = new ResizeObserver(() => {
      this.#size = sizeOf(element("messages"));
      if (this.#following) this.#toEnd();
    });
    this.#resized.observe(element("messages"));
    element("newest").onclick = () => this.#toEnd();
    element("earlier").onclick = () => this.#showEarlier();
  }

  /** Shows a conversation, or none for null. */
  show(conversation) {
    if (conversation === this.#conversation) return;
    this.#conversation = conversation;
    this.#shown = SHOWN;
    this.#rows.clear();
    element("message-list").replaceChildren();
    element("newest").hidden = true;
    for (const id of ["messages", "composer", "thread-bar"]) element(id).hidden = !conversation;
    element("no-thread").hidden = Boolean(conversation);
    if (!conversation) return;
    element("draft").value = conversation.draft;
    this.#drafted();
    this.render();
    this.#toEnd();
  }

  close() {
    this.show(null);
    this.#resized.disconnect();
  }

  render() {
    if (!this.#conversation) return;
    const { messages } = this.#conversation;
    const shown = messages.slice(-this.#shown);
    const newest = this.#rows.size > 0 && shown.length > 0 && !this.#rows.has(shown.at(-1));

    element("earlier").hidden = shown.length === messages.length;
    element("no-messages").hidden = messages.length > 0;
    this.#place(this.#rowsOf(shown));
    if (this.#following) this.#toEnd();
    else if (newest) element("newest").hidden = false;
  }

  /** Puts the rows in order and keeps those that stay, so that a selection or a focus does. */
  #place(rows) {
    const list = element("message-list");
    for (const [key, row] of this.#rows) {
      if (rows.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let at = list.firstElementChild;
    for (const row of rows.values()) {
      if (row === at) at = at.nextElementSibling;
      else list.insertBefore(row, at);
    }
    this.#rows = rows;
  }

  #rowsOf(messages) {
    const rows = new Map();
    messages.forEach((message, i) => {
      const previous = messages[i - 1], next = messages[i + 1];
      const today = message.time && day(message.time);
      if (today && today !== (previous?.time && day(previous.time))) {
        rows.set(today, this.#dayRow(today));
      }
      const row = this.#rows.get(message) ?? this.#newRow(message);
      this.#fill(row, message, {
        first: !together(previous, message),
        last: !together(message, next),
      });
      rows.set(message, row);
    });
    return rows;
  }

  #dayRow(text) {
    const row = this.#rows.get(text) ?? document.createElement("li");
    row.className = "day";
    setText(row, text);
    return row;
  }

  #newRow(message) {
    const row = element("message-row").content.firstElementChild.cloneNode(true);
    row.querySelector(".retry").onclick = () => this.#on.retry(message);
    row.querySelector(".discard").onclick = () => this.#on.discard(message);
    return row;
  }

  #fill(row, message, { first, last }) {
    const mine = message.source === this.#store.me;
    const classes = [mine && "mine", first && "first", last && "last", message.state !== "stored" && message.state];
    row.className = classes.filter(Boolean).join(" ");
    const named = this.#conversation.kind === "group" && !mine;
    row.querySelector(".sender").classList.toggle("shown", named);
    if (named) {
      const name = this.#store.nameOf(message.source);
      setAvatar(row.querySelector(".avatar"), { name, id: message.source });
      setText(row.querySelector(".name"), name);
    }
    setText(row.querySelector("p"), message.text);
    const time = row.querySelector("time");
    time.hidden = !message.time;
    if (message.time) {
      setText(time, timeOfDay(message.time));
      time.dateTime = message.time.toISOString();
    }
    if (mine) fillMark(row.querySelector(".mark"), message);
  }

  #showEarlier() {
    const box = element("messages");
    const fromEnd = box.scrollHeight - box.scrollTop;
    this.#shown += SHOWN;
    this.render();
    box.scrollTop = box.scrollHeight - fromEnd;
  }

  #drafted() {
    const draft = element("draft");
    if (!CSS.supports("field-sizing", "content")) {
      draft.style.height = "auto";
      draft.style.height = `${draft.scrollHeight + 2}px`;
    }
    this.#conversation.draft = draft.value;
    element("send").disabled = !draft.value.trim();
  }

  #atEnd() {
    const box = element("messages");
    return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
  }

  #toEnd() {
    const box = element("messages");
    box.scrollTop = box.scrollHeight;
    this.#following = true;
    element("newest").hidden = true;
  }
}

const sizeOf = ({ clientWidth, clientHeight }) => `${clientWidth} × ${clientHeight}`;

/** Whether two messages stand together: same person, same day, little time between. */
function together(a, b) {
  if (!a || !b || a.source !== b.source) return false;
  if (!a.time || !b.time) return a.time === b.time;
  return Math.abs(b.time - a.time) < TOGETHER && day(a.time) === day(b.time);
}

/** Says what became of one's own message. */
function fillMark(mark, { state, problem }) {
  const texts = { sending: "Sending…", failed: `Not sent: ${problem}`, stored: "✓" };
  setText(mark, texts[state]);
  mark.title = state === "stored" ? "Sent, and stored by the server" : "";
  mark.ariaLabel = state === "stored" ? "Sent" : null;
  mark.role = state === "stored" ? "img" : null;
}
