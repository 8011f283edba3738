// The actions of the page: one listener each for clicks, input and forms, whatever is drawn.

import { jobsAddress } from "./address.js";
import { bulk } from "./bulk.js";
import { CallProblem, call, follow, session, signOut } from "./client.js";
import { ask, say } from "./dialog.js";
import { t } from "./i18n.js";
import { told } from "./parts.js";
import { put, set, state } from "./state.js";

/** Jobs on the first page, and on the next ones. */
const PAGE = 100,
  NEXT = 500;
const enc = encodeURIComponent;

async function change(path, body) {
  const answer = await call("POST", path, body ?? {});
  say(t("done"), "good");
  return answer;
}

/** The number of requests for each part of the state. */
const turns = {};

/** Fetches a part of the state; a response that a newer request has overtaken is dropped. */
async function into(part, fetching, take) {
  const mine = (turns[part] = (turns[part] ?? 0) + 1);
  put(part, { busy: true });
  let news;
  try {
    const answer = await fetching;
    if (turns[part] !== mine) return;
    news = { ...take(answer), problem: null };
  } catch (error) {
    news = { problem: error };
  }
  if (turns[part] === mine) put(part, { ...news, busy: false });
}

function jobsPath({ search, queue, state: word }, cursor) {
  const wanted = Object.entries({ search, queue, state: word, cursor, limit: cursor ? NEXT : PAGE }).filter(
    ([, value]) => value,
  );
  return `/jobs?${wanted.map(([name, value]) => `${name}=${enc(value)}`).join("&")}`;
}

export const load = {
  jobs: () => {
    const shown = state.jobs.filter;
    const take = (page) => ({ shown, rows: page.jobs, next: page.next_cursor, complete: page.complete });
    return into("jobs", call("GET", jobsPath(shown)), take);
  },
  more: () =>
    into("jobs", call("GET", jobsPath(state.jobs.shown, state.jobs.next)), (page) => {
      const known = new Set(state.jobs.rows.map((job) => job.id));
      const rows = [...state.jobs.rows, ...page.jobs.filter((job) => !known.has(job.id))];
      return { rows, next: page.next_cursor, complete: page.complete };
    }),
  job: async () => {
    await into("job", job(state.job.id), (found) => found);
    lookOnWhileItRuns();
  },
  deletion: () => into("deletion", call("GET", `/deletions/${enc(state.deletion.id)}`), (detail) => ({ detail })),
  config: () => into("config", call("GET", "/config"), ({ entries }) => ({ entries })),
  tenant: () => {
    const path = `/tenants/${enc(state.tenant.id)}/deletion`;
    const both = Promise.all([call("GET", path), call("GET", `${path}/plan`)]);
    return into("tenant", both, ([found, plan]) => ({ found, plan }));
  },
};

/** Fetches a job and its log lines in this process. */
async function job(id) {
  const [detail, log] = await Promise.all([call("GET", `/jobs/${enc(id)}`), call("GET", `/jobs/${enc(id)}/log`)]);
  return { detail, log };
}

/** While a job that has not ended is shown, changes of the board lead to another read, at most one per second. */
let looking = 0;
function lookAgain() {
  const { id, detail } = state.job;
  if (
    looking ||
    !state.session ||
    state.route[0] !== "job" ||
    !["queued", "scheduled", "started"].includes(detail?.state)
  )
    return;
  looking = setTimeout(async () => {
    looking = 0;
    try {
      const found = await job(id);
      if (state.job.id === id) put("job", found);
      lookOnWhileItRuns();
    } catch (error) {
      // If the service cannot be reached, the last state stays, and the connection indicator says why.
      if (error.status === 404 && state.job.id === id) put("job", { problem: error });
    }
  }, 1000);
}

/** A job that runs may log at any time, of which the board says nothing. */
function lookOnWhileItRuns() {
  if (state.job.detail?.state === "started" && !document.hidden) lookAgain();
}

