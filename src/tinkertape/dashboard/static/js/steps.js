// The bars of the steps: a tooltip with every part, arrow keys from bar to bar (one tab stop), and the way to the timeline.
import { h, hideTip, rows, showTip } from "./dom.js";
import { seconds } from "./format.js";

export function steps({ run, onPick }) {
  const bar = (event) => event.target.closest?.("a.col");
  const find = (column) => run().steps.find((step) => String(step.step) === column.dataset.step);

  function tell(column, x, y) {
    const step = find(column);
    if (!step) return;
    const { look, order, quality } = run(),
      parts = { ...step.parts };
    if (step.over > 0) {
      parts["compute:over"] = Math.min(step.over, parts.compute || 0);
      parts.compute -= parts["compute:over"];
    }
    const place = (part) => {
      const at = order.indexOf(part);
      return at < 0 ? order.indexOf(part.split(":")[0]) : at;
    };
    const list = Object.entries(parts)
      .filter(([, value]) => value > 0.0005)
      .sort(([a], [b]) => place(b) - place(a));
    const mark = (part) =>
      part === "compute:over" || quality[part] === "inferred"
        ? "≈\u202f"
        : quality[part] === "bounded"
          ? "≤\u202f"
          : "";
    const said = [step.failed && "failed", step.open && "now", step.inferred && "≈ found by the rhythm of optim_step"]
      .filter(Boolean)
      .join(", ");
    showTip(
      x,
      y,
      h("h4", {}, `Step ${step.step} · ${seconds(step.wall)}`),
      rows(
        list.map(([part, value]) => [look(part).fill, look(part).label, mark(part) + seconds(value), part === "idle"]),
      ),
      said && h("p", {}, said),
      h("p", {}, "Enter: show on the timeline"),
    );
  }

  document.addEventListener("pointermove", (event) => {
    const column = bar(event);
    if (column) tell(column, event.clientX, event.clientY);
  });
  document.addEventListener("pointerout", (event) => {
    if (bar(event)) hideTip();
  });
  document.addEventListener("focusin", (event) => {
    const column = bar(event);
    if (column?.matches(":focus-visible")) {
      const box = column.getBoundingClientRect();
      tell(column, box.right, box.top);
    }
  });
  document.addEventListener("focusout", (event) => {
    if (bar(event)) hideTip();
  });
  document.addEventListener("click", (event) => {
    const column = bar(event),
      step = column && find(column);
    if (step) {
      event.preventDefault();
      onPick(step);
    }
  });
  document.addEventListener(
    "keydown",
    (event) => {
      const column = bar(event),
        by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!column) return;
      if (event.key === "Enter") {
        event.preventDefault();
        const step = find(column);
        if (step) onPick(step);
      }
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      const all = [...document.querySelectorAll("a.col")],
        next = all[all.indexOf(column) + by];
      if (!next) return;
      column.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    },
    true,
  );
}
