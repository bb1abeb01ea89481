// The timeline: an overview that is brushed, and below it the lanes of the chosen range. Keys, pointer, tooltips; painting is in lanes.js.
import { hideTip, h, redrawn, rows as table, showTip } from "./dom.js";
import { clock, seconds } from "./format.js";
import { idle } from "./data.js";
import { paintLanes } from "./lanes.js";
import { paintOverview } from "./overview.js";

const LEAST = 0.2; // seconds

export function timeline({ overview, lanes, where, run, onPick }) {
  let current = run,
    gaps = idle(run),
    boxes = [],
    whole = 1,
    follows = true;
  const range = { from: 0, to: 1 };
  const above = h("canvas", { role: "img", "aria-label": "The whole run, coloured by owner" }),
    main = h("canvas", { role: "img", "aria-label": "Operations in the chosen range" });
  const left = h("button", { type: "button", role: "slider", "aria-label": "Range from" }),
    right = h("button", { type: "button", role: "slider", "aria-label": "Range to" });
  const brush = h("div", { class: "brush" }, left, right),
    before = h("div", { class: "veil" }),
    behind = h("div", { class: "veil" });
  const host = h(
    "div",
    {
      tabindex: 0,
      role: "group",
      "aria-label": "Timeline. Arrow keys move, plus and minus zoom, 0 shows the whole run.",
    },
    main,
  );
  before.style.left = behind.style.right = "0";
  overview.replaceChildren(above, before, behind, brush);
  lanes.replaceChildren(host);

  const time = (t) =>
    Number.isNaN(current.began.getTime()) ? seconds(t) : clock(new Date(current.began.getTime() + t * 1000));
  const measure = () => {
    whole =
      Math.max(current.wall, LEAST, ...current.spans.slice(-50).map((span) => span.to)) * (current.live ? 1.02 : 1);
  };
  function place() {
    const from = (range.from / whole) * 100,
      to = (range.to / whole) * 100;
    brush.style.left = `${from}%`;
    brush.style.width = `${to - from}%`;
    before.style.width = `${from}%`;
    behind.style.width = `${100 - to}%`;
    for (const [slider, value] of [
      [left, range.from],
      [right, range.to],
    ]) {
      slider.setAttribute("aria-valuemin", 0);
      slider.setAttribute("aria-valuemax", Math.round(whole));
      slider.setAttribute("aria-valuenow", Math.round(value));
      slider.setAttribute("aria-valuetext", time(value));
    }
    where.textContent = `${time(range.from)} to ${time(range.to)}, ${seconds(range.to - range.from)}`;
  }
  const draw = redrawn(lanes, () => {
    place();
    paintOverview(above, current, whole);
    boxes = paintLanes(main, current, range, gaps);
  });
  function set(from, to) {
    const length = Math.min(Math.max(to - from, LEAST), whole);
    range.from = Math.max(0, Math.min(from, whole - length));
    range.to = range.from + length;
    follows = range.to >= whole * 0.985;
    draw();
  }
  const zoom = (factor, at = (range.from + range.to) / 2) =>
    set(at - (at - range.from) * factor, at + (range.to - at) * factor);

  const point = (event) => {
    const box = overview.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * whole;
  };
  overview.addEventListener("pointerdown", (event) => {
    const start = point(event),
      { from, to } = range;
    const mode =
      event.target === left
        ? "left"
        : event.target === right
          ? "right"
          : event.target === brush && to - from < whole * 0.98
            ? "move"
            : "new";
    const move = (next) => {
      const at = point(next);
      if (mode === "left") set(Math.min(at, to - LEAST), to);
      if (mode === "right") set(from, Math.max(at, from + LEAST));
      if (mode === "move") set(from + at - start, to + at - start);
      if (mode === "new" && Math.abs(at - start) > whole * 0.004) set(Math.min(at, start), Math.max(at, start));
    };
    const up = () => {
      overview.removeEventListener("pointermove", move);
      onPick?.(range);
    };
    overview.setPointerCapture(event.pointerId);
    overview.addEventListener("pointermove", move);
    overview.addEventListener("pointerup", up, { once: true });
    if (!event.target.closest("button")) event.preventDefault();
  });
  overview.addEventListener("dblclick", () => set(0, whole));
  for (const [slider, end] of [
    [left, "from"],
    [right, "to"],
  ])
    slider.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      const value = range[end] + by * whole * 0.01;
      end === "from"
        ? set(Math.min(value, range.to - LEAST), range.to)
        : set(range.from, Math.max(value, range.from + LEAST));
    });
  main.addEventListener(
    "wheel",
    (event) => {
      // with Ctrl only: a plain wheel scrolls the page
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = main.getBoundingClientRect();
      zoom(
        Math.exp(event.deltaY / 300),
        range.from + ((event.clientX - box.left) / box.width) * (range.to - range.from),
      );
    },
    { passive: false },
  );
  main.addEventListener("pointermove", (event) => {
    const box = main.getBoundingClientRect(),
      x = event.clientX - box.left,
      y = event.clientY - box.top;
    const hit = boxes.find(
      (one) => x >= one.x - 2 && x <= one.x + one.width + 2 && y >= one.y && y <= one.y + one.height,
    );
    hit ? showTip(event.clientX, event.clientY, ...words(current, hit, time)) : hideTip();
  });
  main.addEventListener("pointerleave", hideTip);

  measure();
  set(0, whole);
  return {
    set,
    zoom,
    range,
    move: (by) => set(range.from + (range.to - range.from) * by, range.to + (range.to - range.from) * by),
    all: () => set(0, whole),
    keepsUp: () => follows,
    update(next) {
      // a live run grew: a range that reached the end goes on reaching it, and one that showed all still shows all
      const shown = range.to - range.from,
        all = shown >= whole * 0.985;
      current = next;
      gaps = idle(next);
      measure();
      if (all) set(0, whole);
      else if (follows) set(whole - shown, whole);
      else draw();
    },
  };
}

function words(run, { span, gap, finding, retry, said }, time) {
  if (gap)
    return [
      h("h4", {}, `Nothing in flight · ${seconds(gap.to - gap.from)}`),
      h("p", {}, `${time(gap.from)}: your code ran, with nothing of yours at Tinker.`),
    ];
  if (finding) return [h("h4", {}, finding.label), h("p", {}, `${time(finding.from)} to ${time(finding.to)}`)];
  if (retry)
    return [
      h("h4", {}, `Retry of ${retry.operation || "a request in the background"}`),
      h("p", {}, [retry.type, time(retry.at)].filter(Boolean).join(" · ")),
    ];
  if (!span) return [h("h4", {}, said?.type || "Error")];
  const approximate = { inferred: "≈\u202f", bounded: "≤\u202f" };
  const parts = span.segments.map((segment) => {
    const look = run.look(segment.part);
    return [
      look.fill,
      look.label,
      (segment.part === "compute:over" ? "≈\u202f" : approximate[run.quality[segment.part]] || "") +
        seconds(segment.to - segment.from),
      segment.part === "idle",
    ];
  });
  return [
    h(
      "h4",
      {},
      `${span.name} · ${seconds(span.to - span.from)}${span.open ? ", in flight" : ""}${span.error ? ", failed" : ""}`,
    ),
    table(parts),
    h(
      "p",
      {},
      [span.step == null ? "" : `step ${span.step}`, time(span.from), span.requests.join(" ")]
        .filter(Boolean)
        .join(" · "),
    ),
  ];
}
