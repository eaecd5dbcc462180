// The kept-token map: cursor, zoom and the link to the document. Runs once per component over `element`;
// listeners sit on the component's root, so they outlive every redraw of what is inside it.
const ask = server || {};
let pressed = null; // position at which a drag began
let busy = false; // one zoom request at a time; the newest waits
let waiting = null;
let wanted = null; // the cell whose details are still to be fetched
let asking = false;
let cursor = { layer: 0, position: 0 };

const figure = () => element.querySelector(".kept");
const grid = () => element.querySelector(".kept-grid");
const plot = () => element.querySelector(".kept-plot");
const view = () => {
  const data = grid().dataset;
  return { start: +data.start, end: +data.end, extent: +data.extent };
};
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function cellAt(event) {
  const box = plot().getBoundingClientRect();
  const { start, end, extent } = view();
  const across = clamp((event.clientX - box.left) / box.width, 0, 0.999999);
  const down = clamp((event.clientY - box.top) / box.height, 0, 0.999999);
  return {
    position: Math.min(end - 1, start + Math.floor(across * extent)),
    layer: Math.floor(down * +figure().dataset.layers),
  };
}

function place(selector, from, to) {
  const node = element.querySelector(selector);
  const { start, end, extent } = view();
  node.hidden = from === null || from < start || from >= end;
  if (node.hidden) return;
  node.style.left = `${(100 * (from - start)) / extent}%`;
  if (to !== undefined) node.style.width = `${(100 * (to - from)) / extent}%`;
}

function mark(position) {
  place(".kept-mark", position === null ? null : position + 0.5);
}

function readout(found) {
  const quote = document.createElement("q");
  const token = document.createElement("mark");
  token.textContent = found.token;
  quote.append(found.before, token, found.after);
  const line = document.createElement("div");
  line.textContent = found.text;
  element.querySelector(".kept-readout").replaceChildren(quote, line);
}

async function details() {
  if (asking || !wanted || !ask.kept_cell) return;
  const asked = { key: figure().dataset.key, ...wanted };
  wanted = null;
  asking = true;
  try {
    const found = await ask.kept_cell(asked);
    if (found && figure()?.dataset.key === asked.key) readout(found);
  } finally {
    asking = false;
    details();
  }
}

function point(cell) {
  cursor = cell;
  mark(cell.position);
  wanted = { layer: cell.layer, position: cell.position };
  details();
}

async function zoom(start, end) {
  if (!ask.kept_panel) return;
  const tokens = +figure().dataset.tokens;
  const length = clamp(Math.round(end - start), Math.min(16, tokens), tokens);
  const first = clamp(Math.round(start), 0, tokens - length);
  waiting = { start: first, end: first + length };
  if (busy) return;
  busy = true;
  try {
    while (waiting) {
      const width = Math.max(64, Math.round(plot().clientWidth * (window.devicePixelRatio || 1)));
      const asked = { key: figure().dataset.key, width, ...waiting };
      waiting = null;
      const html = await ask.kept_panel(asked);
      if (html && figure()?.dataset.key === asked.key) {
        const focused = document.activeElement === plot();
        element.querySelector(".kept-panel").innerHTML = html;
        if (focused) plot().focus({ preventScroll: true });
      }
    }
  } finally {
    busy = false;
  }
}

function step(name) {
  const { start, end } = view();
  const length = end - start;
  const middle = cursor.position >= start && cursor.position < end ? cursor.position : (start + end) / 2;
  if (name === "in") zoom(middle - length / 4, middle + length / 4);
  if (name === "out") zoom(middle - length, middle + length);
  if (name === "left") zoom(start - length / 2, end - length / 2);
  if (name === "right") zoom(start + length / 2, end + length / 2);
  if (name === "all") zoom(0, +figure().dataset.tokens);
}

function find(position) {
  window.dispatchEvent(new CustomEvent("slim-token", { detail: { token: position, from: element } }));
}

element.addEventListener("click", (event) => {
  const name = event.target.closest("[data-zoom]")?.dataset.zoom;
  if (name) step(name);
});
element.addEventListener("dblclick", (event) => {
  if (event.target.closest(".kept-plot")) step("all");
});
element.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".kept-plot") || event.button) return;
  pressed = cellAt(event).position;
  if (event.pointerType === "mouse") plot().setPointerCapture(event.pointerId);
});
element.addEventListener("pointermove", (event) => {
  if (pressed !== null && event.pointerType === "mouse") {
    const { position } = cellAt(event);
    place(".kept-brush", Math.min(pressed, position), Math.max(pressed, position) + 1);
  } else if (event.target.closest(".kept-plot")) {
    point(cellAt(event));
  }
});
element.addEventListener("pointerup", (event) => {
  if (pressed === null) return;
  const from = pressed;
  const to = cellAt(event);
  pressed = null;
  place(".kept-brush", null);
  const moved = (plot().clientWidth * Math.abs(to.position - from)) / view().extent;
  if (moved > 6 && event.pointerType === "mouse") {
    zoom(Math.min(from, to.position), Math.max(from, to.position) + 1);
  } else {
    point(to);
    find(to.position);
  }
});
element.addEventListener("pointercancel", () => {
  pressed = null;
  place(".kept-brush", null);
});
element.addEventListener("keydown", (event) => {
  if (!event.target.closest(".kept-plot")) return;
  const { start, end } = view();
  const column = +grid().dataset.bin;
  const layers = +figure().dataset.layers;
  const moves = {
    ArrowLeft: [0, -column], ArrowRight: [0, column], ArrowUp: [-1, 0], ArrowDown: [1, 0],
    Home: [0, -Infinity], End: [0, Infinity], PageUp: [0, -16 * column], PageDown: [0, 16 * column],
  };
  const zooms = { "+": "in", "=": "in", "-": "out", 0: "all", Escape: "all" };
  if (moves[event.key]) {
    const [down, across] = moves[event.key];
    point({
      layer: clamp(cursor.layer + down, 0, layers - 1),
      position: clamp(cursor.position + across, start, end - 1),
    });
  } else if (zooms[event.key]) {
    step(zooms[event.key]);
  } else if (event.key === "Enter") {
    find(cursor.position);
  } else {
    return;
  }
  event.preventDefault();
});
window.addEventListener("slim-token", (event) => {
  if (event.detail.from === element || !element.isConnected || !plot()) return;
  point({ layer: cursor.layer, position: event.detail.token });
});
