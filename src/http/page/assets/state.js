// What the page knows. Every change asks for one drawing, however many come together.

export const state = {
  session: null,
  board: {},
  link: "connecting",
  route: ["overview"],
  language: "en",
  theme: "auto",
  /** What single views have fetched and what people have typed there. */
  jobs: { filter: { search: "", queue: "", state: "" }, shown: null, rows: null, next: null, complete: true, problem: null, busy: false },
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

/** Notes that something is different now. */
export function changed() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

/** Whether this person may change things. */
export function mayChange() {
  return !state.session?.read_only;
}
