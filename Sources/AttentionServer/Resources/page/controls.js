// The choices above the picture. Which of them a view has, the view says.

function field(label, ...controls) {
  const wrapper = document.createElement("div");
  wrapper.className = "field";
  const caption = document.createElement("label");
  caption.textContent = label;
  caption.htmlFor = controls.find((control) => control.id)?.id ?? "";
  wrapper.append(caption, ...controls);
  return wrapper;
}

function select(id, choices, chosen, change) {
  const element = document.createElement("select");
  element.id = id;
  for (const [value, text] of choices) element.add(new Option(text, value, false, value === chosen));
  element.addEventListener("change", () => change(element.value));
  return element;
}

function step(text, label, shortcut, isEnabled, change) {
  const element = document.createElement("button");
  Object.assign(element, { type: "button", textContent: text, disabled: !isEnabled });
  element.setAttribute("aria-label", label);
  element.setAttribute("aria-keyshortcuts", shortcut);
  element.addEventListener("click", change);
  return element;
}

const choices = {
  unit: ["Unit", [["words", "words"], ["tokens", "tokens"]]],
  scale: ["Scale", [["absolute", "0 to 1"], ["row", "row maximum"], ["logarithmic", "logarithmic"]]],
  order: ["Order", [["sentence", "sentence"], ["attention", "attention"], ["contribution", "contribution"],
    ["effect", "effect"]]],
  style: ["Drawn as", [["lines", "lines"], ["stripes", "stripes"]]],
  direction: ["Direction", [["outgoing", "looks at"], ["incoming", "is looked at by"]]],
  similarity: ["Similarity", [["", "the model's"], ["scaled-dot", "scaled dot"], ["dot", "dot"], ["cosine", "cosine"],
    ["euclidean", "Euclidean"], ["gaussian", "Gaussian"], ["laplacian", "Laplacian"], ["additive", "additive"],
    ["general", "general"], ["linear-additive", "linear additive"]]],
};

/** Draws the controls that a view has; the one that had the focus keeps it. */
export function draw(host, store, names, { layers, heads, models, model }) {
  const focused = host.contains(document.activeElement) ? document.activeElement : null;
  const { id, ariaLabel } = focused ?? {};
  const { state } = store;
  const parts = [];
  if (models.length) {
    const known = models.map((name) => [name, name]);
    if (state.model && !models.includes(state.model)) known.unshift([state.model, state.model.split("/").pop()]);
    parts.push(field("Model", select("model", known, state.model ?? model,
      (value) => store.change({ model: value, layer: null, head: null }))));
  }
  for (const name of names) {
    if (name === "layer" || name === "head") {
      const count = name === "layer" ? layers : heads;
      if (!count) continue;
      const chosen = state[name];
      const [shortcutDown, shortcutUp] = name === "layer" ? ["[", "]"] : [",", "."];
      const isOpen = name === "layer" || state.layer !== undefined;
      const group = document.createElement("div");
      group.className = "stepper";
      const options = [["", "mean"], ...Array.from({ length: count }, (_, index) => [`${index}`, `${index}`])];
      const list = select(name, options, chosen ?? "", (value) => store.change({ [name]: value }));
      list.disabled = !isOpen;
      group.append(
        step("−", `Previous ${name}`, shortcutDown, isOpen && chosen !== undefined, () => move(store, name, -1, count)),
        list,
        step("+", `Next ${name}`, shortcutUp, isOpen && Number(chosen ?? -1) < count - 1,
          () => move(store, name, 1, count)));
      const wrapper = field(name === "layer" ? "Layer" : "Head", group);
      wrapper.querySelector("label").htmlFor = name;
      parts.push(wrapper);
    } else if (name === "mass") {
      const range = Object.assign(document.createElement("input"), {
        type: "range", id: "mass", min: "0.5", max: "1", step: "0.05", value: state.mass ?? "1" });
      const text = () => `Top share of attention: ${Math.round(100 * range.value)} %`;
      const wrapper = field(text(), range);
      range.addEventListener("input", () => { wrapper.querySelector("label").textContent = text(); });
      range.addEventListener("change", () => store.change({ mass: Number(range.value) === 1 ? null : range.value }));
      parts.push(wrapper);
    } else if (name === "component") {
      const input = Object.assign(document.createElement("input"), {
        type: "number", id: "component", min: "0", step: "16", value: state.component ?? "0" });
      input.addEventListener("change", () => store.change({ component: Number(input.value) > 0 ? Math.floor(input.value) : null }));
      parts.push(field("Components from", input));
    } else {
      const [label, options] = choices[name];
      parts.push(field(label, select(name, options, state[name] ?? options[0][0],
        (value) => store.change({ [name]: value === options[0][0] ? null : value }))));
    }
  }
  host.replaceChildren(...parts);
  if (focused) {
    const same = id ? host.querySelector(`#${CSS.escape(id)}`)
      : ariaLabel ? host.querySelector(`[aria-label="${CSS.escape(ariaLabel)}"]`) : null;
    (same?.disabled ? same.closest(".field")?.querySelector("select") : same)?.focus();
  }
}

/** Moves the layer or the head by one; before the first is the mean. */
export function move(store, name, by, count) {
  if (!count || (name === "head" && store.state.layer === undefined)) return;
  const current = store.state[name] === undefined ? -1 : Number(store.state[name]);
  const next = Math.min(count - 1, Math.max(-1, current + by));
  store.change({ [name]: next < 0 ? null : next });
}
