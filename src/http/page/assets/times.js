// Times that are counted from now: each second they are written anew, and nothing else is drawn for that.

import { h } from "./dom.js";
import { ago, longAgo, time } from "./i18n.js";

const WORDS = { ago, longAgo };

/** When something was, in words that go on with the clock. */
function counted(iso, words, look = "") {
  return h("time", { class: look, datetime: iso, title: time(iso), "data-counted": words }, WORDS[words](iso));
}

/** How long ago in one unit, for lists. */
export function past(iso) {
  return iso ? counted(iso, "longAgo", "nowrap") : "–";
}

/** How long since then. */
export function since(iso) {
  return iso ? counted(iso, "ago") : "–";
}

/** Writes all of them as they are now. */
export function tick() {
  const all = /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[data-counted]"));
  for (const one of all) {
    const text = WORDS[one.dataset.counted](one.dateTime);
    if (one.firstChild.nodeValue !== text) one.firstChild.nodeValue = text;
  }
}
