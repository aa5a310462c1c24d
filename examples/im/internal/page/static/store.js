// What is known: conversations with their messages, names, who is online. No network and no page; listeners
// hear "change" once for all changes of one task, "loaded" when the history was read once, and "unnamed" for
// the first message of somebody without a name.

/** A conversation's key: "u" and the user's id, or "g" and the group's. It is also its address in the page. */
export const keyOf = (kind, id) => (kind === "group" ? "g" : "u") + id;

/** The reverse of keyOf: {kind, id}, or null for a string that is no key. */
export function parseKey(key) {
  const match = /^([ug])([1-9]\d{0,18})$/.exec(key);
  if (!match || BigInt(match[2]) >= 1n << 63n) return null;
  return { kind: match[1] === "g" ? "group" : "direct", id: BigInt(match[2]) };
}

/**
 * Messages are {source, msgID, text, time, state, problem, id, version}: state is "sending", "failed" (and then
 * problem says why) or "stored"; time is a Date or null; id and version are the history's.
 */
class Conversation {
  constructor(kind, id) {
    this.key = keyOf(kind, id);
    this.kind = kind;
    this.id = id;
    this.stored = []; // in the order of their versions
    this.unstored = []; // one's own that are not in the history yet, in the order of writing
    this.unread = 0;
    this.draft = "";
    this.members = null; // of a group: {ids, more}
    this.opened = 0; // when it was started here, for the place of an empty one in the list
  }

  get messages() {
    return [...this.stored, ...this.unstored];
  }

  get last() {
    return this.unstored.at(-1) ?? this.stored.at(-1);
  }
}

export class Store extends EventTarget {
  me = 0n;
  server = ""; // the access server's id
  people = []; // who is worth showing although nobody wrote: {key, id, name}
  loaded = false; // whether the history was read once

  #conversations = new Map(); // key → Conversation
  #known = new Set(); // ids of the records taken: a record that comes again is none
  #users = new Map(); // id → {name, online, server}
  #unnamed = new Set(); // ids without a name that a "unnamed" event was about
  #open = ""; // the key of the conversation on display
  #read; // key → the id of the last record read, as it was kept over a reload
  #changed = false;
  #keep;

  /** lobby is the group that is called so, 0n for none. keep is where what was read and what was not yet sent survives a reload: a Storage. */
  constructor(me, lobby, keep) {
    super();
    this.me = me;
    this.lobby = lobby;
    this.#keep = keep;
    this.#read = new Map(Object.entries(this.#recall("read") ?? {}));
    for (const { key, msgID, text, time } of this.#recall("unsent") ?? []) {
      const where = parseKey(key);
      if (where) this.write(where.kind, where.id, text, msgID, new Date(time));
    }
  }

