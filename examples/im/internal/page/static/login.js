// The login form: a user id and its token, or just a name where the page's server lets visitors in by name.

import { setText } from "./format.js";

const element = (id) => document.getElementById(id);

/** Asks this page's own server. Rejects with an Error whose message is for the visitor. */
export async function ask(path, body, signal) {
  const response = await fetch(path, {
    method: "POST", body: JSON.stringify(body ?? {}), headers: { "Content-Type": "application/json" }, signal,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? "the page's server could not do that");
  return answer;
}

export class Login {
  #demo;
  #byName;
  #enter = () => {};

  /** demo says that a name is enough. */
  constructor(demo) {
    this.#demo = demo;
    this.#byName = demo;
    element("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    element("login-switch").addEventListener("click", () => {
      this.#byName = !this.#byName;
      this.#show("");
    });
  }

  /** Shows the form and resolves to {user, token, name} when it was completed. */
  async ask(problem) {
    element("login").hidden = false;
    this.#show(problem);
    const entered = await new Promise((resolve) => {
      this.#enter = resolve;
    });
    element("login").hidden = true;
    element("login-token").value = "";
    return entered;
  }

  #show(problem) {
    element("login-name-field").hidden = !this.#byName;
    element("login-token-fields").hidden = this.#byName;
    element("login-switch").hidden = !this.#demo;
    setText(element("login-lead"), this.#byName
      ? "Choose a name and you are in. Whoever takes the same name is the same person."
      : "Log in with your user id and your token.");
    setText(element("login-switch"), this.#byName ? "Use a user id and token" : "Just use a name");
    this.#problem(problem);
    element(this.#byName ? "login-name" : "login-user").focus();
  }

  async #submit() {
    const button = element("login-submit");
    if (button.disabled) return;
    button.disabled = true;
    this.#problem("");
    try {
      this.#enter(await (this.#byName ? this.#fromName() : this.#fromToken()));
    } catch (error) {
      this.#problem(error instanceof TypeError ? "The page's server does not answer." : error.message);
    } finally {
      button.disabled = false;
    }
  }

  async #fromName() {
    const name = element("login-name").value.trim();
    if (!name) this.#refuse("login-name", "A name, please.");
    const { id, token, name: taken } = await ask("demo", { name });
    return { user: BigInt(id), token, name: taken };
  }

  #fromToken() {
    const id = element("login-user").value.trim();
    const token = element("login-token").value.trim();
    if (!/^[1-9]\d{0,18}$/.test(id) || BigInt(id) >= 1n << 63n) this.#refuse("login-user", "A user id is a number.");
    if (!token) this.#refuse("login-token", "The token is missing.");
    return { user: BigInt(id), token, name: "" };
  }

  #refuse(field, text) {
    element(field).setAttribute("aria-invalid", "true");
    element(field).focus();
    throw new Error(text);
  }

  #problem(text) {
    for (const field of element("login-form").querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    setText(element("login-problem"), text);
  }
}
