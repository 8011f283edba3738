// Jobs of the queues: a filter, pages that follow one another, and changes to all that match. However many rows there
// are, only those around what is seen are in the document.

import { h, ltr } from "./dom.js";
import { number, t, word } from "./i18n.js";
import { badge, button, card, empty, functionName, page, past, problem, standing, table } from "./parts.js";
import { state } from "./state.js";

const STATES = ["queued", "scheduled", "started", "finished", "failed", "canceled"];
/** Rows that are ready above and below what is seen, and rows by which that moves on. */
const AHEAD = 20, STEP = 10;
/** A row's height; measured as soon as there is one. */
let tall = 66;
let shown = { first: 0, last: 0 };

export function jobs() {
  const { filter, rows, next, complete, problem: wrong, busy } = state.jobs;
  // What can be changed at once are the jobs that are seen, not those of a filter that is being typed.
  const seen = state.jobs.shown?.state;
  const queues = state.board.queues ?? [];
  const option = (value, text, chosen) => h("option", { value, selected: chosen === value }, text);
  const any = rows?.length > 0;
  return page(t("jobs"),
    h("form.filter", { "data-form": "jobs", role: "search" },
      h("label", null, h("span", null, t("search")),
        h("input", { id: "search", name: "search", type: "search", value: filter.search, placeholder: t("search_hint"), "data-input": "jobs", dir: "auto" })),
      h("label", null, h("span", null, t("queue")),
        h("select", { id: "queue", name: "queue", "data-input": "jobs" }, option("", t("all_queues"), filter.queue), queues.map((one) => option(one.name, one.name, filter.queue)))),
      h("div.segments", { role: "group", "aria-label": t("state") },
        ["", ...STATES].map((name) => h("button", { type: "button", "data-act": "jobs-state", "data-state": name, "aria-pressed": String(filter.state === name) }, name ? word("state", name) : t("all_states"))))),
    card(null, null,
      h("div.toolbar", null,
        h("p.muted", { role: "status" }, rows ? t(next ? "shown_jobs_more" : "shown_jobs", { n: rows.length }) : busy && t("loading")),
        h("span.spacer"),
        any && ["", "failed", "canceled"].includes(seen) && button(t("retry_all"), "bulk", { action: "retry" }),
        any && ["", "queued", "scheduled"].includes(seen) && button(t("cancel_all"), "bulk", { action: "cancel" }),
        button(t("refresh"), "jobs-refresh", {}, { always: true, class: "quiet" })),
      wrong && problem(wrong, "jobs-refresh"),
      rows && !any && !wrong && empty(t("jobs_empty")),
      any && list(rows),
      rows && !next && !complete && h("p.callout.odd.reach", null, t("jobs_reach")),
      next && h("p.more", null, button(t("more"), "jobs-more", {}, { always: true, disabled: busy }))));
}

/** The rows around what is seen, in steps, so that most scrolling changes nothing. */
function around(count) {
  const body = document.querySelector(".jobs tbody"), row = body?.querySelector(".row");
  if (row) tall = row.getBoundingClientRect().height || tall;
  const above = body ? Math.max(0, -body.getBoundingClientRect().top) / tall : 0;
  const first = Math.max(0, Math.min(Math.floor(above / STEP) * STEP - AHEAD, count - AHEAD));
  return { first, last: Math.min(count, first + Math.ceil(innerHeight / tall) + 2 * AHEAD + STEP) };
}

/** Whether scrolling has come to other rows than those that are there, and whether the last page is near. */
export function scrolled() {
  if (state.route[0] !== "jobs" || !state.jobs.rows) return {};
  const { first, last } = around(state.jobs.rows.length);
  return { moved: first !== shown.first || last !== shown.last, near: state.jobs.next && !state.jobs.busy && !state.jobs.problem && state.jobs.rows.length - last < AHEAD };
}

function list(rows) {
  const heads = [t("function"), t("state"), t("queue"), { text: t("attempt"), end: true }, t("created"), t("ended"), t("error")];
  shown = around(rows.length);
  const gap = (name, count) => count > 0 && h("tr.gap", { "data-key": name, "aria-hidden": "true" }, h("td", { colspan: heads.length, height: Math.round(count * tall) }));
  const line = (job, index) => h("tr.row", { "data-key": job.id, "aria-rowindex": shown.first + index + 2 },
    h("th", { scope: "row" }, h("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, functionName(job.function)), h("span.under", null, ltr(job.id))),
    h("td", null, badge(standing(job))), h("td", null, ltr(job.queue)), h("td.end", null, number(job.attempt)),
    h("td", null, past(job.created_at)), h("td", null, past(job.ended_at)),
    h("td.error-cell", { title: job.error }, job.error && ltr(job.error)));
  return h("div.jobs", null, table(t("jobs"), heads,
    [gap("before", shown.first), rows.slice(shown.first, shown.last).map(line), gap("after", rows.length - shown.last)], { "aria-rowcount": rows.length + 1 }));
}
