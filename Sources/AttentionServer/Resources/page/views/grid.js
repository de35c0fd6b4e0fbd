// All heads of all layers, small: pixels on canvas, a button for each head.

export const name = "grid";
export const title = "All heads";
export const controls = ["unit", "scale"];
export const hasEffect = false;
export const previews = false;
/** The server's picture is for files; here the heads are drawn from bytes. */
export const drawsItself = true;

let drawn = null;

export async function show(context) {
  const { store, extra, ask } = context;
  const { text, model, unit, scale } = store.state;
  const state = Object.fromEntries(Object.entries({ text, model, unit, scale }).filter(([, value]) => value !== undefined));
  const grid = await (await ask("/api/grid", { state }, "grid")).json();
  const shades = Uint8Array.from(atob(grid.shades), (character) => character.charCodeAt(0));
  drawn = { grid, shades, canvases: [] };
  const table = document.createElement("div");
  table.className = "heads";
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "All heads: layers downwards, heads to the right");
  table.style.setProperty("--heads", grid.heads);
  const corner = label("layer \\ head", "columnheader");
  const top = line(corner, ...Array.from({ length: grid.heads }, (_, head) => label(`${head}`, "columnheader")));
  table.append(top);
  for (let layer = 0; layer < grid.layers; layer += 1) {
    const row = line(label(`${layer}`, "rowheader"));
    for (let head = 0; head < grid.heads; head += 1) row.append(cell(context, layer, head));
    table.append(row);
  }
  table.addEventListener("keydown", move);
  extra.replaceChildren(table);
  recolour(context);
  table.querySelector("button").tabIndex = 0;
}

function line(...cells) {
  const element = document.createElement("div");
  element.className = "heads-row";
  element.setAttribute("role", "row");
  element.append(...cells);
  return element;
}

function label(text, role) {
  const element = document.createElement("span");
  element.textContent = text;
  element.className = "heads-label";
  element.setAttribute("role", role);
  return element;
}

function cell({ store, say }, layer, head) {
  const { grid, canvases } = drawn;
  const badge = grid.badges[layer * grid.heads + head];
  const does = badge.role
    ? `${badge.role} ${(100 * badge.score).toFixed(1)} % (${badge.metric}; the threshold is ${100 * badge.threshold} %)`
    : "no role reaches its threshold";
  const wrapper = document.createElement("span");
  wrapper.setAttribute("role", "gridcell");
  const button = Object.assign(document.createElement("button"), { type: "button", className: "head", tabIndex: -1 });
  Object.assign(button.dataset, { layer, head });
  button.setAttribute("aria-label", `Layer ${layer}, head ${head}: ${does}`);
  const canvas = Object.assign(document.createElement("canvas"), { width: grid.size, height: grid.size });
  canvas.setAttribute("aria-hidden", "true");
  canvases.push(canvas);
  const text = document.createElement("span");
  text.className = "badge";
  text.textContent = badge.role ?? "·";
  button.append(canvas, text);
  const tell = () => say(button.getAttribute("aria-label"));
  button.addEventListener("pointerenter", tell);
  button.addEventListener("focus", tell);
  button.addEventListener("click", () => store.change({ view: "head", layer, head }));
  wrapper.append(button);
  return wrapper;
}

/** Draws all thumbnails in the colours of the theme: ground where nothing is, ink of attention where all is. */
export function recolour({ extra }) {
  if (!drawn || !extra.querySelector(".heads")) return;
  const style = getComputedStyle(extra);
  const [ground, ink] = ["--panel", "--accent"].map((name) => rgb(style.getPropertyValue(name)));
  const table = Array.from({ length: 256 }, (_, shade) =>
    ground.map((from, index) => Math.round(from + (ink[index] - from) * (shade / 255) ** 0.8)));
  const { size } = drawn.grid;
  for (const [index, canvas] of drawn.canvases.entries()) {
    const image = new ImageData(size, size);
    const first = index * size * size;
    for (let pixel = 0; pixel < size * size; pixel += 1) {
      const [red, green, blue] = table[drawn.shades[first + pixel]];
      image.data.set([red, green, blue, 255], 4 * pixel);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}

export function rgb(text) {
  const number = parseInt(text.trim().slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

function move(event) {
  const from = event.target.closest(".head");
  const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!from || !by) return;
  event.preventDefault();
  event.stopPropagation();
  const [layer, head] = [Number(from.dataset.layer) + by[0], Number(from.dataset.head) + by[1]];
  const to = event.currentTarget.querySelector(`[data-layer="${layer}"][data-head="${head}"]`);
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}
