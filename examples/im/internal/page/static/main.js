// Begins: who is it, then the session, the store, and the view on it.

import { Chat } from "./chat.js";
import { leaveDialog, newChatDialog } from "./dialogs.js";
import { Login, ask } from "./login.js";
import { Session } from "./session.js";
import { Store, keyOf, parseKey } from "./store.js";
import { Thread } from "./thread.js";
import { View, addressed } from "./view.js";

const PEOPLE_INTERVAL = 10_000; // ms between looks at who came

const element = (id) => document.getElementById(id);

/** Who is logged in survives a reload of this tab, and belongs to this tab: two tabs may be two users. */
const identity = {
  get() {
    try {
      const { user, token, name } = JSON.parse(sessionStorage.getItem("identity"));
      return { user: BigInt(user), token, name };
    } catch {
      return null;
    }
  },
  set: ({ user, token, name }) => sessionStorage.setItem("identity", JSON.stringify({ user: String(user), token, name })),
  clear: () => sessionStorage.removeItem("identity"),
};

const pick = async (signal) => (await ask("pick", {}, signal)).url;

/** What the page's server says: whether a name is enough, where people meet, and who came. */
async function aboutPeople() {
  try {
    return await ask("people");
  } catch {
    return { demo: false, lobby: "", people: [] };
  }
}

/** Runs the messenger for one user, until he logs out or is refused. Resolves to what the login should say then. */
function runFor({ user, token, name }, about) {
  return new Promise((resolve) => {
    const stop = new AbortController();
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal: stop.signal });

    const lobby = BigInt(about.lobby || 0);
    const store = new Store(user, lobby, localStorage);
    const session = new Session({ user, token, pick });
    const chat = new Chat(session, store, lobby);
    const view = new View(store, session);
    const thread = new Thread(store, {
      write: (conversation, text) => chat.write(conversation, text),
      retry: (message) => chat.retry(message),
      discard: (message) => chat.discard(message),
    });

    const meet = ({ people }) => store.setPeople(people.map(({ id, name }) => ({ id: BigInt(id), name })));
    const render = () => {
      const key = addressed();
      const where = parseKey(key);
      // An address of a person is enough to write to; a group must have been joined.
      const current = where && (where.kind === "direct" ? store.conversation(where.kind, where.id) : store.find(key)) || null;
      chat.show(current);
      store.look(document.hidden ? "" : key);
      view.render(current);
      thread.show(current);
      thread.render();
    };
    const go = (key) => {
      location.hash = key;
    };
    const end = (problem) => {
      stop.abort();
      clearInterval(arrivals);
      chat.close();
      thread.close();
      view.close();
      resolve(problem);
    };

    const whoCame = async () => about.demo && !document.hidden && meet(await aboutPeople());
    const arrivals = setInterval(whoCame, PEOPLE_INTERVAL);
    const openNew = newChatDialog(store, async (kind, id) => {
      if (kind === "group") await chat.join(id);
      go(keyOf(kind, id));
    });
    const openLeave = leaveDialog(async () => {
      await chat.leave(store.find(addressed()));
      go("");
    });

    on(store, "change", render);
    on(store, "unnamed", () => {
      whoCame();
      chat.refresh();
    });
    on(store, "loaded", () => {
      // Where the list and a chat have room beside each other, one is open.
      const [newest] = store.conversations;
      if (!addressed() && newest && matchMedia("(min-width: 720px)").matches) location.replace(`#${newest.key}`);
    });
    on(session, "state", () => {
      if (session.state === "refused") end("The access server does not accept this token.");
      else render();
    });
    on(window, "hashchange", () => {
      render();
      if (addressed() && !matchMedia("(pointer: coarse)").matches) element("draft").focus();
    });
    on(window, "online", () => session.hurry());
    on(document, "visibilitychange", () => {
      if (document.hidden) return;
      session.hurry();
      chat.refresh();
      render();
    });
    on(document, "keydown", (event) => shortcut(event, openNew));
    on(element("new-chat"), "click", openNew);
    on(element("logout"), "click", () => end(""));
    on(element("banner-action"), "click", () => {
      if (session.state === "replaced") location.reload();
      else session.hurry();
    });
    on(element("leave"), "click", openLeave);

    if (name) store.learn(user, { name });
    meet(about);
    render();
    session.run();
  });
}

/** N begins a new chat, Escape leaves the open one; neither while something is being written. */
function shortcut(event, openNew) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const writing = event.target.matches("input, textarea");
  if (event.key === "Escape" && addressed()) {
    location.hash = "";
    element("conversations").querySelector("a")?.focus();
  } else if (event.key === "n" && !writing) {
    event.preventDefault();
    openNew();
  }
}

const about = await aboutPeople();
const login = new Login(about.demo);
for (let problem = ""; ; ) {
  const who = identity.get() ?? await login.ask(problem);
  identity.set(who);
  problem = await runFor(who, about);
  identity.clear();
  location.hash = "";
}
