// What the page knows. What changes is replaced, never altered in place: who draws sees by `===` what is another.

export const state = {
  session: null,
  link: "connecting",
  route: ["overview"],
  language: "en",
  theme: "auto",
  /** The board, section by section, as the stream tells it. */
  overview: undefined,
  queues: undefined,
  workers: undefined,
  running: undefined,
  deletions: undefined,
  tree: undefined,
  /** What single views have fetched and what people have typed there. */
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
  deletion: { id: null, detail: null, problem: null },
  tenant: { id: "", found: null, plan: null, problem: null, busy: false },
  config: { entries: null, search: "", problem: null },
  signin: { problem: null, busy: false },
};

let draw = () => {};
let asked = false;

/** Who draws. */
export function drawWith(drawing) {
  draw = drawing;
}

/** Takes what is new, and asks for one drawing, however many changes come together. */
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
