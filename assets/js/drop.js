// A result file that is dropped anywhere but on the document's own place goes the way of "Open a result".
const result = (event) => {
  if (event.target.closest?.("#upload")) return null;
  return [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file");
};
document.addEventListener("dragover", (event) => result(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!result(event)) return;
  event.preventDefault();
  const input = document.querySelector("#open-result input[type=file], input[type=file]#open-result");
  const beside = document.querySelector("#open-result")?.parentElement?.querySelector("input[type=file]");
  const taker = input ?? beside;
  if (!taker) return;
  taker.files = event.dataTransfer.files;
  taker.dispatchEvent(new Event("change", { bubbles: true }));
});
