// The state of the page. Values are replaced and never changed in place, so that `===` shows what has changed.

export const state = {
  session: null,
  link: "connecting",
  route: ["overview"],
  language: "en",
  theme: "auto",
  /** The sections of the board, from the stream. */
  overview: undefined,
  queues: undefined,
  workers: undefined,
  running: undefined,
  deletions: undefined,
  /** null if no Python jobs are run here. */
  python: undefined,
  tree: undefined,
  /** What single views have fetched, and what the user has typed there. */
  jobs: {
    filter: { search: "", queue: "", state: "" },
    shown: null,
    rows: null,
    next: null,
    complete: true,
    problem: null,
    busy: false,
    seen: { above: 0, fit: 14, tall: 66 },
  },
  job: { id: null, detail: null, log: null, problem: null },
  deletion: { id: null, detail: null, sealed: null, problem: null },
  tenant: { id: "", found: null, plan: null, problem: null, busy: false },
  config: { entries: null, search: "", problem: null },
  signin: { problem: null, busy: false },
};

let draw = () => {};
let asked = false;

/** Sets the function that draws. */
export function drawWith(drawing) {
  draw = drawing;
}

/** Changes the state, and requests one drawing, however many changes are made together. */
export function set(news) {
  Object.assign(state, news);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

/** The same for a part of the state. */
export function put(part, news) {
  set({ [part]: { ...state[part], ...news } });
}
