// The marked document: a click tells which token was hit, a selection which tokens were picked, and a token told
// from elsewhere is scrolled to.
let cached = null; // the token table of the text now shown, decoded once

function table() {
  const data = element.querySelector(".doc-text")?.dataset;
  if (!data?.table) return null; // no document, or one before any run
  if (cached?.source !== data.table) {
    const bytes = Uint8Array.from(atob(data.table), (letter) => letter.charCodeAt(0));
    const numbers = new Uint32Array(bytes.buffer);
    const count = +data.count;
    cached = { source: data.table, tokens: numbers.subarray(0, count), starts: numbers.subarray(count) };
  }
  return cached;
}

// Index of the last entry that is at most `value`; -1 if there is none.
function search(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function rangeOf(index) {
  const { tokens, starts } = table();
  const spans = [...element.querySelectorAll(".doc-text span")];
  const firsts = spans.map((span) => +span.dataset.token);
  const at = search(firsts, tokens[index]);
  if (at < 0) return null;
  // A run that was cut at a line end has several spans with the same first token: walk to the right one.
  let first = at;
  while (first > 0 && firsts[first - 1] === firsts[at]) first -= 1;
  let offset = starts[index] - starts[Math.max(0, search(tokens, firsts[at]))];
  let span = spans[first];
  while (offset >= span.textContent.length && first < at) {
    offset -= span.textContent.length;
    first += 1;
    span = spans[first];
  }
  const node = span.firstChild;
  if (!node) return null;
  const next = index + 1 < starts.length ? starts[index + 1] - starts[index] : node.length;
  const range = document.createRange();
  range.setStart(node, Math.min(node.length, offset));
  range.setEnd(node, Math.min(node.length, offset + next));
  return range;
}

function show(token, scroll) {
  const known = table();
  if (!known || !known.tokens.length) return;
  const range = rangeOf(Math.max(0, search(known.tokens, token)));
  if (!range) return;
  if (window.CSS?.highlights) CSS.highlights.set("slim-token", new Highlight(range));
  if (!scroll) return;
  const pane = element.querySelector(".doc-text");
  // Off-screen text is laid out only when it is near: bring its chunk in first, then measure.
  range.startContainer.parentElement.closest(".doc-chunk").scrollIntoView({ block: "nearest" });
  const box = range.getBoundingClientRect();
  const frame = pane.getBoundingClientRect();
  pane.scrollTop += box.top - frame.top - pane.clientHeight / 2;
}

// The caret lies between two characters, on the side nearer to the pointer: was the one before it hit?
function covers(node, offset, event) {
  if (offset < 0) return false;
  const range = document.createRange();
  range.setStart(node, offset);
  range.setEnd(node, offset + 1);
  return [...range.getClientRects()].some(
    (box) => event.clientX >= box.left && event.clientX < box.right && event.clientY >= box.top && event.clientY < box.bottom,
  );
}

function tokenAt(event) {
  const spot = document.caretPositionFromPoint
    ? document.caretPositionFromPoint(event.clientX, event.clientY)
    : document.caretRangeFromPoint(event.clientX, event.clientY);
  const node = spot?.offsetNode ?? spot?.startContainer;
  const span = node?.parentElement?.closest(".doc-text span");
  const known = table();
  if (!span || !known) return null;
  const start = startOf(span);
  const caret = spot.offset ?? spot.startOffset;
  const index = search(known.starts, start + (covers(node, caret - 1, event) ? caret - 1 : caret));
  return index < 0 ? null : known.tokens[index];
}

// UTF-16 offset in the document of a span's first character.
function startOf(span) {
  const known = table();
  let start = known.starts[Math.max(0, search(known.tokens, +span.dataset.token))];
  for (let before = previous(span); before?.dataset.token === span.dataset.token; before = previous(before)) {
    start += before.textContent.length;
  }
  return start;
}

// Half-open token range of the text that is selected in the document; null where none is.
function selected() {
  const selection = window.getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  const span = range.startContainer.parentElement?.closest(".doc-text span");
  if (!span || !element.contains(span)) return null;
  const known = table();
  const start = startOf(span) + range.startOffset;
  const last = search(known.starts, start + range.toString().length - 1);
  return { start: known.tokens[Math.max(0, search(known.starts, start))], end: known.tokens[Math.max(0, last)] + 1 };
}

function previous(span) {
  return span.previousElementSibling ?? span.parentElement.previousElementSibling?.lastElementChild ?? null;
}

element.addEventListener("click", (event) => {
  if (!event.target.closest(".doc-text") || String(window.getSelection())) return;
  const token = tokenAt(event);
  if (token === null) return;
  show(token, false);
  trigger("hit", { token });
  window.dispatchEvent(new CustomEvent("slim-token", { detail: { token, from: element } }));
});
element.addEventListener("pointerup", (event) => {
  const range = event.target.closest(".doc-text") && selected();
  if (range) trigger("pick", range);
});
window.addEventListener("slim-token", (event) => {
  if (event.detail.from === element || !element.isConnected) return;
  show(event.detail.token, true);
});

// What was settled by hand is marked in the text, which comes anew after every run.
function paint() {
  const known = table();
  if (!known || !window.CSS?.highlights) return;
  for (const kind of ["keep", "drop"]) {
    const ranges = (window.slimHands?.[kind] ?? []).flatMap(([start, end]) => {
      const first = rangeOf(Math.max(0, search(known.tokens, start)));
      const last = rangeOf(Math.max(0, search(known.tokens, end - 1)));
      if (!first || !last) return [];
      first.setEnd(last.endContainer, last.endOffset);
      return [first];
    });
    CSS.highlights.set(`slim-${kind}`, new Highlight(...ranges));
  }
}
window.addEventListener("slim-hands", paint);
watch?.(["value"], () => requestAnimationFrame(paint));
