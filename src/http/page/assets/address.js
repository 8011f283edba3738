// The part of an address after `#`: a view, the id of what it shows, and a filter.

const VIEWS = ["overview", "jobs", "deletions", "tree", "config"];
/** The views of a single item, below the list of all of them. */
const ONE = { jobs: "job", deletions: "deletion" };
const FILTER = ["search", "queue", "state"];

/** The views in the header, in order. */
export { VIEWS as NAV };

/** Reads the part of an address after `#`. An invalid one leads to the view `nowhere`. */
export function read(hash) {
  const [path, query] = hash.replace(/^#?\/?/, "").split("?");
  const [name = "", id, ...more] = path.split("/").map(decoded);
  const filter = filtered(new URLSearchParams(query ?? ""));
  if (name === "") return { view: "overview", id: null, filter };
  const known = VIEWS.includes(name) && more.length === 0 && id !== null;
  if (known && !id) return { view: name, id: null, filter };
  if (known && Object.hasOwn(ONE, name)) return { view: ONE[name], id, filter };
  return { view: "nowhere", id: null, filter };
}

/** The decoded text of a part of an address; null if it is invalid. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

function filtered(query) {
  return Object.fromEntries(FILTER.map((name) => [name, query.get(name) ?? ""]));
}

/** The view in the header that a view belongs to. */
export function navOf(view) {
  return VIEWS.find((name) => name === view || ONE[name] === view) ?? null;
}

/** The address of the list of jobs with a filter; parts that are not set do not filter. */
export function jobsAddress(filter) {
  const set = Object.entries(filter).filter(([, value]) => value);
  const query = set.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return query ? `#/jobs?${query}` : "#/jobs";
}
