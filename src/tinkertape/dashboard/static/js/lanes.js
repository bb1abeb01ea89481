// Paints the timeline's lanes on a canvas. Only what is visible; spans under a pixel merge with their neighbours.
import { token } from "./dom.js";
import { clock, seconds } from "./format.js";
import { cross, drawable, fitted, paints } from "./paint.js";

const TOP = 22,
  AXIS = 18,
  BAR = 15;
const SHORTEST = 6; // letters of a cause that still say which it is
const EVERY = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];

/** The lanes for a range. `range` {from, to}; `narrow`: labels stand in their lanes. Returns the drawn boxes, for the pointer. */
export function paintLanes(canvas, run, range, gaps) {
  const narrow = canvas.parentElement.clientWidth < 560,
    lane = narrow ? 34 : 22,
    lift = narrow ? 16 : 3,
    height = TOP + run.rows.length * lane + AXIS;
  const [c, width] = fitted(canvas, height),
    span = range.to - range.from,
    x = (t) => ((t - range.from) / span) * width,
    font = token("sans");
  const view = {
    c,
    run,
    range,
    gaps,
    width,
    height,
    lane,
    narrow,
    x,
    font,
    span,
    paint: paints(c, run),
    ink: token("ink"),
    ink2: token("ink-2"),
    bg: token("bg"),
    line: token("line"),
    boxes: [],
  };
  c.font = `11px ${font}`;
  c.textBaseline = "middle";
  c.fillStyle = view.line;
  run.rows.forEach((_, at) => c.fillRect(0, TOP + (at + 1) * lane - 1, width, 1));
  ruler(view);
  for (const finding of run.findings)
    if (finding.shaded) {
      c.fillStyle = token("tinker-soft");
      c.globalAlpha = 0.55;
      c.fillRect(x(finding.from), TOP, x(finding.to) - x(finding.from), run.rows.length * lane - 1);
      c.globalAlpha = 1;
    }
  run.rows.forEach((row, at) => {
    const y = TOP + at * lane + lift;
    if (narrow) {
      const wide = c.measureText(row.label).width;
      c.fillStyle = view.bg;
      c.fillRect(0, y - 13, wide + 6, 12);
      c.fillStyle = view.ink2;
      c.textAlign = "left";
      c.fillText(row.label, 0, y - 6);
    }
    ({ findings: findings, operations: operations, idle: idles, marks: marks })[row.kind]?.(view, row, y);
  });
  clockAxis(view);
  if (run.live) now(view);
  return view.boxes;
}

function ruler({ c, run, width, height, x, line, ink2 }) {
  let busy = -99;
  const usual = run.steps.length ? run.steps.map((step) => step.wall).sort((a, b) => a - b)[run.steps.length >> 1] : 1,
    each = x(usual) - x(0) || 1,
    roomy = each > 56;
  const every =
    each > 16
      ? 1
      : [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].find((count) => count * each > 48) || 20000;
  for (const [index, step] of run.steps.entries()) {
    const from = x(step.from),
      to = x(step.to),
      long = to - from > 40;
    if (from > width || to < 0) continue;
    if (every > 1 && !long && index && (Number.isInteger(step.step) ? step.step : index) % every) continue; // too many to name: round ones, and the long
    c.fillStyle = line;
    c.fillRect(Math.round(from), 4, 1, height - AXIS - 4);
    const at = Math.max(from, 0) + 4,
      text = busy < 0 || roomy ? `step ${step.step}` : String(step.step),
      wide = c.measureText(text).width;
    if (at > busy + 5 && at + wide <= width && (every > 1 || busy < 0 || to - at > Math.min(wide, 6))) {
      busy = at + wide;
      c.fillStyle = ink2;
      c.textAlign = "left";
      c.fillText(text, at, 11);
    }
  }
}

function findings(view, row, y) {
  const { c, run, width, x, font, bg } = view,
    middle = y + BAR / 2;
  const drawn = [];
  for (const finding of run.findings) {
    const from = x(finding.from),
      to = Math.max(x(finding.to), from + 3);
    if (to < 0 || from > width) continue;
    const color = token(finding.owner === "none" ? "ink-2" : `${finding.owner}-ink`);
    drawn.push({ finding, color, from, to, left: Math.max(from, 0), right: Math.min(to, width) });
  }
  for (const each of drawn) {
    bracket(c, each, middle, width);
    view.boxes.push({ x: each.left, y, width: each.right - each.left, height: BAR, finding: each.finding });
  }
  c.font = `600 11px ${font}`;
  c.textAlign = "left";
  const said = []; // after all the lines, so that none strikes a label through
  for (const each of drawn) {
    const placed = (text) => {
      const wide = c.measureText(text).width + 8;
      return { text, wide, at: labelPlaces(view, each, wide).find((from) => isFree(from, from + wide, each, drawn, said)) };
    };
    const label = wordings(c, each).map(placed).find(({ at }) => at !== undefined);
    if (!label) continue; // left to the tooltip
    const { text, wide, at } = label;
    said.push({ from: at, to: at + wide });
    c.fillStyle = bg;
    c.fillRect(at, y, wide, BAR);
    c.fillStyle = each.color;
    c.fillText(text, at + 4, middle);
  }
  c.font = `11px ${font}`;
}

