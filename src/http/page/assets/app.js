// The page: finds out who looks, follows the board, draws the view that the address names.

import { listen, load } from "./actions.js";
import { NAV, jobsAddress, navOf, read } from "./address.js";
import { follow, session } from "./client.js";
import { h, show } from "./dom.js";
import { speak, t } from "./i18n.js";
import { changed, drawWith, state } from "./state.js";
import { config } from "./view-config.js";
import { deletion } from "./view-deletion.js";
import { deletions } from "./view-deletions.js";
import { job } from "./view-job.js";
import { jobs, scrolled } from "./view-jobs.js";
import { nowhere } from "./view-nowhere.js";
import { overview } from "./view-overview.js";
import { signin } from "./view-signin.js";
import { tree } from "./view-tree.js";

const VIEWS = { overview, jobs, job, deletions, deletion, tree, config, nowhere };

/** What somebody chose before, where the browser lets the page remember. */
const memory = {
  get(name) { try { return localStorage.getItem(`tikkun.${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`tikkun.${name}`, value); } catch { /* it is asked again next time */ } },
};

/** What was drawn last: a view and its id, or nothing before somebody has signed in. */
let place = null;

/** Draws. A view that is new starts from nothing, and the focus goes to its heading, which screen readers then read. */
function draw() {
  const here = state.session ? state.route.join("/") : "";
  const arrived = place !== null && place !== here;
  if (arrived) document.getElementById("main").replaceChildren();
  place = here;
  drawAll();
  if (arrived) document.querySelector("main h1").focus({ preventScroll: true });
}

function drawAll() {
  const top = document.getElementById("top"), main = document.getElementById("main");
  show(document.getElementById("skip"), t("skip"));
  show(top, ...head());
  document.body.classList.toggle("signed-out", !state.session);
  if (!state.session) return show(main, signin());
  const [view] = state.route;
  const at = navOf(view);
  document.title = `${t(at ? `nav_${at}` : "nowhere")} · Tikkun`;
  const before = document.querySelector(".log"), atEnd = !before || before.scrollHeight - before.scrollTop - before.clientHeight < 8;
  show(main, state.session.read_only && h("p.callout.calm", null, t(state.session.role === "viewer" ? "viewer_only" : "read_only")), ...VIEWS[view]());
  // Who reads the newest line goes on reading the newest.
  const log = atEnd && document.querySelector(".log");
  if (log) log.scrollTop = log.scrollHeight;
  look();
}

/** After scrolling and drawing: the rows that are seen now, and the next page where the last one is near. */
function look() {
  const { moved, near } = scrolled();
  if (near) load.more();
  if (moved) changed();
}

function head() {
  const option = (value, text, chosen) => h("option", { value, selected: chosen === value }, text);
  const at = navOf(state.route[0]);
  return [
    h("a.brand", { href: "#/overview", "aria-label": "Tikkun" }, h("img", { src: "page/mark.svg", alt: "", width: 28, height: 28 }), h("span", null, "Tikkun")),
    state.session ? h("nav", { "aria-label": t("nav") }, NAV.map((name) => h("a", { href: `#/${name}`, "aria-current": name === at ? "page" : undefined }, t(`nav_${name}`)))) : h("span.spacer"),
    h("div.top-side", null,
      state.session && h("span.link", { class: state.link, role: "status" }, h("span.lamp", { "aria-hidden": "true" }), t(`link_${state.link}`)),
      h("select", { id: "language", "data-input": "language", "aria-label": t("language") }, option("en", "English", state.language), option("he", "עברית", state.language)),
      h("select", { id: "theme", "data-input": "theme", "aria-label": t("theme") }, ["auto", "light", "dark"].map((name) => option(name, t(`theme_${name}`), state.theme))),
      state.session && h("button.quiet", { type: "button", "data-act": "sign-out" }, t("sign_out"))),
  ];
}

function route() {
  const { view, id, filter } = read(location.hash);
  const moved = state.route.join("/") !== [view, id].filter(Boolean).join("/");
  state.route = [view, id].filter(Boolean);
  if (state.session) arrive(view, id, filter);
  changed();
  if (moved) scrollTo(0, 0);
}

function arrive(view, id, filter) {
  if (view === "jobs") {
    if (jobsAddress(filter) !== jobsAddress(state.jobs.filter)) Object.assign(state.jobs, { filter, rows: null, next: null });
    load.jobs();
  }
  if (view === "job") { Object.assign(state.job, { id, detail: null, log: null, problem: null }); load.job(); }
  if (view === "deletion") { Object.assign(state.deletion, { id, detail: null, problem: null }); load.deletion(); }
  if (view === "config") load.config();
}

function dress(theme) {
  state.theme = ["light", "dark"].includes(theme) ? theme : "auto";
  if (state.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
}

addEventListener("language", ({ detail }) => { speak(detail); memory.set("language", detail); changed(); });
addEventListener("theme", ({ detail }) => { dress(detail); memory.set("theme", detail); changed(); });
addEventListener("hashchange", route);
addEventListener("scroll", look, { passive: true });
addEventListener("resize", look);
// Times that are counted from now go on while nothing else changes.
setInterval(changed, 1000);

async function begin() {
  speak(memory.get("language") ?? (navigator.language.startsWith("he") ? "he" : "en"));
  dress(memory.get("theme"));
  drawWith(draw);
  listen();
  try {
    await session();
  } catch {
    setTimeout(comeBack, 1500);
  }
  follow();
  route();
}

async function comeBack() {
  await session().then(() => { follow(); route(); }, () => setTimeout(comeBack, 1500));
}

begin();
