// Numbers as the pages write them; the same as figures.py (a test compares the two).
const thin = "\u202f";
const two = (value) => String(Math.floor(value)).padStart(2, "0");
export const MARKS = { inferred: `≈${thin}`, bounded: `≤${thin}` };
export function seconds(value) {
  if (value == null) return "–";
  if (value < 0.00005) return "0";
  if (value < 0.0995) return `${(value * 1000).toFixed(value < 0.00995 ? 1 : 0)}${thin}ms`;
  if (value < 0.9995) return `${value.toFixed(2)}${thin}s`;
  if (value < 99.5) return `${value.toFixed(1)}${thin}s`;
  const whole = Math.floor(value + 0.5);
  if (whole < 3600) return `${Math.floor(whole / 60)}${thin}min ${whole % 60}${thin}s`;
  return `${Math.floor(whole / 3600)}${thin}h ${Math.floor((whole % 3600) / 60)}${thin}min`;
}
/** A time in the viewer's zone: clock 02:04:11, ms 02:04:11.123, day 24 Nov, 02:04:11. */
export function clock(date, form = "clock") {
  if (Number.isNaN(date.getTime())) return "–";
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (form === "ms") return `${text}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  return form === "day" ? `${date.getDate()} ${date.toLocaleString("en", { month: "short" })}, ${text}` : text;
}
/** Turns the times of a page, written in UTC by the server, into the viewer's zone; the tooltip keeps UTC. */
export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]"))
    time.textContent = clock(new Date(time.getAttribute("datetime")), time.dataset.form);
}
