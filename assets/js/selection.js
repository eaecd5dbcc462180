// Remembers the last text selected in a document, since pressing a button elsewhere ends the selection.
document.addEventListener("selectionchange", () => {
  const selection = document.getSelection();
  const inside = selection?.anchorNode?.parentElement?.closest(".doc-text");
  if (inside && String(selection).trim()) window.slimSelection = String(selection);
});
