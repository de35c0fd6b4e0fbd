// Puts a picture that the server drew on the page.
//
// It has a style sheet of its own, so it stands in a shadow tree, where no other rule reaches it. The sheet is adopted:
// the page's policy lets no style element in.

/** The picture's element; `theme` is light, dark or undefined. */
export function mount(host, svg, theme) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const sheets = [page];
  // Taken out before parsing: even a document that is never shown is under the policy.
  const bare = svg.replace(/<style>([^<]*)<\/style>/g, (_, rules) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(rules);
    sheets.push(sheet);
    return "";
  });
  const parsed = new DOMParser().parseFromString(bare, "image/svg+xml").documentElement;
  for (const script of parsed.querySelectorAll("script, foreignObject")) script.remove();
  const element = document.importNode(parsed, true);
  root.adoptedStyleSheets = sheets;
  root.replaceChildren(element);
  setTheme(host, theme);
  return element;
}

export function setTheme(host, theme) {
  const element = host.shadowRoot?.querySelector("svg");
  element?.classList.toggle("light", theme === "light");
  element?.classList.toggle("dark", theme === "dark");
}

const page = new CSSStyleSheet();
page.replaceSync(`
  svg { display: block; max-width: 100%; height: auto; }
  [data-word], [data-head], [data-from], [data-similarity] { cursor: pointer; }
  svg.has-lit [data-word]:not(.lit) { opacity: 0.45; }
  @media (prefers-reduced-motion: no-preference) { [data-word] { transition: opacity 0.1s; } }
`);

/** Marks everything that belongs to one word; null marks nothing. */
export function light(host, word) {
  const svg = host.shadowRoot?.querySelector("svg");
  if (!svg) return;
  const lit = word === null ? [] : [...svg.querySelectorAll(`[data-word="${Number(word)}"]`)];
  for (const element of svg.querySelectorAll(".lit")) element.classList.remove("lit");
  for (const element of lit) element.classList.add("lit");
  svg.classList.toggle("has-lit", lit.length > 0);
}

/** The nearest element around an event's target that has an attribute, within the picture. */
export function found(event, attribute) {
  for (const element of event.composedPath()) {
    if (element instanceof Element && element.hasAttribute(attribute)) return element;
    if (element instanceof ShadowRoot) return null;
  }
  return null;
}

/** Puts a table on the page: the numbers as they are printed. */
export function table(host, { title, columns, rows }) {
  const element = document.createElement("table");
  element.createCaption().textContent = title;
  const head = element.createTHead().insertRow();
  for (const column of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column;
    head.append(cell);
  }
  const body = element.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((text, index) => {
      const cell = document.createElement(index === 0 ? "th" : "td");
      if (index === 0) cell.scope = "row";
      cell.dir = "auto";
      cell.textContent = text;
      line.append(cell);
    });
  }
  host.replaceChildren(element);
}
