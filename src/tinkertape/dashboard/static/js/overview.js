// Paints the whole run in one line, for the brush.
import { token } from "./dom.js";
import { drawable, fitted, paints } from "./paint.js";

/** The whole run in one line. */
export function paintOverview(canvas, run, wall) {
  const [c, width] = fitted(canvas, 26),
    paint = paints(c, run),
    x = (t) => (t / wall) * width;
  const rank = (part) => (part.startsWith("queue") ? 2 : part.startsWith("wait_local") ? 0 : 1); // who waits for its turn is drawn under what it waits for; pauses on top
  for (const turn of [0, 1, 2])
    for (const span of run.spans)
      for (const segment of drawable(span, x(span.to) - x(span.from))) {
        if (rank(segment.part) !== turn || segment.part === "compute:behind") continue;
        c.fillStyle = paint(segment.part);
        c.fillRect(x(segment.from), 5, Math.max(0.3, x(segment.to) - x(segment.from)), 19);
      }
  c.fillStyle = token("bad");
  for (const span of run.spans) if (span.error) c.fillRect(x(span.from), 0, 2, 5);
}
