// Two buttons of every figure: one copies it as a picture, or where the browser allows none as text, and one that stands
// beside its table copies the numbers, as text with tabs, which a spreadsheet takes, and as a table for a document.
const FIGURES = "figure.fig, .fig.cards, .fig:has(> .fig-caption)";
const LEFT_OUT = ".fig-picture, .fig-said, .fig-tools, .fig-more, .kept-readout, .modebar-container";
const MOST_NODES = 2500; // of a figure that becomes a picture; a long document is copied as its table
const MOST_PIXELS = 2 ** 24;
const SAID_MS = 4000;
const NAME = "http://www.w3.org/1999/xhtml";
// What of a computed style makes the look of a figure; all of it would be some hundred properties a node.
const STYLES = `display position top right bottom left float width height min-width min-height max-width box-sizing margin
  padding border border-radius border-collapse background background-color color opacity visibility overflow font
  font-variant-numeric line-height letter-spacing text-align text-decoration text-transform white-space overflow-wrap
  vertical-align flex flex-direction flex-wrap align-items align-content align-self justify-content justify-self gap
  grid-template-columns grid-template-rows grid-column grid-row transform transform-origin z-index box-shadow outline
  filter image-rendering clip-path fill fill-opacity stroke stroke-width stroke-opacity stroke-dasharray text-anchor
  dominant-baseline`.split(/\s+/);

const said = element.querySelector("[role=status]");
const title = (figure) => figure.querySelector("strong")?.textContent ?? figure.ariaLabel ?? "";
const follows = (figure, selector) =>
  [...document.querySelectorAll(selector)].find((each) => figure.compareDocumentPosition(each) & 4);

// The drawing of a chart stands in a component of its own, behind its caption, and its table behind that.
const isChart = (figure) => figure.querySelector(":scope > .fig-caption");
const parts = (figure) => (isChart(figure) ? [figure, follows(figure, ".js-plotly-plot")] : [figure]).filter(Boolean);
const table = (figure) => (isChart(figure) ? follows(parts(figure).at(-1), ".fig-table") : figure)?.querySelector("table");

function furnish() {
  for (const figure of document.querySelectorAll(FIGURES)) {
    if (figure.querySelector(".fig-picture") || figure.parentElement.closest(FIGURES)) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "fig-picture";
    button.textContent = "Copy picture";
    button.setAttribute("aria-label", `Copy picture: ${title(figure)}`);
    const caption = figure.querySelector(":scope > figcaption, :scope > .fig-caption");
    caption ? caption.prepend(button) : figure.append(button);
  }
}

// A copy of `node` that looks the same wherever it is put.
function portrait(node) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data.replace(/[^\t\n\r -\ufffd]/gu, ""));
  if (node.nodeType !== Node.ELEMENT_NODE || node.matches(LEFT_OUT)) return null;
  const style = getComputedStyle(node);
  if (style.display === "none") return null;
  const copy = node.cloneNode(false);
  for (const name of node.getAttributeNames()) if (/^(on|data-|aria-)/.test(name)) copy.removeAttribute(name);
  copy.setAttribute("style", STYLES.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  for (const child of node.childNodes) copy.append(...[portrait(child)].filter(Boolean));
  return copy;
}

async function picture(figure) {
  const shown = parts(figure);
  if (shown.reduce((sum, part) => sum + part.querySelectorAll("*").length, 0) > MOST_NODES) throw new Error("long");
  const boxes = shown.map((part) => part.getBoundingClientRect());
  const margin = 12;
  const width = Math.ceil(Math.max(...boxes.map((box) => box.width))) + 2 * margin;
  const frame = document.createElementNS(NAME, "div");
  frame.append(...shown.map(portrait));
  frame.style.cssText = `padding:${margin}px;box-sizing:border-box;width:${width}px`;
  for (const part of frame.children) part.style.height = "auto";
  const away = document.createElement("div"); // laid out once, to know how high it is without what was left out
  away.style.cssText = "position:absolute;left:-99999px;top:0";
  away.append(frame);
  document.body.append(away);
  const height = Math.ceil(frame.getBoundingClientRect().height);
  away.remove();
  const drawing =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><foreignObject width="100%" ` +
    `height="100%">${new XMLSerializer().serializeToString(frame)}</foreignObject></svg>`;
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}`;
  await image.decode();
  const scale = Math.min(2, Math.sqrt(MOST_PIXELS / (width * height)));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * scale, height * scale].map(Math.floor);
  const pen = canvas.getContext("2d");
  pen.fillStyle = getComputedStyle(figure).getPropertyValue("--fig-surface");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("empty"))), "image/png"));
}

// What a spreadsheet would run as a formula is kept from it by an apostrophe.
function cell(node) {
  const text = node.textContent.replace(/\s+/g, " ").trim();
  return /^[=+\-@]/.test(text) && !/^[+-]?[\d.,]+$/.test(text) ? `'${text}` : text;
}

const rows = (found) => [...found.rows].map((row) => [...row.cells].map(cell).join("\t")).join("\n");
const numbers = (figure) => (table(figure) ? rows(table(figure)) : figure.innerText);

// Without a secure address there is no clipboard to write to, but still the old command.
function copyAsOf(text) {
  const box = document.createElement("textarea");
  box.value = text;
  box.style.cssText = "position:fixed;opacity:0";
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  return done;
}

// What was done, in words: `kinds` are copied, or where the browser does not allow that, `text`.
async function copy(kinds, text, instead, otherwise) {
  try {
    await navigator.clipboard.write([new ClipboardItem(kinds())]);
    return "Copied";
  } catch {
    const written = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    return written || copyAsOf(text) ? instead : `The browser does not let this page copy: ${otherwise}.`;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.(".fig-picture");
  if (!button) return;
  const figure = button.closest(FIGURES);
  const drawn = () => ({ "image/png": picture(figure) });
  const words = await copy(drawn, numbers(figure), "Copied as text", "take Figures and tables, ZIP");
  const line = document.createElement("span");
  line.className = "fig-said";
  line.textContent = said.textContent = words;
  button.parentElement.querySelector(".fig-said")?.remove();
  button.after(line);
  button.focus({ preventScroll: true });
  setTimeout(() => {
    line.remove();
    if (said.textContent === words) said.textContent = "";
  }, SAID_MS);
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.(".fig-copy");
  if (!button) return;
  const found = button.parentElement.querySelector("table");
  const text = rows(found);
  const both = { "text/plain": text, "text/html": found.outerHTML };
  const blobs = Object.entries(both).map(([type, words]) => [type, new Blob([words], { type })]);
  button.textContent = await copy(() => Object.fromEntries(blobs), text, "Copied", "open “As a table”");
  said.textContent = button.textContent;
  setTimeout(() => {
    button.textContent = "Copy numbers";
    said.textContent = "";
  }, SAID_MS);
});
new MutationObserver(furnish).observe(document.body, { subtree: true, childList: true });
furnish();
