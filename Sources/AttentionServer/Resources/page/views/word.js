// One word and all others.

export const name = "word";
export const title = "Word";
export const controls = ["layer", "head", "unit", "scale", "order", "style", "mass"];
export const hasEffect = true;
export const previews = true;

/** A click pins a word as the target. */
export function click({ store }, event, found) {
  const word = found(event, "data-word");
  if (word) store.change({ target: word.dataset.word });
}