  /** All conversations, the one with the newest message first. */
  get conversations() {
    const age = (c) => Math.max(c.last?.time?.getTime() ?? 0, c.opened);
    return [...this.#conversations.values()].sort((a, b) => age(b) - age(a) || (a.key < b.key ? -1 : 1));
  }

  get unread() {
    return this.conversations.reduce((sum, { unread }) => sum + unread, 0);
  }

  find(key) {
    return this.#conversations.get(key);
  }

  /** The conversation, a new one if there is none. */
  conversation(kind, id) {
    const key = keyOf(kind, id);
    let conversation = this.#conversations.get(key);
    if (!conversation) {
      conversation = new Conversation(kind, id);
      this.#conversations.set(key, conversation);
      this.#change();
    }
    return conversation;
  }

  remove(key) {
    if (this.#conversations.delete(key)) this.#change();
    this.#keepUnsent();
  }

  // History

  /** Takes a record of the history; one that was taken already changes nothing. */
  take(record) {
    const id = String(record.ID);
    if (this.#known.has(id)) return;
    this.#known.add(id);

    const mine = record.sourceUID === this.me;
    const conversation = record.groupID
      ? this.conversation("group", record.groupID)
      : this.conversation("direct", mine ? record.targetUID : record.sourceUID);
    // One's own message stays the object that is on display already.
    const written = mine && conversation.unstored.findIndex(({ msgID }) => msgID === record.msgID);
    const message = mine && written >= 0 ? conversation.unstored.splice(written, 1)[0] : {};
    Object.assign(message, {
      source: record.sourceUID, msgID: record.msgID, text: record.msg, state: "stored", problem: "", id,
      time: record.time ? new Date(Number(record.time)) : null, version: record.version,
    });
    if (mine) this.#keepUnsent();
    const { stored } = conversation;
    let at = stored.length;
    while (at > 0 && stored[at - 1].version > message.version) at--;
    stored.splice(at, 0, message);

    if (!this.user(record.sourceUID).name && !this.#unnamed.has(record.sourceUID)) {
      this.#unnamed.add(record.sourceUID);
      this.dispatchEvent(new Event("unnamed"));
    }
    if (!mine) conversation.unread++;
    if (this.#read.get(conversation.key) === id || mine) conversation.unread = 0;
    if (conversation.key === this.#open) this.#markRead(conversation);
    this.#change();
  }

  // One's own messages

  /** Adds a message that is to be sent and returns it. */
  write(kind, id, text, msgID, time = new Date()) {
    const conversation = this.conversation(kind, id);
    const message = { id: "", source: this.me, msgID, text, time, state: "sending", problem: "", version: null };
    conversation.unstored.push(message);
    this.#keepUnsent();
    this.#change();
    return message;
  }

  /** Changes the state of one's own message, unless the history has it already. */
  mark(message, state, problem = "") {
    if (message.version !== null) return;
    message.state = state;
    message.problem = problem;
    this.#keepUnsent();
    this.#change();
  }

  /** Takes back a message that failed. */
  discard(message) {
    for (const conversation of this.#conversations.values()) {
      conversation.unstored = conversation.unstored.filter((other) => other !== message);
    }
    this.#keepUnsent();
    this.#change();
  }

  /** Messages that wait to be sent, oldest first: [{conversation, message}]. */
  get unsent() {
    const waiting = [];
    for (const conversation of this.#conversations.values()) {
      for (const message of conversation.unstored) {
        if (message.state === "sending") waiting.push({ conversation, message });
      }
    }
    return waiting.sort((a, b) => a.message.time - b.message.time);
  }

  // Names and presence

  user(id) {
    return this.#users.get(String(id)) ?? { name: "", online: null, server: "" };
  }

  learn(id, facts) {
    const before = this.user(id);
    const after = { ...before, ...facts };
    if (Object.keys(after).every((key) => after[key] === before[key])) return;
    this.#users.set(String(id), after);
    this.#change();
  }

  nameOf(id) {
    return this.user(id).name || `User ${id}`;
  }

  titleOf({ kind, id }) {
    if (kind === "direct") return this.nameOf(id);
    return id === this.lobby ? "Lobby" : `Group ${id}`;
  }

  setMembers(conversation, members) {
    conversation.members = members;
    this.#change();
  }

  setPeople(people) {
    if (people.length === this.people.length) return; // they only ever become more, until the program ends
    this.people = people.map(({ id, name }) => ({ key: keyOf("direct", id), id, name }));
    for (const { id, name } of people) {
      if (!this.user(id).name) this.learn(id, { name });
    }
    this.#change();
  }

  settle() {
    if (this.loaded) return;
    this.loaded = true;
    this.#change();
    this.dispatchEvent(new Event("loaded"));
  }

  setServer(server) {
    this.server = server;
    this.#change();
  }

  // What is on display

  /** Says which conversation is looked at, "" for none: its messages count as read. */
  look(key) {
    this.#open = key;
    const conversation = this.find(key);
    if (conversation) this.#markRead(conversation);
  }

  #markRead(conversation) {
    const last = conversation.stored.at(-1)?.id ?? "";
    if (conversation.unread > 0) {
      conversation.unread = 0;
      this.#change();
    }
    if (last && this.#read.get(conversation.key) !== last) {
      this.#read.set(conversation.key, last);
      this.#remember("read", Object.fromEntries(this.#read));
    }
  }

  #keepUnsent() {
    const unsent = [];
    for (const { key, unstored } of this.#conversations.values()) {
      for (const { msgID, text, time, state } of unstored) {
        if (state !== "stored") unsent.push({ key, msgID, text, time: time.getTime() });
      }
    }
    this.#remember("unsent", unsent);
  }

  #recall(what) {
    try {
      return JSON.parse(this.#keep.getItem(`${what}:${this.me}`));
    } catch {
      return null; // not ours, or from another version
    }
  }

  #remember(what, value) {
    try {
      this.#keep.setItem(`${what}:${this.me}`, JSON.stringify(value));
    } catch {
      // Full or refused: it is then gone after a reload, and only then.
    }
  }

  #change() {
    if (this.#changed) return;
    this.#changed = true;
    queueMicrotask(() => {
      this.#changed = false;
      this.dispatchEvent(new Event("change"));
    });
  }
}
