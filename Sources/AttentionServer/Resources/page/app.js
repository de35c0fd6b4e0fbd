// The page: one state, one view at a time, one renderer, which is the server's.

import { ask, Failure, forget, Gone, models as listModels, untilBack } from "./api.js";
import * as controls from "./controls.js";
import * as exports from "./exports.js";
import * as figure from "./figure.js";
import { listen } from "./keyboard.js";
import { Store } from "./state.js";
import * as grid from "./views/grid.js";
import * as head from "./views/head.js";
import * as similarity from "./views/similarity.js";
import * as steps from "./views/steps.js";
import * as word from "./views/word.js";

const views = [word, grid, head, steps, similarity];
const at = (id) => document.getElementById(id);
const [stage, picture, extra, message, strip] = ["stage", "picture", "extra", "message", "strip"].map(at);
const store = new Store();
const answers = new Map();

let models = [];
/** What is on the screen, and what it is once nothing is previewed. */
let shown = null;
let previewed = null;
let round = 0;

const page = {
  views,
  get layers() { return shown?.model.layers ?? 0; },
  get heads() { return shown?.model.heads ?? 0; },
  moveTarget(by) {
    if (!shown) return;
    const next = Math.min(shown.words.length - 1, Math.max(0, shown.target + by));
    store.change({ target: next });
    queueMicrotask(() => strip.children[next]?.scrollIntoView({ block: "nearest", inline: "nearest" }));
  },
  unpin() {
    endPreview();
    store.change({ target: null });
  },
  go(view) {
    store.change({ view: view.name === "word" ? null : view.name, ...view.enter?.(store.state) });
  },
  closeMenu: () => false,
  showHelp() { at("help").showModal(); },
};

/** What a view is given: the answer, where to draw, and what its gestures may do. */
const context = {
  store, picture, extra, ask,
  say(text) { at("readout").textContent = text; },
  light(index) {
    figure.light(picture, index);
    for (const [position, button] of [...strip.children].entries()) button.classList.toggle("lit", position === index);
    for (const row of at("table").querySelectorAll("tbody tr")) {
      row.classList.toggle("lit", index !== null && row.firstChild.textContent === `${index}`);
    }
  },
  get width() { return width(); },
  get theme() { return theme(); },
};

const current = () => views.find((view) => view.name === store.view) ?? word;
const width = () => Math.min(1040, Math.max(320, stage.firstElementChild.clientWidth));
const theme = () => (["light", "dark"].includes(store.state.theme) ? store.state.theme : undefined);

/** The state as it is shown: a picture is as wide as its place. */
function question(changes = {}) {
  const state = { ...store.state, width: `${width()}`, ...changes };
  if (state.width === "720") delete state.width;
  return state;
}

// MARK: - Looking

