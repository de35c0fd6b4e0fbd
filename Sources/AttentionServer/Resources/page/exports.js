// The same as is shown, as a file: what the command writes for the same state, byte for byte. Only PNG is made here.

import { ask } from "./api.js";

const kinds = [
  ["svg", "SVG, for papers", "image/svg+xml"], ["png", "PNG, twice the size", "image/png"],
  ["html", "HTML, one file that needs nothing", "text/html"], ["json", "JSON, all numbers", "application/json"],
  ["csv", "CSV, the table", "text/csv"],
];

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function raster(svg) {
  const size = /width="([0-9.]+)" height="([0-9.]+)"/.exec(svg);
  const image = new Image();
  const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    image.src = address;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"),
      { width: Math.ceil(2 * size[1]), height: Math.ceil(2 * size[2]) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Fills the menu. `question` gives the state as it is shown; `say` tells what happened. */
export function menu(button, list, question, say) {
  const close = (returnsFocus) => {
    if (list.hidden) return false;
    list.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (returnsFocus) button.focus();
    return true;
  };
  for (const [kind, text, type] of kinds) {
    const item = Object.assign(document.createElement("button"), { type: "button", textContent: text, tabIndex: -1 });
    item.setAttribute("role", "menuitem");
    item.dataset.kind = kind;
    item.addEventListener("click", async () => {
      close(true);
      try {
        const { state, name } = question();
        const response = await ask("/api/export", { state, format: kind === "png" ? "svg" : kind }, "export");
        const blob = kind === "png" ? await raster(await response.text())
          : new Blob([await response.arrayBuffer()], { type });
        save(blob, `${name}.${kind}`);
        say(`Saved as ${name}.${kind}.`);
      } catch (error) {
        if (error.name !== "AbortError") say(`Not saved: ${error.message}`);
      }
    });
    list.append(item);
  }
  const items = [...list.children];
  button.addEventListener("click", () => {
    if (close(false)) return;
    list.hidden = false;
    button.setAttribute("aria-expanded", "true");
    items[0].focus();
  });
  list.addEventListener("keydown", (event) => {
    const index = items.indexOf(document.activeElement);
    const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === "Tab") close(false);
    if (next === undefined) return;
    event.preventDefault();
    items[(next + items.length) % items.length].focus();
  });
  addEventListener("pointerdown", (event) => {
    if (!list.contains(event.target) && event.target !== button) close(false);
  });
  return () => close(true);
}
