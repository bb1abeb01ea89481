// One run: the timeline, the steps, the findings and the tape, held together by the address (#step=12, #from=…&to=…, #request=…).
import { $, still, typing } from "./dom.js";
import { read } from "./data.js";
import { live } from "./live.js";
import { steps } from "./steps.js";
import { tape } from "./tape.js";
import { timeline } from "./timeline.js";

let run = read(),
  line = null;
const content = () => $("#content");

function draw() {
  const overview = $("#overview"),
    lanes = $("#lanes");
  if (!run || !overview || !lanes) {
    line = null;
    return;
  }
  if (line && lanes.querySelector("canvas")) {
    line.update(run);
    return;
  }
  line = timeline({ overview, lanes, where: $("#range"), run });
  const span = run.wall,
    latest = run.steps.at(-9);
  if (run.live && latest && run.steps.length > 12) line.set(latest.from, span * 1.02); // a live run: its last steps
}

const list = tape();
draw();
$("#timeline-section details")?.removeAttribute("open");

/** Shows what the address names; false when it names nothing that is here. */
function follow(scroll) {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (!run || !line || ![...asked.keys()].length) return false;
  let from = Number(asked.get("from")),
    to = Number(asked.get("to"));
  const named = asked.get("step") ?? asked.get("steps");
  if (named != null) {
    const [first, last] = asked.has("steps") ? ends(named) : [named, named];
    const chosen = run.steps.filter((step) => String(step.step) === first || String(step.step) === last);
    if (!chosen.length) return false;
    from = Math.min(...chosen.map((step) => step.from));
    to = Math.max(...chosen.map((step) => step.to));
    const room = Math.max(0.5, Math.min(1.5, (to - from) * 0.25));
    from -= room;
    to += room;
  } else if (asked.has("request")) {
    const span = run.spans.find((one) => one.requests.includes(asked.get("request")));
    list.find(asked.get("request"));
    if (!span) return false;
    const room = Math.max((span.to - span.from) * 0.2, 0.2);
    from = span.from - room;
    to = span.to + room;
  } else if (!asked.has("from") || !(to > from)) {
    return false;
  }
  line.set(from, to);
  if (scroll) $("#timeline-section").scrollIntoView({ block: "nearest", behavior: still() ? "auto" : "smooth" });
  return true;
}
/** The two ends of "20-30"; names of steps may hold a dash themselves. */
function ends(text) {
  for (let at = text.indexOf("-"); at >= 0; at = text.indexOf("-", at + 1)) {
    const pair = [text.slice(0, at), text.slice(at + 1)];
    if (pair.every((name) => run.steps.some((step) => String(step.step) === name))) return pair;
  }
  return [text, text];
}
function go(hash) {
  if (location.hash !== hash) history.pushState(null, "", hash);
  follow(true);
}

steps({ run: () => run, onPick: (step) => go(`#step=${encodeURIComponent(step.step)}`) });
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || link.classList.contains("skip") || link.classList.contains("col") || event.ctrlKey || event.metaKey)
    return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
for (const change of ["popstate", "hashchange"])
  addEventListener(change, () => {
    if (!follow(false)) line?.all();
  });
document.addEventListener("click", (event) => {
  if (event.target.closest("#whole")) whole();
});
function whole() {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  line?.all();
}

let at = -1;
addEventListener("keydown", (event) => {
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || $("#keylist").open)
    return;
  const findings = [...document.querySelectorAll("a[data-finding]")];
  if (findings.length && (event.key === "n" || event.key === "p")) {
    at = (at + (event.key === "n" ? 1 : -1) + findings.length) % findings.length;
    findings[at].focus();
    findings[at].click();
  } else if (!line || event.target.closest?.("#tape, pre, .tables")) return;
  else if (event.key === "ArrowLeft") line.move(-1 / 8);
  else if (event.key === "ArrowRight") line.move(1 / 8);
  else if (event.key === "+" || event.key === "=") line.zoom(0.66);
  else if (event.key === "-") line.zoom(1.5);
  else if (event.key === "0") whole();
  else return;
  event.preventDefault();
});

if (location.hash) {
  const tables = $('details[data-key="tables"]');
  if (tables) tables.open = false; // the browser opened it to show the row that the address names; here the timeline shows it
  follow(true);
}
live({
  wanted: () => content()?.hasAttribute("data-live") ?? false,
  after: () => {
    run = read();
    draw();
    list.update();
  },
});
