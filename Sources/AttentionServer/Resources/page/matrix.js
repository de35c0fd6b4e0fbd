// A large matrix on canvas: only the tiles that are in sight are drawn, whatever the zoom.

import { rgb } from "./views/grid.js";

const tile = 256;

/**
 * @param {HTMLElement} host where it is drawn
 * @param {{count: number, weights: Float32Array, texts: string[], say: (text: string) => void, shade: (weight: number, largest: number) => number, choose: (index: number) => void}} matrix
 */
export function draw(host, { count, weights, texts, say, shade, choose, label }) {
  const view = Object.assign(document.createElement("div"), { className: "matrix", tabIndex: 0 });
  view.setAttribute("role", "img");
  view.setAttribute("aria-label", label);
  const ground = document.createElement("div");
  ground.className = "matrix-ground";
  const canvas = document.createElement("canvas");
  view.append(ground, canvas);
  const bar = Object.assign(document.createElement("div"), { className: "row" });
  let zoom = Math.max(1, Math.floor(Math.min(640, host.clientWidth - 2) / count));
  const button = (text, name, change) => {
    const element = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    element.setAttribute("aria-label", name);
    element.addEventListener("click", () => zoomTo(change(zoom)));
    return element;
  };
  bar.append(button("−", "Zoom out", (old) => old / 2), button("+", "Zoom in", (old) => old * 2));
  host.replaceChildren(bar, view);

  const largest = new Float32Array(count);
  for (let row = 0; row < count; row += 1) {
    for (let column = 0; column < count; column += 1) {
      largest[row] = Math.max(largest[row], weights[row * count + column]);
    }
  }
  let tiles = new Map();
  let table = [];

  function colours() {
    const style = getComputedStyle(host);
    const [from, to] = ["--panel", "--accent"].map((name) => rgb(style.getPropertyValue(name)));
    table = Array.from({ length: 256 }, (_, index) => from.map((value, part) => Math.round(value + (to[part] - value) * index / 255)));
    tiles = new Map();
  }

  /** One tile: a pixel per weight, made once. */
  function pixels(row, column) {
    const key = row * 4096 + column;
    if (tiles.has(key)) return tiles.get(key);
    const [height, width] = [Math.min(tile, count - row * tile), Math.min(tile, count - column * tile)];
    const image = new ImageData(width, height);
    for (let y = 0; y < height; y += 1) {
      const line = row * tile + y;
      for (let x = 0; x < width; x += 1) {
        const value = shade(weights[line * count + column * tile + x], largest[line]);
        const [red, green, blue] = table[Math.round(255 * value)];
        const place = 4 * (y * width + x);
        image.data[place] = red; image.data[place + 1] = green; image.data[place + 2] = blue; image.data[place + 3] = 255;
      }
    }
    const made = Object.assign(document.createElement("canvas"), { width, height });
    made.getContext("2d").putImageData(image, 0, 0);
    if (tiles.size > 96) tiles.delete(tiles.keys().next().value);
    tiles.set(key, made);
    return made;
  }

  let isWaiting = false;
  function paint() {
    isWaiting = false;
    const [width, height] = [Math.min(view.clientWidth, count * zoom), Math.min(view.clientHeight, count * zoom)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const [left, top] = [view.scrollLeft, view.scrollTop];
    const step = tile * zoom;
    for (let row = Math.floor(top / step); row * step < top + height && row * tile < count; row += 1) {
      for (let column = Math.floor(left / step); column * step < left + width && column * tile < count; column += 1) {
        const made = pixels(row, column);
        context.drawImage(made, column * step - left, row * step - top, made.width * zoom, made.height * zoom);
      }
    }
  }
  function later() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(paint);
  }
  function zoomTo(next) {
    const old = zoom;
    zoom = Math.min(32, Math.max(1, Math.round(next)));
    const [x, y] = [view.scrollLeft + view.clientWidth / 2, view.scrollTop + view.clientHeight / 2];
    size();
    view.scrollTo(x * zoom / old - view.clientWidth / 2, y * zoom / old - view.clientHeight / 2);
    later();
  }
  function size() {
    ground.style.width = ground.style.height = `${count * zoom}px`;
    view.dataset.zoom = zoom;
  }
  function place(event) {
    const box = view.getBoundingClientRect();
    const at = (client, start, scroll) => Math.floor((client - start + scroll) / zoom);
    const row = at(event.clientY, box.top + view.clientTop, view.scrollTop);
    const column = at(event.clientX, box.left + view.clientLeft, view.scrollLeft);
    return row >= 0 && column >= 0 && row < count && column < count ? { row, column } : null;
  }
  view.addEventListener("scroll", later);
  view.addEventListener("pointermove", (event) => {
    const found = place(event);
    if (found) {
      say(`${found.row} ${texts[found.row].trim()} looks at ${found.column} ${texts[found.column].trim()}: `
        + `${(100 * weights[found.row * count + found.column]).toFixed(1)} %`);
    }
  });
  view.addEventListener("click", (event) => { const found = place(event); if (found) choose(found.row); });
  view.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "-") zoomTo(event.key === "+" ? zoom * 2 : zoom / 2);
  });
  size();
  colours();
  new ResizeObserver(later).observe(view);
  later();
  return { recolour() { colours(); later(); } };
}

/** How a weight is shaded, from 0 to 1, on the scales that the server has. */
export const shades = {
  absolute: (weight) => Math.min(1, Math.max(0, weight)),
  row: (weight, largest) => (largest > 0 ? Math.min(1, Math.max(0, weight / largest)) : 0),
  logarithmic: (weight) => (weight > 0.001 ? Math.min(1, 1 + Math.log(weight) / Math.log(1000)) : 0),
};
