// Replays both answers on one clock. Runs once per component; all state hangs on the time shown by the slider.
let frame = 0;
let last = 0;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const part = (selector) => element.querySelector(selector);

function clock(value) {
  return value >= 1 ? `${value.toFixed(2)} s` : `${Math.round(value * 1000)} ms`;
}

function draw(time) {
  const data = JSON.parse(part(".replay").dataset.replay);
  const end = +part(".replay").dataset.end;
  part(".replay-clock").textContent = clock(time);
  for (const lane of element.querySelectorAll(".replay-lane")) {
    const { at, pieces } = data[lane.dataset.side];
    const shown = at.filter((when) => when <= time + 1e-4).length;
    const text = lane.querySelector(".replay-text");
    text.textContent = shown ? pieces.slice(0, shown).join("") : "reading the prompt …";
    text.classList.toggle("idle", !shown);
    lane.querySelector(".replay-track b").style.left = `${Math.min(100, (100 * time) / end)}%`;
  }
}

function stop() {
  cancelAnimationFrame(frame);
  frame = 0;
  if (part(".replay-play")) part(".replay-play").textContent = "Play";
}

function tick(now) {
  const slider = part(".replay-time");
  if (!slider) return stop();
  const time = Math.min(+slider.max, +slider.value + ((now - last) / 1000) * +part(".replay-speed").value);
  last = now;
  slider.value = time;
  draw(time);
  if (time >= +slider.max) stop();
  else frame = requestAnimationFrame(tick);
}

function play() {
  if (frame) return stop();
  const slider = part(".replay-time");
  if (calm.matches) return draw(+slider.max);
  if (+slider.value >= +slider.max) slider.value = 0;
  part(".replay-play").textContent = "Pause";
  last = performance.now();
  frame = requestAnimationFrame(tick);
}

function settle() {
  if (part(".replay-play")) part(".replay-play").hidden = calm.matches;
}

element.addEventListener("click", (event) => {
  if (event.target.closest(".replay-play")) play();
});
element.addEventListener("input", (event) => {
  if (!event.target.closest(".replay-time")) return;
  stop();
  draw(+event.target.value);
});
calm.addEventListener("change", () => {
  stop();
  settle();
});
watch?.("value", () => {
  stop();
  settle();
});
settle();
