// Tells the marked document which of its tokens were settled by hand.
const tell = () => {
  const told = element.querySelector("[data-hands]")?.dataset.hands;
  const detail = told ? JSON.parse(told) : { keep: [], drop: [] };
  window.slimHands = detail;
  window.dispatchEvent(new CustomEvent("slim-hands", { detail }));
};
watch(["value"], () => requestAnimationFrame(tell));
tell();