async function look() {
  const mine = (round += 1);
  endPreview();
  const view = current();
  for (const link of at("views").children) {
    if (link.dataset.view === view.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (document.activeElement !== at("sentence") || !at("sentence").value) at("sentence").value = store.state.text ?? "";
  document.documentElement.dataset.theme = theme() ?? "";
  document.title = store.state.text ? `${store.state.text.slice(0, 60)} · attend` : "attend";
  at("stage-title").textContent = view.title;
  if (!store.state.text?.trim()) {
    forget("view");
    showEmpty(store.state.text !== undefined);
    return;
  }
  const missing = view.defaults?.(store.state);
  if (missing) {
    store.change(missing, { replace: true });
    return;
  }
  stage.setAttribute("aria-busy", "true");
  // Words of a sentence that takes a moment: say so, but not for a blink.
  const slow = setTimeout(() => { if (mine === round && !shown) showMessage("The model is reading the sentence …"); }, 250);
  try {
    const wanted = question();
    // What takes longest comes after what is there at once.
    const comesLater = view.hasEffect && wanted.effect !== "never";
    const first = await answer(comesLater ? { ...wanted, effect: "never" } : wanted, "view");
    if (mine !== round) return;
    clearTimeout(slow);
    show(first);
    await view.show?.(context, first);
    if (comesLater) {
      const whole = await answer(wanted, "view");
      if (mine === round) show(whole);
    }
    if (mine === round) at("live").textContent = shown.caption;
  } catch (error) {
    if (mine === round && error.name !== "AbortError") fail(error);
  } finally {
    clearTimeout(slow);
    if (mine === round) stage.setAttribute("aria-busy", "false");
  }
}

/** Asks for a view, or takes what was answered before. */
async function answer(state, kind) {
  const { theme: _, ...asked } = state;
  const key = JSON.stringify(asked);
  const known = answers.get(key);
  if (known) return known;
  const result = await (await ask("/api/view", { state: asked }, kind)).json();
  answers.set(key, result);
  if (answers.size > 60) answers.delete(answers.keys().next().value);
  return result;
}

function show(result, { isPreview = false } = {}) {
  if (!isPreview) shown = result;
  // A target that is named by its text has a position from now on.
  if (!isPreview && store.state.target !== undefined && !/^[0-9]+$/.test(store.state.target)) {
    store.change({ target: result.target }, { replace: true });
  }
  message.hidden = true;
  picture.classList.remove("is-empty");
  at("twin").hidden = false;
  picture.hidden = Boolean(current().drawsItself);
  figure.mount(picture, result.svg, theme());
  figure.table(at("table"), result.table);
  if (!isPreview && extra.dataset.view !== current().name) {
    extra.dataset.view = current().name;
    extra.replaceChildren();
  }
  context.say("");
  if (!isPreview) {
    drawStrip(result);
    controls.draw(at("controls"), store, current().controls,
      { layers: result.model.layers, heads: result.model.heads, models, model: models[0] });
    at("model-line").textContent = modelLine(result.model);
    for (const button of [at("copy"), at("export-button")]) button.disabled = false;
    at("caption").textContent = current().drawsItself ? result.caption : "";
    at("notes").replaceChildren(...(current().drawsItself ? result.notes : []).map((note) =>
      Object.assign(document.createElement("li"), { textContent: note })));
  } else {
    markStrip(result.target, true);
  }
}

store.subscribe(() => queueMicrotask(() => current().recolour?.(context)));

const modelLine = ({ name, layers, heads }) =>
  layers ? `${name}: ${layers} layers, ${heads} heads each.` : `${name}: a model without heads.`;

// MARK: - The strip of words

function drawStrip({ words, target }) {
  const texts = [...strip.children].map((button) => button.dataset.text);
  if (texts.length !== words.length || words.some((text, index) => text !== texts[index])) {
    strip.replaceChildren(...words.map((text, index) => {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.dataset.text = text;
      button.textContent = text.replace(/^ /, "").replaceAll("\n", "⏎") || "␣";
      button.setAttribute("role", "radio");
      button.title = `${index}`;
      button.addEventListener("click", () => store.change({ target: index }));
      button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") preview(index); });
      button.addEventListener("pointerleave", endPreview);
      return button;
    }));
  }
  markStrip(target, false);
}

function markStrip(target, isPreview) {
  for (const [index, button] of [...strip.children].entries()) {
    button.classList.toggle("previewed", isPreview && index === target);
    if (isPreview) continue;
    button.setAttribute("aria-checked", `${index === target}`);
    button.tabIndex = index === target ? 0 : -1;
    if (index === target && strip.contains(document.activeElement)) button.focus();
  }
}

let timer;
function preview(index) {
  clearTimeout(timer);
  if (!shown || index === shown.target || !current().previews) return;
  timer = setTimeout(async () => {
    try {
      const mine = round;
      const result = await answer(question({ target: `${index}`, effect: "never" }), "preview");
      if (mine !== round || !strip.children[index]?.matches(":hover")) return;
      previewed = index;
      show(result, { isPreview: true });
    } catch { /* A preview that cannot be had is none. */ }
  }, 120);
}

function endPreview() {
  clearTimeout(timer);
  forget("preview");
  if (previewed === null) return;
  previewed = null;
  markStrip(shown.target, true);
  for (const button of strip.children) button.classList.remove("previewed");
  figure.mount(picture, shown.svg, theme());
  figure.table(at("table"), shown.table);
}

// MARK: - Empty, and wrong

const examples = ["The FBI is chasing a criminal on the run", "The animal didn't cross the street because it was too tired",
  "When Mary and John went to the store, John gave a drink to"];

function blank() {
  shown = null;
  picture.classList.add("is-empty");
  at("twin").hidden = true;
  extra.replaceChildren();
  at("notes").replaceChildren();
  at("caption").textContent = "";
  context.say("");
  strip.replaceChildren();
  for (const button of [at("copy"), at("export-button")]) button.disabled = true;
}

function showMessage(...parts) {
  message.className = "message";
  message.replaceChildren(...parts.map((part) => (typeof part === "string" ? paragraph(part) : part)));
  message.hidden = false;
}

const paragraph = (text) => Object.assign(document.createElement("p"), { textContent: text });

function showEmpty(wasAsked) {
  blank();
  stage.setAttribute("aria-busy", "false");
  controls.draw(at("controls"), store, [], { layers: 0, heads: 0, models, model: models[0] });
  const buttons = examples.map((text) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => store.change({ text, target: null }));
    return button;
  });
  const row = Object.assign(document.createElement("div"), { className: "strip" });
  row.append(...buttons);
  showMessage(wasAsked ? "The sentence is empty. Write one above, or take one of these:"
    : "Write a sentence above, or take one of these. Then choose a word, and see what it attends to.", row);
}

