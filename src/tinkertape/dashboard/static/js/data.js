// The run, from the page's own data block: plain values with names. Seconds are from the run's beginning.
const named = (names, list) => Object.fromEntries(names.map((name, at) => [name, list[at]]));

export function read() {
  const block = document.querySelector("#data");
  if (!block) return null;
  const data = JSON.parse(block.textContent);
  const wall = data.wall_s || 0;
  const run = {
    live: data.live,
    wall,
    began: new Date(data.began ?? NaN),
    order: data.order,
    quality: data.quality,
    look: (part) => {
      const [label, owner, fill] = data.looks[part] || [part, "idle", "var(--bg)"];
      return { label, owner, fill };
    },
    rows: data.rows.map((row) => named(["kind", "label", "operations"], row)),
    steps: data.steps.map((step) =>
      named(["step", "from", "to", "wall", "parts", "over", "failed", "open", "inferred"], step),
    ),
    spans: data.spans.map((span) =>
      named(["name", "from", "to", "open", "step", "error", "requests", "segments"], span),
    ),
    findings: data.findings
      .map((finding) => named(["owner", "label", "from", "to", "shaded"], finding))
      .filter((finding) => finding.from != null),
    retries: data.retries.map((retry) => named(["at", "operation", "type"], retry)),
    errors: data.errors.map((error) => named(["first", "last", "type", "owner"], error)),
  };
  for (const step of run.steps) step.to ??= Math.max(step.from + step.wall, step.open ? wall : 0);
  for (const span of run.spans) {
    span.to ??= wall;
    span.segments = span.segments.map((segment) => named(["part", "from", "to"], segment));
    for (const segment of span.segments) segment.to ??= span.to;
  }
  for (const step of run.steps) if (step.over > 0) darken(run, step);
  return run;
}

/** Compute above its usual is known for a step, not for an instant: it is drawn as the end of the step's longest computing. */
function darken(run, step) {
  let best = null,
    owner = null;
  for (const span of run.spans) {
    if (span.step !== step.step || span.to < step.from || span.from > step.to) continue;
    for (const segment of span.segments)
      if (segment.part === "compute" && (!best || segment.to - segment.from > best.to - best.from)) {
        best = segment;
        owner = span;
      }
  }
  if (!best) return;
  const cut = Math.max(best.from, best.to - step.over);
  owner.segments.splice(owner.segments.indexOf(best) + 1, 0, { part: "compute:over", from: cut, to: best.to });
  best.to = cut;
}

/** The stretches of the run in which nothing of it was at the service. */
export function idle(run) {
  const gaps = [];
  let end = run.spans.length ? 0 : null; // before the first call too
  for (const span of [...run.spans].sort((a, b) => a.from - b.from)) {
    if (end != null && span.from > end) gaps.push({ from: end, to: span.from });
    end = Math.max(end ?? span.to, span.to);
  }
  return gaps;
}
