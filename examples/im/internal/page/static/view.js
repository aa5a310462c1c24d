// The page around the chat: who I am, the conversations, the people, and the state of the connection.

import { setAvatar, setText, shortTime } from "./format.js";
import { parseKey } from "./store.js";

const element = (id) => document.getElementById(id);

export class View {
  #store;
  #session;
  #rows = new Map(); // list and key → <li>
  #countdown;

  constructor(store, session) {
    this.#store = store;
    this.#session = session;
    element("app").hidden = false;
    for (const id of ["conversations", "people"]) element(id).replaceChildren();
    // The banner counts down; everything else is drawn when something changed.
    this.#countdown = setInterval(() => this.#banner(), 500);
  }

  close() {
    clearInterval(this.#countdown);
    element("app").hidden = true;
    document.title = "Messenger";
  }

  /** Draws everything; current is the conversation on display, or null. */
  render(current) {
    this.#me();
    this.#link();
    this.#banner();
    this.#bar(current);
    this.#lists(current);
    const { unread } = this.#store;
    document.title = unread > 0 ? `(${unread}) Messenger` : "Messenger";
    document.body.classList.toggle("in-thread", Boolean(current));
  }

  #me() {
    const { me } = this.#store;
    const name = this.#store.nameOf(me);
    setAvatar(element("me-avatar"), { name, id: me });
    setText(element("me-name"), name);
    setText(element("me-id"), `User ${me}`);
  }

  #link() {
    const { state } = this.#session;
    element("link").dataset.state = element("app").dataset.state = state;
    const texts = {
      connecting: "Connecting…",
      online: `Connected to ${this.#store.server || "an access server"}`,
      waiting: "Reconnecting…",
      replaced: "Logged in elsewhere",
    };
    setText(element("link-text"), texts[state] ?? "");
    element("link").title = state === "online" ? this.#session.server : "";
  }

  #banner() {
    const { state, nextAttempt } = this.#session;
    const banner = element("banner"), action = element("banner-action");
    banner.hidden = !["waiting", "replaced"].includes(state);
    banner.classList.toggle("bad", state === "replaced");
    if (state === "waiting") {
      const seconds = Math.ceil((nextAttempt - Date.now()) / 1000);
      setText(element("banner-text"), "No connection. What you write is sent when it is back.");
      // Not in the text, or screen readers would read it out every second.
      setText(element("banner-count"), seconds > 1 ? `${seconds} s` : "");
      setText(action, "Try now");
    } else if (state === "replaced") {
      setText(element("banner-text"), "You are logged in somewhere else, and were logged out here.");
      setText(element("banner-count"), "");
      setText(action, "Use it here");
    }
    action.hidden = banner.hidden;
  }

  #bar(current) {
    if (!current) return;
    const { kind, id, members } = current;
    const group = kind === "group";
    const name = this.#store.titleOf(current);
    const { online } = this.#store.user(id);
    setAvatar(element("thread-avatar"), { name, id, group, online: !group && online });
    setText(element("thread-name"), name);
    setText(element("thread-sub"), group ? this.#membersText(members) : this.#presenceText(id));
    element("leave").hidden = !group;
  }

  #membersText(members) {
    if (!members) return "";
    const { ids, more } = members;
    const count = `${more ? "more than " : ""}${ids.length} ${ids.length === 1 ? "member" : "members"}`;
    if (this.#session.state !== "online") return count;
    const online = ids.filter((id) => id === this.#store.me || this.#store.user(id).online).length;
    return `${count}, ${online} online`;
  }

  #presenceText(id) {
    const { online, server, name } = this.#store.user(id);
    const who = name ? `User ${id}` : "";
    const presence = this.#session.state === "online" && { true: server ? `online on ${server}` : "online", false: "away" }[online];
    return [presence, who].filter(Boolean).join(" · ");
  }

  #lists(current) {
    const { conversations, people } = this.#store;
    const listed = new Set(conversations.map(({ key }) => key));
    const others = people.filter(({ key, id }) => !listed.has(key) && id !== this.#store.me);
    this.#list("conversations", conversations, (row, conversation) => this.#conversationRow(row, conversation, current));
    this.#list("people", others, (row, { id, key }) => this.#personRow(row, id, key));
    element("no-conversations").hidden = conversations.length > 0 || !this.#store.loaded;
    element("people-section").hidden = others.length === 0;
  }

  /** Fills a list with a row for each item and moves rows rather than making them anew: the focus stays. */
  #list(listID, items, fill) {
    const list = element(listID);
    const wanted = new Set(items.map(({ key }) => `${listID}/${key}`));
    for (const [rowKey, row] of this.#rows) {
      if (!rowKey.startsWith(`${listID}/`) || wanted.has(rowKey)) continue;
      row.remove();
      this.#rows.delete(rowKey);
    }
    let at = list.firstElementChild;
    for (const item of items) {
      const rowKey = `${listID}/${item.key}`;
      let row = this.#rows.get(rowKey);
      if (!row) {
        row = element("conversation-row").content.firstElementChild.cloneNode(true);
        this.#rows.set(rowKey, row);
      }
      if (row === at) at = at.nextElementSibling;
      else list.insertBefore(row, at);
      fill(row, item);
    }
  }

  #conversationRow(row, conversation, current) {
    const { key, kind, id, last, unread, draft } = conversation;
    const group = kind === "group";
    const name = this.#store.titleOf(conversation);
    const link = row.querySelector("a");
    link.href = `#${key}`;
    if (conversation === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    row.classList.toggle("waiting", unread > 0);
    row.classList.toggle("unsent", last?.state === "failed");
    setAvatar(row.querySelector(".avatar"), { name, id, group, online: !group && this.#store.user(id).online });
    setText(row.querySelector("strong"), name);
    setText(row.querySelector(".sub"), this.#preview(conversation, draft && conversation !== current ? draft : ""));
    setText(row.querySelector("time"), last?.time ? shortTime(last.time) : "");
    const badge = row.querySelector(".unread");
    setText(badge, unread > 99 ? "99+" : unread > 0 ? String(unread) : "");
    if (unread > 0) badge.setAttribute("aria-label", `${unread} unread`);
  }

  #preview({ kind, last }, draft) {
    if (draft) return `Draft: ${draft}`;
    if (!last) return kind === "group" ? "Nothing said yet" : "Nothing written yet";
    if (last.state === "failed") return "Not sent";
    if (last.source === this.#store.me) return `You: ${last.text}`;
    return kind === "group" ? `${this.#store.nameOf(last.source)}: ${last.text}` : last.text;
  }

  #personRow(row, id, key) {
    const { online } = this.#store.user(id);
    const name = this.#store.nameOf(id);
    row.querySelector("a").href = `#${key}`;
    setAvatar(row.querySelector(".avatar"), { name, id, online });
    setText(row.querySelector("strong"), name);
    setText(row.querySelector(".sub"), online ? "online" : online === false ? "away" : "");
  }
}

/** What the address says is on display: a key, or "". */
export const addressed = () => (parseKey(location.hash.slice(1)) ? location.hash.slice(1) : "");
