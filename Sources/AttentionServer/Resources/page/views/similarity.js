// The same queries and keys, compared in other ways; and one's own weights.

import { table } from "../figure.js";
import { draw, shades } from "../matrix.js";
import { fromBytes, fromText, Unreadable } from "../own.js";

export { oneHead as defaults } from "../state.js";

export const name = "similarity";
export const title = "Similarity";
export const controls = ["layer", "head", "unit", "similarity"];
export const hasEffect = false;
export const previews = true;

export function click({ store }, event, found) {
  const measure = found(event, "data-similarity");
  const word = found(event, "data-word");
  if (measure) store.change({ similarity: measure.dataset.similarity });
  else if (word) store.change({ target: word.dataset.word });
}

let drawn = null;
export function recolour() { drawn?.recolour(); }

export function show({ extra, say }) {
  if (extra.querySelector(".upload")) return;
  const element = (tag, fields) => Object.assign(document.createElement(tag), fields);
  const form = element("form", { className: "upload" });
  const label = element("label", { textContent: "Your own weights: a row, a T × T matrix, or layers × heads × T × T, as JSON or CSV; or a file, safetensors as well", htmlFor: "own" });
  const text = element("textarea", { id: "own", spellcheck: false, placeholder: '{"words": ["Hello", "world"], "weights": [0.9, 0.1]}' });
  const row = element("div", { className: "row" });
  const file = element("input", { type: "file", accept: ".json,.csv,.txt,.safetensors" });
  file.setAttribute("aria-label", "A file of weights");
  const submit = element("button", { textContent: "Draw" });
  const problem = element("p", { className: "message is-error", hidden: true });
  problem.setAttribute("role", "alert");
  const place = element("div", {});
  row.append(submit, file);
  form.append(label, text, row, problem, place);
  const attempt = (read) => {
    try {
      problem.hidden = true;
      plot(place, read(), say);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      place.replaceChildren();
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); attempt(() => fromText(text.value)); });
  file.addEventListener("change", async () => {
    if (!file.files[0]) return;
    const bytes = await file.files[0].arrayBuffer();
    attempt(() => fromBytes(bytes));
  });
  extra.replaceChildren(form);
}

/** Draws what was given: a choice of layer and head where there are several, the matrix, and its table. */
function plot(place, { shape, numbers, texts }, say) {
  const count = texts.length;
  const [layers, heads] = shape.length === 4 ? shape : [1, 1];
  const rows = shape.length === 1 ? 1 : count;
  const bar = Object.assign(document.createElement("div"), { className: "row" });
  const host = document.createElement("div");
  const twin = document.createElement("details");
  twin.append(Object.assign(document.createElement("summary"), { textContent: "These weights as a table" }));
  const cells = Object.assign(document.createElement("div"), { className: "table", tabIndex: 0 });
  cells.setAttribute("role", "region");
  cells.setAttribute("aria-label", "Your weights");
  twin.append(cells);
  const lists = [["Layer", layers], ["Head", heads]].map(([label, length]) => {
    const list = document.createElement("select");
    for (let index = 0; index < length; index += 1) list.add(new Option(`${label} ${index}`, index));
    list.setAttribute("aria-label", `${label} of your weights`);
    list.addEventListener("change", change);
    if (shape.length === 4) bar.append(list);
    return list;
  });
  function change() {
    const first = (Number(lists[0].value) * heads + Number(lists[1].value)) * rows * count;
    const part = numbers.subarray(first, first + rows * count);
    // A row is drawn as a matrix of which the other rows are empty.
    const square = new Float32Array(count * count);
    square.set(part);
    if (rows > 1) drawn = draw(host, { count, weights: square, texts, say, shade: shades.absolute, choose() {}, label: `Your weights, ${count} × ${count}` });
    else host.replaceChildren();
    twin.hidden = count > 128;
    if (count > 128) return;
    table(cells, {
      title: "Your weights/%, from the rows to the columns", columns: ["from \\ to", ...texts],
      rows: Array.from({ length: rows }, (_, row) => [rows > 1 ? texts[row] : "weight",
        ...Array.from(part.subarray(row * count, (row + 1) * count), (weight) => (100 * weight).toFixed(1))]),
    });
    twin.open = rows === 1;
  }
  place.replaceChildren(bar, host, twin);
  change();
}
