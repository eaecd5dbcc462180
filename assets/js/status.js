// The status line also answers for the one fault that never reaches Python: a file beyond the upload limit.
const limit = +document.querySelector("#masthead header").dataset.uploadLimit;

function refuse(event, files) {
  const big = [...(files ?? [])].find((file) => file.size > limit);
  if (!big) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  if (event.target.value) event.target.value = "";
  const line = document.createElement("p");
  line.className = "status error";
  line.setAttribute("role", "alert");
  const dot = document.createElement("span");
  dot.className = "dot";
  const mebi = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  line.append(dot, `'${big.name}' is ${mebi(big.size)} and the limit is ${mebi(limit)}: upload the part you need.`);
  props.value = line.outerHTML;
}

document.addEventListener("change", (event) => {
  if (event.target.closest?.("#upload input[type=file]")) refuse(event, event.target.files);
}, true);
document.addEventListener("drop", (event) => {
  if (event.target.closest?.("#upload")) refuse(event, event.dataTransfer?.files);
}, true);

// A button that is disabled loses the focus: it goes to the other one, so that the keyboard stays where it was.
const pair = () => ["run", "stop"].map((id) => document.getElementById(id));
let held = null; // the one of the two that was pressed or tabbed to last
document.addEventListener("focusin", (event) => { held = pair().includes(event.target) ? event.target : null; });
new MutationObserver(() => {
  if (!held?.disabled || ![document.body, held].includes(document.activeElement)) return;
  const other = pair().find((each) => each !== held);
  if (other && !other.disabled) other.focus({ preventScroll: true });
}).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["disabled"] });