function bracket(c, { color, from, to, left, right }, middle, width) {
  c.strokeStyle = color;
  c.lineWidth = 1.5;
  c.beginPath();
  c.moveTo(left, middle);
  c.lineTo(right, middle);
  for (const end of [from, to])
    if (end >= 0 && end <= width) {
      c.moveTo(end, middle - 5);
      c.lineTo(end, middle + 5);
    }
  c.stroke();
  c.lineWidth = 1;
}

/** What may stand for a finding, the longest first: its label, its cause alone, as much of that as its own line holds. */
function wordings(c, { finding, left, right }) {
  const cause = finding.label.split(" ")[0];
  let cut = cause;
  while (cut.length > SHORTEST && c.measureText(`${cut}…`).width + 14 >= right - left) cut = cut.slice(0, -1);
  return [finding.label, cause, `${cut}…`];
}

/** Where a label may begin: in the middle of its line, at either end of it, behind it, before it. */
function labelPlaces({ width, narrow }, { left, right }, wide) {
  const inside = right - left > wide + 6 ? [(left + right - wide) / 2, left + 3, right - wide - 3] : [],
    beside = narrow ? [] : [right + 2, left - wide - 2];
  return [...inside, ...beside].filter((from) => from >= 0 && from + wide <= width);
}

/** A label touches no other, and hides no other finding's end. */
function isFree(from, to, mine, drawn, said) {
  const passes = (other) => other.left < from - 6 && other.right > to + 6;
  const isClear = (other) => other === mine || other.right < from || other.left > to || passes(other);
  return drawn.every(isClear) && said.every((other) => to < other.from || from > other.to);
}

function operations(view, row, y) {
  const { c, run, width, x, paint } = view,
    mine = new Set(row.operations);
  const shared = row.operations.length > 1,
    own = shared ? run.spans.filter((span) => mine.has(span.name)).sort((a, b) => a.from - b.from) : [],
    following = new Map(own.map((span, at) => [span, own[at + 1]]));
  let drawn = -1,
    said = -1;
  for (const span of run.spans) {
    if (!mine.has(span.name)) continue;
    const from = x(span.from),
      to = x(span.to);
    if (from > width || to < 0) continue;
    if (to - drawn < 1 && !span.error && !span.open) continue; // under a pixel: it is in its neighbour's
    drawn = Math.max(drawn, to);
    view.boxes.push({ x: from, y, width: Math.max(to - from, 2), height: BAR, span });
    for (const segment of drawable(span, to - from)) {
      const left = x(segment.from),
        wide = Math.max(x(segment.to) - left, 0.5);
      if (left > width || left + wide < 0) continue;
      c.fillStyle = paint(segment.part);
      if (segment.part === "compute:behind") c.fillRect(left, y + BAR / 2 - 1.5, wide, 3);
      else c.fillRect(left, y, wide, BAR);
      if (segment.part.startsWith("queue:")) paused(view, segment, left, wide, y);
    }
    const widest = span.segments.find((segment) => segment.part === "compute");
    if (widest) {
      const left = Math.max(x(widest.from), 0),
        right = Math.min(x(widest.to), width);
      if (right - left > 40) {
        c.fillStyle = view.ink;
        c.textAlign = "left";
        c.fillText(seconds(span.to - span.from), left + 5, y + BAR / 2 + 0.5);
      }
    }
    if (span.error) cross(c, to + 7, y + BAR / 2);
    if (shared && !view.narrow) {
      // a lane of several operations names each where there is room before the next
      const next = following.get(span),
        room = Math.min(next ? x(next.from) : width, width) - to - 10,
        wide = c.measureText(span.name).width;
      if (room > wide && to + 5 > said) {
        c.fillStyle = view.ink2;
        c.textAlign = "left";
        c.fillText(span.name, to + 5, y + BAR / 2 + 0.5);
        said = to + wide + 10;
      }
    }
  }
}

