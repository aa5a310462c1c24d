// What the session brings goes into the store, what the store waits to send goes out by the session.

import { Cmd, Code, Presence } from "./wire.js";

// A server that cannot store a message right now is asked again so often, after so many ms and then twice as long.
const ATTEMPTS = 4;
const ATTEMPT_PAUSE = 400;

const PRESENCE_INTERVAL = 4_000; // ms
const PRESENCE_BATCH = 100; // users a request may ask for
const PRESENCE_MOST = 500; // users asked for a time: who is not among them has no lamp

export class Chat {
  #shown = null; // the conversation on display, whose members are asked for
  #session;
  #store;
  #lobby;
  #version = 0n; // everything up to here is in the store
  #behind = false;
  #syncing = false;
  #sending = false;
  #timer;

  /** lobby is the group that somebody without any chat joins, 0n for none. */
  constructor(session, store, lobby) {
    this.#session = session;
    this.#store = store;
    this.#lobby = lobby;
    session.addEventListener("online", () => this.#arrive());
    session.addEventListener("notify", () => this.#sync());
    this.#timer = setInterval(() => this.refresh(), PRESENCE_INTERVAL);
  }

  get online() {
    return this.#session.state === "online";
  }

  close() {
    clearInterval(this.#timer);
    this.#session.close();
  }

  /** Says which conversation is on display, null for none. */
  show(conversation) {
    if (conversation === this.#shown) return;
    this.#shown = conversation;
    this.refresh();
  }

  /** Writes a message: it is sent now or when there is a connection again. */
  write(conversation, text) {
    this.#store.write(conversation.kind, conversation.id, text, newMessageID());
    this.#send();
  }

  /** Sends a message that failed once more, under its old id: the server stores it once. */
  retry(message) {
    this.#store.mark(message, "sending");
    this.#send();
  }

  /** Forgets a message that failed. */
  discard(message) {
    this.#store.discard(message);
  }

  /** Joins a group and resolves to its conversation. */
  async join(id) {
    await this.#session.request(Cmd.joinGroup, { UID: this.#session.user, groupID: id });
    const conversation = this.#store.conversation("group", id);
    this.#sync();
    this.refresh();
    return conversation;
  }

  async leave(conversation) {
    await this.#session.request(Cmd.leaveGroup, { UID: this.#session.user, groupID: conversation.id });
    this.#store.remove(conversation.key);
  }

  /** After each login: who holds us, then what was missed, then what waits to be sent. */
  async #arrive() {
    try {
      const who = await this.#session.request(Cmd.whoAmI);
      this.#store.setServer(who.server);
      for (const id of who.groupIDs) this.#store.conversation("group", id);
    } catch {
      if (!this.online) return; // the next login does it
    }
    await this.#sync();
    if (this.#lobby && this.#store.conversations.length === 0) await this.join(this.#lobby).catch(() => {});
    if (this.online) this.#store.settle();
    this.#send();
    this.refresh();
  }

  async #sync() {
    this.#behind = true;
    if (this.#syncing) return;
    this.#syncing = true;
    try {
      while (this.#behind && this.online) {
        this.#behind = false;
        const answer = await this.#session.request(Cmd.history, { UID: this.#session.user, currentID: this.#version });
        for (const record of answer.records) this.#store.take(record);
        const lost = answer.currentID < this.#version; // versions begin anew: what we have is told by its ids
        if (lost || answer.more && answer.currentID > this.#version) this.#behind = true;
        this.#version = lost ? 0n : answer.currentID;
      }
    } catch {
      // The next login or the next notice begins where this ended.
    } finally {
      this.#syncing = false;
    }
  }

  /** Sends what waits, one message behind the other, so that they are stored in the order of writing. */
  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let next; this.online && (next = this.#store.unsent[0]); ) {
        await this.#sendOne(next.conversation, next.message);
      }
    } catch {
      // No answer: the message may be stored or not, and goes again under its id after the next login.
    } finally {
      this.#sending = false;
    }
    this.#sync();
  }

  async #sendOne(conversation, message) {
    const { kind, id } = conversation;
    const fields = { sourceUID: this.#session.user, msgID: message.msgID, msg: message.text };
    for (let attempt = 1; ; attempt++) {
      try {
        if (kind === "group") await this.#session.request(Cmd.sendGroup, { ...fields, groupID: id });
        else await this.#session.request(Cmd.sendDirect, { ...fields, targetUID: id });
        this.#store.mark(message, "stored");
        return;
      } catch (error) {
        if (!error.code) throw error;
        if (error.code !== Code.server || attempt === ATTEMPTS) {
          this.#store.mark(message, "failed", error.message);
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, ATTEMPT_PAUSE * 2 ** (attempt - 1)));
    }
  }

  /** Asks who is online, and who the members of the group on display are. */
  async refresh() {
    if (!this.online || document.hidden) return;
    try {
      const conversation = this.#shown;
      if (conversation?.kind === "group") {
        const { UIDs, more } = await this.#session.request(Cmd.members, { UID: this.#session.user, groupID: conversation.id });
        this.#store.setMembers(conversation, { ids: UIDs, more });
      }
      const ids = this.#interesting();
      for (let i = 0; i < ids.length; i += PRESENCE_BATCH) {
        await this.#askPresence(ids.slice(i, i + PRESENCE_BATCH));
      }
    } catch {
      // Asked again soon.
    }
  }

  /** Those whose name or presence is shown: partners, people, and who is in the group on display. */
  #interesting() {
    const ids = new Set(this.#store.people.map(({ id }) => id));
    for (const { kind, id } of this.#store.conversations) {
      if (kind === "direct") ids.add(id);
    }
    for (const id of this.#shown?.members?.ids ?? []) ids.add(id);
    if (this.#shown?.kind === "group") for (const { source } of this.#shown.stored) ids.add(source);
    ids.delete(0n);
    return [...ids].slice(0, PRESENCE_MOST);
  }

  async #askPresence(ids) {
    const { users } = await this.#session.request(Cmd.presence, { UID: this.#session.user, UIDs: ids });
    for (const { UID, presence, server } of users) {
      this.#store.learn(UID, { online: presence === Presence.unknown ? null : presence === Presence.online, server });
    }
  }
}

/** An id that no other message of this user has: 80 random bits. */
function newMessageID() {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
