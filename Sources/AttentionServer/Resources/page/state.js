// The one state: what the address says after #, under the names that the command's options have.

const names = ["text", "model", "view", "target", "layer", "head", "unit", "scale", "order", "mass", "style",
  "direction", "similarity", "component", "effect", "top", "theme"];

/** Reads the state from an address's fragment; names that are unknown are kept, so that the server can say so. */
export function parse(fragment) {
  return Object.fromEntries(new URLSearchParams(fragment.replace(/^#/, "")));
}

/** Writes the state as a fragment, names in one order. */
export function format(state) {
  const order = (name) => (names.indexOf(name) + names.length) % names.length;
  const parameters = new URLSearchParams();
  for (const name of Object.keys(state).sort((a, b) => order(a) - order(b))) parameters.append(name, state[name]);
  return "#" + parameters.toString().replaceAll("+", "%20");
}

/** What a view of one head lacks in a state: the first layer and head, where none is named; else null. */
export const oneHead = (state) =>
  (state.layer === undefined || state.head === undefined
    ? { layer: state.layer ?? 0, head: state.head ?? 0 } : null);

/** The state, whoever changes it, and those who want to know. */
export class Store {
  #listeners = new Set();

  constructor() {
    this.state = parse(location.hash);
    addEventListener("popstate", () => this.#take(parse(location.hash)));
    addEventListener("hashchange", () => this.#take(parse(location.hash)));
  }

  get view() { return this.state.view ?? "word"; }

  subscribe(listener) { this.#listeners.add(listener); }

  /** Changes some fields; one that becomes null, undefined or "" is left out of the address. */
  change(fields, { replace = false } = {}) {
    const state = { ...this.state };
    for (const [name, value] of Object.entries(fields)) {
      if (value === null || value === undefined || value === "") delete state[name];
      else state[name] = String(value);
    }
    if (state.layer === undefined) delete state.head;
    const address = format(state);
    if (address === format(this.state)) return;
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this.#take(state);
  }

  #take(state) {
    if (format(state) === format(this.state)) return;
    this.state = state;
    for (const listener of this.#listeners) listener(state);
  }
}
