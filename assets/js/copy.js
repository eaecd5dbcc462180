// Copies a figure's numbers: as text with tabs, which a spreadsheet takes, and as a table, which a document takes.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.(".fig-copy");
  if (!button) return;
  const table = button.parentElement.querySelector("table");
  const cells = (row) => [...row.cells].map((cell) => cell.textContent.replace(/\s+/g, " ").trim()).join("\t");
  const kinds = {
    "text/plain": [...table.rows].map(cells).join("\n"),
    "text/html": table.outerHTML,
  };
  const blobs = Object.entries(kinds).map(([type, text]) => [type, new Blob([text], { type })]);
  let said = "Copied";
  try {
    await navigator.clipboard.write([new ClipboardItem(Object.fromEntries(blobs))]);
  } catch {
    said = "The browser forbids it: open “As a table”";
  }
  button.textContent = said;
  setTimeout(() => (button.textContent = "Copy numbers"), 2500);
});
