// The dialogs: a new chat, and leaving a group.

import { setText } from "./format.js";
import { parseKey } from "./store.js";

const element = (id) => document.getElementById(id);

/** Wires a <dialog>'s form: submit may be asynchronous, closes the dialog when it succeeds, and says why not else. */
function wire(prefix, submit) {
  const dialog = element(`${prefix}-dialog`), problem = element(`${prefix}-problem`), button = element(`${prefix}-submit`);
  element(`${prefix}-cancel`).onclick = () => dialog.close();
  element(`${prefix}-form`).onsubmit = async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    setText(problem, "");
    try {
      await submit();
      dialog.close();
    } catch (error) {
      setText(problem, error.message);
    } finally {
      button.disabled = false;
    }
  };
  return () => {
    setText(problem, "");
    dialog.showModal();
  };
}

/** Returns a function that opens the dialog for a new chat. start gets ("direct" or "group", id). */
export function newChatDialog(store, start) {
  const input = element("new-id");
  const kind = () => new FormData(element("new-form")).get("kind");
  const open = wire("new", async () => {
    const id = kind() === "group" ? number(input.value) : person(store, input.value);
    if (!id) throw new Error(kind() === "group" ? "A group is a number." : "Nobody by that name is known: use the user id.");
    if (kind() === "direct" && id === store.me) throw new Error("That is you.");
    await start(kind(), id);
  });

  const describe = () => {
    const group = kind() === "group";
    setText(element("new-label"), group ? "Group number" : "User id or name");
    setText(element("new-hint"), group
      ? "Whoever joins the same number is in the same group. You see what is said from now on."
      : "You can write to people who are away: they get it when they are back.");
    input.inputMode = group ? "numeric" : "text";
    element("known").replaceChildren(...(group ? [] : store.people).map(({ name }) => {
      const option = document.createElement("option");
      option.value = name;
      return option;
    }));
  };
  for (const radio of element("new-form").elements.kind) radio.onchange = describe;
  return () => {
    input.value = "";
    describe();
    open();
    input.focus();
  };
}

/** Returns a function that asks whether to leave the group on display. */
export const leaveDialog = (leave) => wire("leave", leave);

const number = (text) => parseKey("g" + text.trim().replace(/^(group|#)\s*/i, ""))?.id;

function person(store, text) {
  const wanted = text.trim();
  const byName = store.people.find(({ name }) => name.toLowerCase() === wanted.toLowerCase());
  return byName?.id ?? parseKey("u" + wanted.replace(/^user\s*/i, ""))?.id;
}
