// Chooses the rows of a long list that are in the document: the visible ones and some around them, moved in steps.

/** Rows above and below the visible ones, and the step by which the range moves. */
export const AHEAD = 20;
const STEP = 10;

/** The rows to draw of `count`, given how many are above the visible part and how many fit into it. */
export function around({ above, fit }, count) {
  const first = Math.max(0, Math.min(above - AHEAD, count - AHEAD));
  return { first, last: Math.min(count, first + fit + 2 * AHEAD + STEP) };
}

/** The visible part of a list; `known` itself if it has not changed. */
export function measured(body, known) {
  const tall = body?.querySelector(".row")?.getBoundingClientRect().height || known.tall;
  const hidden = body ? Math.max(0, -body.getBoundingClientRect().top) : 0;
  const seen = { above: Math.floor(hidden / tall / STEP) * STEP, fit: Math.ceil(innerHeight / tall), tall };
  return Object.keys(seen).every((name) => seen[name] === known[name]) ? known : seen;
}
