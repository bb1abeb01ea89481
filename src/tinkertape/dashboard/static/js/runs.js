// The list of runs: filter (in the address), keys, live.
import { $, typing } from "./dom.js";
import { live } from "./live.js";

const input = () => $("#filter"),
  table = () => $("table.runs");
let only = new URLSearchParams(location.search).get("only") || "all";

function filter() {
  if (!table()) return;
  const words = input().value.trim().toLowerCase();
  let shown = 0,
    all = 0;
  for (const body of table().tBodies) {
    let any = 0;
    for (const row of body.querySelectorAll("tr.run")) {
      const fits =
        only === "all" || row.dataset.state === only || (only === "findings" && row.hasAttribute("data-found"));
      row.hidden = !(fits && (!words || row.textContent.toLowerCase().includes(words)));
      all += 1;
      if (!row.hidden) any += 1;
    }
    body.hidden = !any;
    shown += any;
  }
  for (const button of document.querySelectorAll("[data-only]"))
    button.setAttribute("aria-pressed", String(button.dataset.only === only));
  $("#nomatch").hidden = shown > 0;
  $("#hidden").textContent = `${all} run${all === 1 ? " is" : "s are"} hidden by the filter.`;
}

function changed() {
  const address = new URL(location.href);
  for (const [name, value] of [
    ["only", only === "all" ? "" : only],
    ["find", input().value],
  ])
    value ? address.searchParams.set(name, value) : address.searchParams.delete(name);
  history.replaceState(history.state, "", address);
  filter();
}

const clear = () => {
  only = "all";
  if (input()) input().value = "";
  changed();
};
document.addEventListener("input", (event) => {
  if (event.target.id === "filter") changed();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-only]");
  if (button) {
    only = button.dataset.only;
    changed();
  }
  if (event.target.id === "clear") clear();
  const row = event.target.closest("tr.run");
  if (row && !event.target.closest("a") && !getSelection().toString()) row.querySelector("a.name").click();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && input() && (input().value || only !== "all") && !$("#keylist").open) clear();
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const links = [...document.querySelectorAll("tr.run:not([hidden]) a.name")],
    at = links.indexOf(document.activeElement);
  if (event.key === "j") links[Math.min(at + 1, links.length - 1)]?.focus();
  if (event.key === "k") links[Math.max(at - 1, 0)]?.focus();
});

if (input()) input().value = new URLSearchParams(location.search).get("find") || "";
filter();
live({ wanted: () => true, after: filter });
