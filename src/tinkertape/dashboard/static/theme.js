// Runs before the first paint, so that a chosen theme never flashes: the address first, then what was remembered, else the system's.
(() => {
  const known = ["light", "dark"],
    asked = new URLSearchParams(location.search).get("theme");
  let kept = null;
  try {
    kept = localStorage.getItem("tinkertape-theme");
  } catch {
    /* storage may be switched off */
  }
  const theme = known.includes(asked) ? asked : known.includes(kept) ? kept : null;
  if (theme) document.documentElement.dataset.theme = theme;
  document.documentElement.dataset.script = "";
})();