function fail(error) {
  if (error instanceof Gone) {
    lost();
    return;
  }
  blank();
  controls.draw(at("controls"), store, [], { layers: 0, heads: 0, models, model: models[0] });
  const advice = error instanceof Failure ? error.advice : "Reload the page.";
  const again = Object.assign(document.createElement("button"), { type: "button", textContent: "Try again" });
  again.addEventListener("click", look);
  showMessage(error.message, advice, again);
  message.classList.add("is-error");
  at("live").textContent = error.message;
}

let isLost = false;
async function lost() {
  if (isLost) return;
  isLost = true;
  const banner = at("connection");
  banner.textContent = "The server does not answer: it was ended. Start it again with attend view, on the same port; "
    + "this page goes on by itself.";
  banner.hidden = false;
  await untilBack();
  banner.hidden = true;
  isLost = false;
  at("live").textContent = "The server answers again.";
  models = await listModels().catch(() => models);
  look();
}

setInterval(async () => {
  if (isLost || document.hidden) return;
  try { await fetch("/icon.svg", { method: "HEAD" }); } catch { lost(); }
}, 2000);

// MARK: - What does not change

for (const [index, view] of views.entries()) {
  const link = Object.assign(document.createElement("a"), { textContent: view.title, href: "#" });
  link.dataset.view = view.name;
  link.setAttribute("aria-keyshortcuts", `${index + 1}`);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    page.go(view);
  });
  at("views").append(link);
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("sentence").value;
  if (text === store.state.text || (!text && store.state.text === undefined)) look();
  else if (text) store.change({ text, target: null });
  else {
    store.change({ text: null, target: null });
    showEmpty(true);
  }
});
at("sentence").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("ask").requestSubmit();
});
document.querySelector("[data-skip]").addEventListener("click", (event) => {
  event.preventDefault();
  picture.focus();
});

at("copy").addEventListener("click", async () => {
  const command = shown?.command ?? "";
  try {
    await navigator.clipboard.writeText(command);
    context.say(`Copied: ${command}`);
  } catch {
    context.say(command);
  }
});
page.closeMenu = exports.menu(at("export-button"), at("export-menu"), () => ({
  state: question(),
  name: `attention-${current().name}-${(shown.words[shown.target] ?? "").trim().replace(/[^\p{L}\p{N}]+/gu, "-") || "word"}`,
}), (text) => { context.say(text); at("live").textContent = text; });

at("theme").addEventListener("click", () => {
  const next = { undefined: "light", light: "dark", dark: null }[theme()];
  store.change({ theme: next }, { replace: true });
});
function nameTheme() {
  at("theme").setAttribute("aria-label", `Appearance: ${theme() ?? "as the system has it"}`);
  at("theme").textContent = { undefined: "◐", light: "☀", dark: "☾" }[theme()];
}
at("help-button").addEventListener("click", () => page.showHelp());

// Gestures on the picture. It is in a shadow tree: events tell their path.
picture.addEventListener("pointerover", (event) => {
  const mark = figure.found(event, "data-value");
  const owner = figure.found(event, "data-word");
  context.light(owner ? Number(owner.dataset.word) : null);
  context.say(mark?.querySelector("title")?.textContent ?? "");
});
picture.addEventListener("pointerleave", () => { context.light(null); context.say(""); });
picture.addEventListener("click", (event) => current().click?.(context, event, figure.found));
picture.addEventListener("dblclick", (event) => current().doubleClick?.(context, event, figure.found));

let lastWidth = 0;
new ResizeObserver(() => {
  if (!shown || Math.abs(width() - lastWidth) < 24) return;
  lastWidth = width();
  look();
}).observe(stage);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => current().recolour?.(context));

store.subscribe(() => { nameTheme(); look(); });
listen(store, page);
nameTheme();
lastWidth = width();
models = await listModels().catch(() => []);
look();
