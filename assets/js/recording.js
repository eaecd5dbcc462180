// The recorded run: takes it from where it was painted first to its place in the page, and moves it on a visitor's word.
// It leaves for good with the first run; the button in the masthead brings it back.
const light = document.getElementById("first-light");
const recording = light?.querySelector(".recording") ?? document.querySelector("#recording .recording");
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const slot = element.querySelector(".rec-slot");

if (recording && light) {
  // Moved, not removed and put back, what is playing goes on.
  if (slot.moveBefore && slot.isConnected) slot.moveBefore(recording, null);
  else slot.append(recording);
  light.remove();
}

const find = (name) => recording.querySelector(name);
const moving = () => recording.getAnimations({ subtree: true });

function say() {
  const button = find(".rec-play");
  button.hidden = calm.matches;
  const left = moving().filter((each) => each.playState !== "finished");
  const paused = left.some((each) => each.playState === "paused");
  button.textContent = !left.length ? "Play again" : paused ? "Play on" : "Pause";
}

function play() {
  const left = moving().filter((each) => each.playState !== "finished");
  if (!left.length) {
    recording.classList.add("still");
    void recording.offsetWidth; // without the animations for once, so that they begin anew
    recording.classList.remove("still");
  } else if (left.some((each) => each.playState === "paused")) {
    left.forEach((each) => each.play());
  } else {
    left.forEach((each) => each.pause());
  }
  say();
}

function show(step) {
  const steps = [...recording.querySelectorAll(".tour-step")];
  const to = Math.min(steps.length - 1, Math.max(0, step));
  steps.forEach((each, index) => { each.hidden = index !== to; });
  find(".tour-back").disabled = to === 0;
  find(".tour-next").textContent = to === steps.length - 1 ? "Done" : "Next";
  return to;
}

let at = 0;
function open(yes) {
  find(".tour").hidden = !yes;
  find(".rec-open").setAttribute("aria-expanded", String(yes));
  recording.classList.toggle("touring", yes);
  at = show(0);
  if (yes) find(".tour-next").focus({ preventScroll: true });
}

function openTab(name) {
  const named = (button) => button.textContent.trim() === name;
  const shown = [...document.querySelectorAll("#tabs button[role=tab]")].find(named);
  if (shown) return shown.click();
  document.querySelector("#tabs .overflow-menu > button")?.click();
  setTimeout(() => [...document.querySelectorAll("#tabs .overflow-dropdown button")].find(named)?.click());
}

if (recording) {
  recording.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches(".rec-run")) document.getElementById("run").click();
    else if (button.matches(".rec-play")) play();
    else if (button.matches(".rec-open")) open(find(".tour").hidden);
    else if (button.matches(".tour-skip")) open(false);
    else if (button.matches(".tour-back")) at = show(at - 1);
    else if (button.matches(".tour-tab")) openTab(button.dataset.tab);
    else if (button.matches(".tour-next")) {
      if (button.textContent === "Done") open(false);
      else at = show(at + 1);
    }
  });
  recording.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || find(".tour").hidden) return;
    open(false);
    find(".rec-open").focus();
  });
  recording.addEventListener("animationend", say);
  calm.addEventListener("change", say);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#run, #half")) document.body.classList.replace("light-on", "has-run") || document.body.classList.add("has-run");
    if (event.target.closest?.("#show-recording")) {
      document.body.classList.remove("has-run");
      document.body.classList.add("light-on");
      openTab("Compare");
      if (!calm.matches && !moving().some((each) => each.playState !== "finished")) play();
    }
  });
  say();
  window.slimClicked?.click(); // what was pressed while the page was on its way
  delete window.slimClicked;
}
