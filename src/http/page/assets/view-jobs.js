// Jobs of the queues: a filter, pages that follow one another, and changes to all that match.

import { h, ltr } from "./dom.js";
import { number, t, word } from "./i18n.js";
import { badge, button, card, empty, functionName, page, past, problem, standing, table } from "./parts.js";
import { state } from "./state.js";

const STATES = ["queued", "scheduled", "started", "finished", "failed", "canceled"];

export function jobs() {
  const { filter, rows, next, problem: wrong, busy } = state.jobs;
  const queues = state.board.queues ?? [];
  const option = (value, text, chosen) => h("option", { value, selected: chosen === value }, text);
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
        h("p.muted", { role: "status" }, busy ? t("loading") : rows && t("shown_jobs", { n: rows.length })),
        h("span.spacer"),
        ["", "failed", "canceled"].includes(filter.state) && button(t("retry_all"), "bulk", { action: "retry" }),
        ["", "queued", "scheduled"].includes(filter.state) && button(t("cancel_all"), "bulk", { action: "cancel" }),
        button(t("refresh"), "jobs-refresh", {}, { always: true, class: "quiet" })),
      wrong && problem(wrong, "jobs-refresh"),
      rows && rows.length === 0 && !wrong && empty(t("jobs_empty")),
      rows && rows.length > 0 && list(rows),
      next && h("p.more", null, button(t("more"), "jobs-more", {}, { always: true, disabled: busy }))));
}

function list(rows) {
  const heads = [t("function"), t("state"), t("queue"), { text: t("attempt"), end: true }, t("created"), t("ended"), t("error")];
  return table(t("jobs"), heads, rows.map((job) => h("tr.row", { "data-key": job.id },
    h("th", { scope: "row" }, h("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, functionName(job.function)), h("span.under", null, ltr(job.id))),
    h("td", null, badge(standing(job))), h("td", null, ltr(job.queue)), h("td.end", null, number(job.attempt)),
    h("td", null, past(job.created_at)), h("td", null, past(job.ended_at)),
    h("td.error-cell", null, job.error && ltr(job.error)))));
}
