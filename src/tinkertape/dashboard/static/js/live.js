// Keeps a page current: waits for the collector to say that something grew, fetches the page again and takes over what differs.
// One fetch at a time, one repaint a frame, nothing while the tab is hidden (a browser opens six connections to one server, not more).
import { $, glyph } from "./dom.js";
import { clock, localise } from "./format.js";
import { morph } from "./morph.js";

const SOONEST_MS = 400,
  RETRY_MS = [1000, 2000, 4000, 8000, 15000];
const REST = 4; // a page that takes long to fetch is fetched less often: it rests four times as long

export function live({ wanted, after }) {
  let stream = null,
    failed = 0,
    fetching = false,
    again = false,
    timer = 0,
    last = 0,
    took = 0,
    counter = 0;
  const label = $("#live"),
    held = $("#held"),
    spoken = $("#spoken");

  function show(word) {
    if (word === "Live" && $("#content")?.dataset.live === "") word = ""; // only its last events are still on their way
    label.hidden = !word;
    label.classList.toggle("held", word.startsWith("Held"));
    if (word) label.replaceChildren(...(word === "Live" ? [glyph("running")] : []), word);
  }

  async function refresh() {
    clearTimeout(timer);
    if (fetching) {
      again = true;
      return;
    }
    const wait = last + Math.max(SOONEST_MS, REST * took) - performance.now();
    if (wait > 0) {
      timer = setTimeout(refresh, wait);
      return;
    }
    fetching = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.pathname, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      take(new DOMParser().parseFromString(await answer.text(), "text/html")); // inert: nothing in it runs, nothing in it loads
    } catch {
      away();
    } finally {
      fetching = false;
      last = performance.now();
      took = last - began;
    }
    if (again) {
      again = false;
      refresh();
    }
  }

  function take(fresh) {
    localise(fresh);
    requestAnimationFrame(() => {
      for (const query of ["#content", "#ledger"]) {
        const old = $(query),
          next = fresh.querySelector(query);
        if (old && next) morph(old, document.importNode(next, true));
      }
      if (document.title !== fresh.title) document.title = fresh.title;
      const said = $("#content")?.dataset.said;
      if (said && spoken.dataset.said !== undefined && spoken.dataset.said !== said) spoken.textContent = said;
      if (said) spoken.dataset.said = said; // first one: known, not spoken
      back();
      after?.();
      if (!wanted()) close();
    });
  }

  function open() {
    const address = $("#content")?.dataset.stream;
    if (stream || !address || document.hidden || !wanted()) return;
    stream = new EventSource(address);
    stream.addEventListener("open", refresh);
    stream.addEventListener("run", refresh);
    stream.addEventListener("error", () => {
      if (stream?.readyState === EventSource.CLOSED) stream = null;
      away();
    });
  }

  function close() {
    stream?.close();
    stream = null;
    clearTimeout(counter);
    show("");
  }

  function back() {
    failed = 0;
    clearTimeout(counter);
    held.hidden = true;
    show("Live");
  }

  /** The collector does not answer: say so once, keep everything that was shown, and ask again later and later. */
  function away() {
    if (!wanted()) return;
    const since = failed ? held.dataset.since : clock(new Date());
    const wait = RETRY_MS[Math.min(failed, RETRY_MS.length - 1)];
    failed += 1;
    held.dataset.since = since;
    held.replaceChildren(
      glyph("failed"),
      `The collector does not answer since ${since}. The run is not harmed: its tape is written on and sent later. Trying again.`,
    );
    held.hidden = false;
    show(`Held at ${since}`);
    clearTimeout(counter);
    counter = setTimeout(() => {
      stream?.close();
      stream = null;
      open();
    }, wait);
  }

  if ($("#content")?.dataset.said) spoken.dataset.said = $("#content").dataset.said;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
      stream = null;
    } else {
      open();
    }
  });
  addEventListener("pagehide", () => {
    stream?.close();
    stream = null;
  });
  addEventListener("pageshow", open);
  open();
  return { refresh };
}