const acts = {
  "pause-queue": ({ queue }) => change(`/queues/${enc(queue)}/pause`),
  "resume-queue": ({ queue }) => change(`/queues/${enc(queue)}/resume`),
  "jobs-refresh": () => load.jobs(),
  "jobs-more": () => load.more(),
  "jobs-state": ({ state: word }) => {
    filterBy({ state: word });
    return load.jobs();
  },
  "job-refresh": () => load.job(),
  "job-retry": async ({ id }) => {
    await change(`/jobs/${enc(id)}/retry`);
    await load.job();
  },
  "job-cancel": async ({ id }) => {
    if (!(await ask({ title: t("cancel_job_title"), text: t("cancel_job_text"), go: t("cancel"), danger: true })))
      return;
    await change(`/jobs/${enc(id)}/cancel`);
    await load.job();
  },
  "job-stop": async ({ id }) => {
    if (!(await ask({ title: t("stop_job_title"), text: t("stop_job_text"), go: t("stop"), danger: true }))) return;
    await call("POST", `/jobs/${enc(id)}/stop`, {});
    say(t("stop_asked"), "good");
    await load.job();
  },
  bulk: ({ action }) => bulk(action).finally(load.jobs),
  deletion: async ({ id, action }) => {
    const answer = await change(`/deletions/${id}/${action}`);
    if (answer.created) location.hash = `#/deletions/${answer.deletion.job_id}`;
  },
  "deletion-cancel": async ({ id }) => {
    const sure = await ask({
      title: t("cancel_deletion_title"),
      text: t("cancel_deletion_text"),
      go: t("cancel_deletion"),
      danger: true,
    });
    if (sure) await change(`/deletions/${id}/cancel`);
  },
  "deletion-refresh": () => load.deletion(),
  certificate: async ({ id }) => put("deletion", { sealed: await call("GET", `/deletions/${enc(id)}/certificate`) }),
  print: () => print(),
  "delete-all": async ({ tenant, receipts }) => {
    const title = t("delete_title", { n: Number(receipts), id: tenant });
    if (!(await ask({ title, text: t("delete_text"), go: t("delete_now"), danger: true, typed: tenant }))) return;
    const answer = await call("POST", `/tenants/${tenant}/deletion`, `{"confirm":${tenant}}`);
    say(t(answer.created ? "deletion_requested" : answer.deletion ? "deletion_was_active" : "tenant_none"), "good");
    if (answer.deletion) location.hash = `#/deletions/${answer.deletion.job_id}`;
  },
  "config-refresh": () => load.config(),
  "sign-out": signOut,
};

const forms = {
  signin: async (data) => {
    put("signin", { problem: null, busy: true });
    try {
      const session = await call("POST", "/session", { secret: data.get("secret"), name: data.get("name") });
      set({ session });
      put("signin", { busy: false });
      follow();
      dispatchEvent(new HashChangeEvent("hashchange"));
    } catch (error) {
      put("signin", { problem: error, busy: false });
    }
  },
  jobs: () => load.jobs(),
  config: () => {},
  tenant: (data) => {
    put("tenant", { id: data.get("tenant").trim(), found: null, plan: null });
    return load.tenant();
  },
};

/** Changes the filter of the jobs. It is in the address, so that a reload or a shared link shows the same. */
function filterBy(wish) {
  put("jobs", { filter: { ...state.jobs.filter, ...wish } });
  history.replaceState(null, "", jobsAddress(state.jobs.filter));
}

let typing = 0;
const inputs = {
  jobs: (input) => {
    filterBy({ [input.name]: input.value });
    clearTimeout(typing);
    // Whoever has signed out meanwhile reads nothing any more.
    typing = setTimeout(() => state.session && load.jobs(), input.type === "search" ? 250 : 0);
  },
  config: (input) => put("config", { search: input.value }),
  language: (input) => dispatchEvent(new CustomEvent("language", { detail: input.value })),
  theme: (input) => dispatchEvent(new CustomEvent("theme", { detail: input.value })),
};

async function careful(doing) {
  try {
    await doing;
  } catch (error) {
    if (!(error instanceof CallProblem)) throw error;
    say(told(error), "bad");
    if (error.code === "csrf") await session();
  }
}

/** The element of an event. */
const at = (event) => /** @type {HTMLElement} */ (event.target);

function clicked(event) {
  if (at(event).closest("#skip")) {
    // The address names the view, and must not change.
    event.preventDefault();
    document.getElementById("main").focus();
  }
  const button = /** @type {HTMLButtonElement | null} */ (at(event).closest("[data-act]"));
  if (!button || button.disabled || button.getAttribute("aria-busy")) return;
  button.setAttribute("aria-busy", "true");
  const doing = Promise.resolve().then(() => acts[button.dataset.act](button.dataset));
  careful(doing).finally(() => button.removeAttribute("aria-busy"));
}

function sent(event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (at(event));
  careful(Promise.resolve(forms[form.dataset.form]?.(new FormData(form))));
}

/** Lists send `change` when an option is chosen, and fields send `input` while text is typed. */
function typed(event) {
  const kind = at(event).dataset?.input;
  if (kind && (event.type === "change") === (at(event).tagName === "SELECT")) inputs[kind](at(event));
}

/** Adds the listeners; called once. */
export function listen() {
  document.addEventListener("click", clicked);
  document.addEventListener("submit", sent);
  for (const name of ["input", "change"]) document.addEventListener(name, typed);
  for (const section of ["running", "queues"]) addEventListener(`board-${section}`, lookAgain);
}
