// One head at one word, from its query to what it adds, number by number.

/** One head is looked at. */
export const defaults = (state) =>
  (state.layer === undefined || state.head === undefined
    ? { layer: state.layer ?? 0, head: state.head ?? 0 } : null);

export const name = "steps";
export const title = "Steps";
export const controls = ["layer", "head", "unit", "component"];
export const hasEffect = false;
export const previews = false;

export function click({ store }, event, found) {
  const word = found(event, "data-word");
  if (word) store.change({ target: word.dataset.word });
}
