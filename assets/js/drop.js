// A saved result that is dropped anywhere on the page is opened, except where a drop means something else.
const hint = element.querySelector(".hint");
const said = hint.innerHTML;
const ours = (event) => event.dataTransfer?.types.includes("Files") && !event.target.closest?.("#upload");
const lit = (on) => document.body.classList.toggle("dropping", on);

document.addEventListener("dragover", (event) => {
  if (!ours(event)) return lit(false);
  event.preventDefault();
  lit(true);
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) lit(false);
});
document.addEventListener("drop", (event) => {
  lit(false);
  if (!ours(event)) return;
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  const known = file?.name.toLowerCase().endsWith(".json");
  hint.innerHTML = said;
  if (!known) {
    hint.textContent = "Only a result saved as JSON opens by dropping it here: drop a document on its upload field.";
    return;
  }
  const input = document.querySelector("#share input[type=file]");
  const one = new DataTransfer();
  one.items.add(file);
  input.files = one.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
