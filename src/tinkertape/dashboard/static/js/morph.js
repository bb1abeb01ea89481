// Brings one element to the state of another, newer one, by changing only what differs: focus, scroll, selection and open details stay.
// Elements with data-key are matched by it, others by their place. data-own: a script's own; its inside is left alone.
const KEPT = new Set(["tabindex", "open", "hidden", "aria-pressed"]); // set by the server once, then the page's own

export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return old;
  }
  for (const { name, value } of [...fresh.attributes])
    if (!KEPT.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes])
    if (!KEPT.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  if (!old.hasAttribute("data-own")) children(old, fresh);
  return old;
}

function children(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const known = next.dataset?.key ? keyed.get(next.dataset.key) : null;
    if (known) {
      if (known !== at) old.insertBefore(known, at);
      morph(known, next);
      at = known.nextSibling;
    } else if (at && !at.dataset?.key && !next.dataset?.key && at.nodeName === next.nodeName) {
      at = morph(at, next).nextSibling;
    } else {
      old.insertBefore(next, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}
