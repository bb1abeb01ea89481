// What every page has: the theme, the list of keys, times in the viewer's zone.
import { $, typing } from "./dom.js";
import { localise } from "./format.js";

localise(document);
const root = document.documentElement;
$("#theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("tinkertape-theme", root.dataset.theme);
  } catch {
    /* then it lasts as long as the page */
  }
  const address = new URL(location.href);
  if (address.searchParams.has("theme")) {
    address.searchParams.delete("theme");
    history.replaceState(history.state, "", address);
  }
  dispatchEvent(new Event("theme"));
});

const keys = $("#keylist");
$("#keys").addEventListener("click", () => keys.showModal());
keys.addEventListener("click", (event) => {
  if (event.target === keys) keys.close();
});
let before = "";
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") keys.open ? keys.close() : keys.showModal();
  else if (event.key === "/" && $("#filter")) {
    $("#filter").focus();
    event.preventDefault();
  } else if (before === "g" && event.key === "r") location.href = "/";
  before = event.key;
});
