// The tape's last lines: they follow the run until someone scrolls up; the filter hides what does not match.
import { $ } from "./dom.js";

export function tape() {
  const list = () => $("#tape"),
    more = $("#tapenew");
  const atEnd = (element) => element.scrollHeight - element.scrollTop - element.clientHeight < 24;
  let follows = true,
    seen = new Set();

  const keys = () => [...(list()?.children || [])].map((line) => line.dataset.key);
  function filter() {
    const words = $("#filter").value.trim().toLowerCase(),
      lines = [...(list()?.children || [])];
    let shown = 0;
    for (const line of lines) {
      line.hidden = Boolean(words) && !line.textContent.toLowerCase().includes(words);
      shown += !line.hidden;
    }
    $("#hits").textContent = words
      ? shown
        ? `${shown} of ${lines.length}`
        : `no line of ${lines.length} matches`
      : "";
  }
  const toEnd = () => {
    const element = list();
    if (element) element.scrollTop = element.scrollHeight;
    follows = true;
    more.hidden = true;
    seen = new Set(keys());
  };

  document.addEventListener(
    "scroll",
    (event) => {
      if (event.target === list()) {
        follows = atEnd(event.target);
        if (follows) {
          more.hidden = true;
          seen = new Set(keys());
        }
      }
    },
    true,
  );
  document.addEventListener("input", (event) => {
    if (event.target.id === "filter") filter();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "filter" && event.key === "Escape") {
      event.target.value = "";
      filter();
    }
    if (event.target.closest?.("#tape") && event.key === "End") {
      event.preventDefault();
      toEnd();
    }
  });
  more.addEventListener("click", toEnd);
  toEnd();
  return {
    find(words) {
      $("#filter").value = words;
      filter();
      toEnd();
    },
    update() {
      // after the page took over new lines
      if (!list()) return;
      const fresh = keys().filter((key) => !seen.has(key));
      for (const line of list().children) line.classList.toggle("new", fresh.includes(line.dataset.key));
      filter();
      if (follows) toEnd();
      else {
        more.hidden = !fresh.length;
        more.textContent = `${fresh.length} new, End goes on`;
      }
    },
  };
}
