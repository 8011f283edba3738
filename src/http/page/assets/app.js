// The page: checks the session, follows the board, and draws the view that the address names.

import { listen, load } from "./actions.js";
import { NAV, jobsAddress, navOf, read } from "./address.js";
import { follow, session } from "./client.js";
import { h, redraw } from "./dom.js";
import { speak, t } from "./i18n.js";
import { AHEAD, around, measured } from "./rows.js";
import { drawWith, put, set, state } from "./state.js";
import { tick } from "./times.js";
import { config } from "./views/config.js";
import { deletion } from "./views/deletion.js";
import { deletions } from "./views/deletions.js";
import { job } from "./views/job.js";
import { jobs } from "./views/jobs.js";
import { nowhere } from "./views/nowhere.js";
import { overview } from "./views/overview.js";
import { signin } from "./views/signin.js";
import { tree } from "./views/tree.js";

/** Each view, and the parts of the state that it depends on: it gets these and nothing else. */
const VIEWS = {
  overview: [overview, "overview", "queues", "workers", "running", "deletions", "python"],
  jobs: [jobs, "jobs", "queues"],
  job: [job, "job", "jobs", "running"],
  deletions: [deletions, "tenant", "deletions"],
  deletion: [deletion, "deletion", "deletions", "overview"],
  tree: [tree, "tree"],
  config: [config, "config"],
  nowhere: [nowhere],
};
const SIGNIN = [signin, "signin"];

/** The user's earlier choices, if the browser allows the page to store them. */
const memory = {
  get(name) {
    try {
      return localStorage.getItem(`tikkun.${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`tikkun.${name}`, value);
    } catch {
      // The choice is not stored; the user can make it again.
    }
  },
};

/** What was drawn last: a view and its id, or nothing before the sign-in. */
let place = null;

/** Draws the page. A new view is drawn from scratch, and its heading gets the focus, so that screen readers read it. */
function draw() {
  const main = document.getElementById("main");
  const here = state.session ? state.route.join("/") : "";
  const arrived = place !== null && place !== here;
  if (arrived) main.replaceChildren();
  place = here;
  drawHead();
  drawView(main);
  if (arrived) main.querySelector("h1").focus({ preventScroll: true });
  look();
}

function drawHead() {
  const { link, language, theme } = state;
  const at = state.session && navOf(state.route[0]);
  const signedIn = Boolean(state.session);
  // A process that only runs jobs has no deletions to show.
  const shown = NAV.filter((name) => name !== "deletions" || state.overview?.process.role !== "worker").join();
  redraw(document.getElementById("skip"), skip, { language });
  redraw(document.getElementById("top"), head, { signedIn, shown, at, link, language, theme });
  document.body.classList.toggle("signed-out", !state.session);
  document.title = state.session ? `${t(at ? `nav_${at}` : "nowhere")} · Tikkun` : "Tikkun";
}

const skip = () => [t("skip")];

function drawView(main) {
  const { language, session } = state;
  const [view, ...reads] = session ? VIEWS[state.route[0]] : SIGNIN;
  const given = Object.fromEntries(reads.map((name) => [name, state[name]]));
  const before = main.querySelector(".log");
  const atEnd = !before || before.scrollHeight - before.scrollTop - before.clientHeight < 8;
  if (!redraw(main, content, { view, language, session, place, ...given })) return;
  // If the newest log line was visible, keep it visible.
  const log = atEnd && main.querySelector(".log");
  if (log) log.scrollTop = log.scrollHeight;
}

function content({ view, session, ...given }) {
  const only = session?.read_only && t(session.role === "viewer" ? "viewer_only" : "read_only");
  return [only && h("p.callout.calm", null, only), ...view({ ...given, may: !session?.read_only })];
}

function head({ signedIn, shown, at, link, language, theme }) {
  const option = (value, text, chosen) => h("option", { value, selected: chosen === value }, text);
  const lead = (name) =>
    h("a", { href: `#/${name}`, "aria-current": name === at ? "page" : undefined }, t(`nav_${name}`));
  return [
    h(
      "a.brand",
      { href: "#/overview", "aria-label": "Tikkun" },
      h("img", { src: "page/mark.svg", alt: "", width: 28, height: 28 }),
      h("span", null, "Tikkun"),
    ),
    signedIn ? h("nav", { "aria-label": t("nav") }, shown.split(",").map(lead)) : h("span.spacer"),
    h(
      "div.top-side",
      null,
      signedIn &&
        h("span.link", { class: link, role: "status" }, h("span.lamp", { "aria-hidden": "true" }), t(`link_${link}`)),
      h(
        "select",
        { id: "language", "data-input": "language", "aria-label": t("language") },
        option("en", "English", language),
        option("he", "עברית", language),
      ),
      h(
        "select",
        { id: "theme", "data-input": "theme", "aria-label": t("theme") },
        ["auto", "light", "dark"].map((name) => option(name, t(`theme_${name}`), theme)),
      ),
      signedIn && h("button.quiet", { type: "button", "data-act": "sign-out" }, t("sign_out")),
    ),
  ];
}

/** After scrolling and drawing: finds the visible rows, and fetches the next page if the last row is near. */
function look() {
  const { rows, next, busy, problem, seen } = state.jobs;
  if (!state.session || state.route[0] !== "jobs" || !rows) return;
  const now = measured(document.querySelector(".jobs tbody"), seen);
  if (now !== seen) put("jobs", { seen: now });
  if (next && !busy && !problem && rows.length - around(now, rows.length).last < AHEAD) load.more();
}

function route() {
  const { view, id, filter } = read(location.hash);
  const now = [view, id].filter(Boolean);
  const moved = state.route.join("/") !== now.join("/");
  set({ route: now });
  if (state.session) arrive(view, id, filter);
  if (moved) scrollTo(0, 0);
}

function arrive(view, id, filter) {
  if (view === "jobs") {
    if (jobsAddress(filter) !== jobsAddress(state.jobs.filter)) put("jobs", { filter, rows: null, next: null });
    load.jobs();
  }
  if (view === "job") {
    put("job", { id, detail: null, log: null, problem: null });
    load.job();
  }
  if (view === "deletion") {
    put("deletion", { id, detail: null, sealed: null, problem: null });
    load.deletion();
  }
  if (view === "config") load.config();
}

function talk(language) {
  set({ language: speak(language) });
}

function dress(wish) {
  const theme = ["light", "dark"].includes(wish) ? wish : "auto";
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  set({ theme });
}

for (const [name, take] of Object.entries({ language: talk, theme: dress })) {
  addEventListener(name, (/** @type {CustomEvent<string>} */ { detail }) => {
    take(detail);
    memory.set(name, detail);
  });
}
addEventListener("hashchange", route);
addEventListener("scroll", look, { passive: true });
addEventListener("resize", look);
setInterval(tick, 1000);

async function begin() {
  talk(memory.get("language") ?? (navigator.language.startsWith("he") ? "he" : "en"));
  dress(memory.get("theme"));
  listen();
  try {
    await session();
  } catch {
    setTimeout(comeBack, 1500);
  }
  // The session is known now; before that there is nothing to draw.
  drawWith(draw);
  follow();
  route();
}

async function comeBack() {
  try {
    await session();
    follow();
    route();
  } catch {
    setTimeout(comeBack, 1500);
  }
}

begin();
