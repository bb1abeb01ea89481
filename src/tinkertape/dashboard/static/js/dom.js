// Elements, made without a string of markup; the one tooltip; drawing again when the size or the theme changes.
const NS = "http://www.w3.org/2000/svg";
const make = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {}))
    if (value != null && value !== false) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
};
export const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => make(document.createElementNS(NS, tag), attributes, children);
export const $ = (query) => document.querySelector(query);
export const chip = (fill, idle) =>
  s(
    "svg",
    { class: "chip", viewBox: "0 0 12 10", "aria-hidden": "true" },
    s("rect", { x: 0.5, y: 0.5, width: 11, height: 9, fill, stroke: idle ? "var(--idle-edge)" : null }),
  );
export const glyph = (name) =>
  s("svg", { class: "g", viewBox: "0 0 10 10", "aria-hidden": "true" }, s("use", { href: `#g-${name}` }));
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
export const typing = (event) => event.target.closest?.("input, textarea, select") != null;

let tip;
export function showTip(x, y, ...children) {
  if (!tip) document.body.append((tip = h("div", { class: "tip", "aria-hidden": "true" }))); // what it says also stands in the page
  tip.replaceChildren(...children);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(innerWidth - box.width - 8, Math.max(8, x + 14))}px`;
  tip.style.top = `${Math.min(innerHeight - box.height - 8, Math.max(8, y + 14))}px`;
}
export const hideTip = () => {
  if (tip) tip.hidden = true;
};
export const rows = (list) =>
  h(
    "table",
    {},
    ...list.map(([fill, name, value, idle]) => h("tr", {}, h("td", {}, chip(fill, idle), name), h("td", {}, value))),
  );

/** Calls `draw` on every change of width and of theme, at most once a frame. Returns a function that asks for one more. */
export function redrawn(element, draw) {
  let asked = 0,
    width = -1;
  const ask = () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      width = element.clientWidth;
      draw();
    });
  };
  new ResizeObserver(() => {
    if (element.clientWidth !== width) ask();
  }).observe(element);
  addEventListener("theme", ask);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ask);
  ask();
  return ask;
}
