// One head: every word to every word, both ways. A sentence that is too long for marks is drawn on canvas.

import { draw, shades } from "../matrix.js";

export const name = "head";
export const title = "Head";
export const controls = ["layer", "head", "unit", "scale", "direction", "style"];
export const hasEffect = false;
export const previews = true;

/** Up to how many words the server's picture has every number; beyond, the matrix is drawn on canvas as well. */
const numberedWordLimit = 64;

/** Whoever comes here without a layer sees the first: its heads can then be chosen. */
export const enter = (state) => (state.layer === undefined ? { layer: 0 } : {});

let drawn = null;
let drawnFor = null;
export function recolour() { drawn?.recolour(); }

export function show(context, { words }) {
  const { extra, store } = context;
  const count = words.length;
  if (count <= numberedWordLimit) {
    extra.replaceChildren();
    drawnFor = null;
    return;
  }
  const { text, model, unit, layer, head, scale } = store.state;
  const key = JSON.stringify([text, model, unit, layer, head, scale]);
  if (drawnFor === key && extra.firstChild) return;
  const load = async () => {
    const state = Object.fromEntries(Object.entries({ text, model, unit, layer, head }).filter(([, value]) => value !== undefined));
    const bytes = await (await context.ask("/api/weights", { state }, "weights")).arrayBuffer();
    drawn = draw(extra, {
      count, weights: new Float32Array(bytes), texts: words, say: context.say, shade: shades[scale ?? "absolute"],
      choose: (index) => store.change({ target: index }),
      label: `All ${count} × ${count} weights, layer ${layer ?? "mean"}, head ${head ?? "mean"}; the table below has those of the target`,
    });
    drawnFor = key;
  };
  // The page says what it takes before it takes it.
  const megabytes = (4 * count * count / 2 ** 20).toFixed(1);
  if (count <= 512) return load();
  const button = Object.assign(document.createElement("button"), { type: "button",
    textContent: `Draw all ${count} × ${count} weights: ${megabytes} MB of memory` });
  button.addEventListener("click", () => { button.disabled = true; load(); });
  extra.replaceChildren(button);
}

let before;

export function click({ store }, event, found) {
  const square = found(event, "data-head");
  const from = found(event, "data-from");
  const word = found(event, "data-word");
  if (square) {
    // The second click of a double-click is told below.
    if (event.detail > 1) return;
    before = store.state.head;
    store.change({ head: square.dataset.head });
  } else if (from) store.change({ target: from.dataset.from });
  else if (word) store.change({ target: word.dataset.word });
}

/** A double-click isolates a head; on the one that is alone it brings back all. */
export function doubleClick({ store }, event, found) {
  const square = found(event, "data-head");
  if (square) store.change({ head: before === square.dataset.head ? null : square.dataset.head });
}
