// What the lanes and the overview share: a canvas of the right size, what each part is filled with, a cross.
import { token } from "./dom.js";

export function fitted(canvas, height) {
  const width = canvas.parentElement.clientWidth,
    ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return [context, width];
}

function hatched(context, color, soft, gap) {
  const tile = document.createElement("canvas"),
    ratio = devicePixelRatio || 1;
  tile.width = tile.height = gap * ratio;
  const c = tile.getContext("2d");
  c.scale(ratio, ratio);
  c.fillStyle = soft;
  c.fillRect(0, 0, gap, gap);
  c.strokeStyle = color;
  c.lineWidth = gap * 0.28;
  c.beginPath();
  for (const offset of [-gap, 0, gap]) {
    c.moveTo(offset - 1, gap + 1);
    c.lineTo(offset + gap + 1, -1);
  }
  c.stroke();
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix([1 / ratio, 0, 0, 1 / ratio, 0, 0]));
  return pattern;
}

/** What each part is filled with on a canvas: the tokens of theme.css, read anew because the theme may have changed. */
export function paints(context, run) {
  const made = new Map(),
    soft = token("tinker-soft");
  const of = (part) => {
    if (!made.has(part)) {
      const { fill } = run.look(part),
        name = /^var\(--(.+)\)$/.exec(fill)?.[1];
      made.set(
        part,
        name
          ? token(name)
          : fill === "url(#hatch)"
            ? hatched(context, token("part-queue-capacity"), soft, 7)
            : fill === "url(#rate)"
              ? hatched(context, token("part-queue-rate"), soft, 4)
              : token(fill === "url(#retrieve)" ? "part-retrieve" : "part-send"),
      );
    }
    return made.get(part);
  };
  return of;
}

export function cross(c, x, y, size = 4) {
  c.strokeStyle = token("bad");
  c.lineWidth = 2;
  c.beginPath();
  c.moveTo(x - size, y - size);
  c.lineTo(x + size, y + size);
  c.moveTo(x + size, y - size);
  c.lineTo(x - size, y + size);
  c.stroke();
  c.lineWidth = 1;
}

/** The segments to draw of a span so many pixels wide: under 4 only its longest, over its whole length, so that slivers do not mix their colours. */
export function drawable(span, pixels) {
  if (pixels >= 4 || span.segments.length < 2) return span.segments;
  const longest = span.segments.reduce((a, b) => (b.to - b.from > a.to - a.from ? b : a));
  return [{ part: longest.part, from: span.from, to: span.to }];
}