function paused({ c, run, width, font, bg }, segment, left, wide, y) {
  const from = Math.max(left, 0),
    to = Math.min(left + wide, width),
    reason = { "queue:capacity": "for capacity ", "queue:rate_limit": "for rate " }[segment.part] || "",
    about = ["inferred", "bounded"].includes(run.quality[segment.part]) ? "≈\u202f" : "";
  c.strokeStyle = token("part-queue-capacity");
  c.strokeRect(left + 0.5, y + 0.5, Math.max(wide - 1, 0.5), BAR - 1);
  c.font = `600 11px ${font}`;
  const text = `paused ${reason}${about}${seconds(segment.to - segment.from)}`,
    size = c.measureText(text).width,
    centre = (from + to) / 2;
  if (to - from > size + 20) {
    c.fillStyle = bg;
    c.fillRect(centre - size / 2 - 6, y + 1, size + 12, BAR - 2);
    c.fillStyle = token("tinker-ink");
    c.textAlign = "center";
    c.fillText(text, centre, y + BAR / 2 + 0.5);
  }
  c.font = `11px ${font}`;
}

function idles(view, row, y) {
  const { c, gaps, width, x } = view;
  c.strokeStyle = token("idle-edge");
  for (const gap of gaps) {
    const from = x(gap.from),
      wide = x(gap.to) - from;
    if (from > width || from + wide < 0 || wide < 0.5) continue;
    c.strokeRect(from + 0.5, y + 2.5, Math.max(wide - 1, 0.5), BAR - 6);
    view.boxes.push({ x: from, y, width: wide, height: BAR, gap });
  }
}

function marks(view, row, y) {
  const { c, run, width, x } = view,
    middle = y + BAR / 2;
  const list = run.retries.map((retry) => ({ at: retry.at, word: "retry", color: token("network-ink"), retry }));
  for (const span of run.spans) if (span.error) list.push({ at: span.to, word: "failed", color: token("bad"), span });
  for (const error of run.errors) {
    // an error names the call that it ended; one that ended none stands for itself
    const ended = list.find((mark) => mark.span && mark.span.from <= error.first + 0.5 && error.first <= mark.at + 0.5);
    if (ended) Object.assign(ended, { word: error.type, said: error });
    else if (error.first != null) list.push({ at: error.first, word: error.type, color: token("bad"), said: error });
  }
  let busy = -99;
  list.sort((a, b) => a.at - b.at);
  for (const [index, mark] of list.entries()) {
    const at = x(mark.at),
      next = index + 1 < list.length ? x(list[index + 1].at) : width + 9;
    if (at < -9 || at > width + 9) continue;
    c.fillStyle = mark.color;
    if (mark.retry) {
      c.beginPath();
      c.moveTo(at, middle - 5);
      c.lineTo(at + 5, middle + 4);
      c.lineTo(at - 5, middle + 4);
      c.fill();
    } else cross(c, at, middle);
    view.boxes.push({ x: at - 5, y, width: 10, height: BAR, ...mark });
    const size = c.measureText(mark.word).width;
    if (at + 9 < busy || at + 9 + size > Math.min(width, next - 7) || size > 240) continue;
    busy = at + size + 18;
    c.textAlign = "left";
    c.fillText(mark.word, at + 9, middle);
  }
}

function clockAxis({ c, run, range, width, height, span, x, ink2 }) {
  const every = EVERY.find((step) => (width / span) * step > 84) || 86400,
    began = Number.isNaN(run.began.getTime()) ? 0 : run.began.getTime() / 1000;
  const zone = run.began.getTimezoneOffset?.() * -60 || 0;
  c.fillStyle = ink2;
  c.textAlign = "center";
  for (let t = Math.ceil((began + zone + range.from) / every) * every - began - zone; t < range.to; t += every) {
    const at = x(t);
    if (at < 28 || at > width - 28) continue;
    c.fillRect(Math.round(at), height - AXIS, 1, 4);
    c.fillText(
      began
        ? clock(new Date((began + t) * 1000 + 0.5), every < 1 ? "ms" : "clock").slice(0, every < 1 ? 10 : 8)
        : seconds(t),
      at,
      height - 6,
    );
  }
}

function now({ c, run, x, width, height }) {
  const at = x(run.wall);
  if (at < 0 || at > width) return;
  c.fillStyle = token("accent");
  c.fillRect(at, TOP - 8, 1.5, height - TOP - AXIS + 8);
  c.textAlign = "left";
  if (width - at > 30) c.fillText("now", at + 5, TOP - 11);
}
