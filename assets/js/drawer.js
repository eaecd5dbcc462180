// Opens and closes the settings where they do not fit beside the results.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const open = document.getElementById("workbench").classList.toggle("drawer-open");
  button.setAttribute("aria-expanded", String(open));
  button.textContent = open ? "Close settings" : "Settings";
});
