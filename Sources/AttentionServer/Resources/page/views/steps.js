// One head at one word, from its query to what it adds, number by number.

export { oneHead as defaults } from "../state.js";

export const name = "steps";
export const title = "Steps";
export const controls = ["layer", "head", "unit", "component"];
export const hasEffect = false;
export const previews = false;

export function click({ store }, event, found) {
  const word = found(event, "data-word");
  if (word) store.change({ target: word.dataset.word });
}
