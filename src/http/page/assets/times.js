// Relative times, which are updated every second without drawing anything else.

import { h } from "./dom.js";
import { ago, longAgo, time } from "./i18n.js";

const WORDS = { ago, longAgo };

/** A relative time that is kept up to date. */
function counted(iso, words, look = "") {
  return h("time", { class: look, datetime: iso, title: time(iso), "data-counted": words }, WORDS[words](iso));
}

/** How long ago in one unit, for lists. */
export function past(iso) {
  return iso ? counted(iso, "longAgo", "nowrap") : "–";
}

/** How long ago. */
export function since(iso) {
  return iso ? counted(iso, "ago") : "–";
}

/** Updates all relative times. */
export function tick() {
  const all = /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[data-counted]"));
  for (const one of all) {
    const text = WORDS[one.dataset.counted](one.dateTime);
    if (one.firstChild.nodeValue !== text) one.firstChild.nodeValue = text;
  }
}
