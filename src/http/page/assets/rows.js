// Which rows of a long list are in the document: those around what is seen, in steps, so that most scrolling changes
// nothing.

/** Rows that are ready above and below what is seen, and rows by which that moves on. */
export const AHEAD = 20;
const STEP = 10;

/** The rows to draw of `count`, for what is seen: rows above the window, rows that fit into it. */
export function around({ above, fit }, count) {
  const first = Math.max(0, Math.min(above - AHEAD, count - AHEAD));
  return { first, last: Math.min(count, first + fit + 2 * AHEAD + STEP) };
}

/** What is seen of a list's rows now; `known` itself where that is still true. */
export function measured(body, known) {
  const tall = body?.querySelector(".row")?.getBoundingClientRect().height || known.tall;
  const hidden = body ? Math.max(0, -body.getBoundingClientRect().top) : 0;
  const seen = { above: Math.floor(hidden / tall / STEP) * STEP, fit: Math.ceil(innerHeight / tall), tall };
  return Object.keys(seen).every((name) => seen[name] === known[name]) ? known : seen;
}
