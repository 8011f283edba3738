// Queue jobs: a filter, pages, and changes of all matching jobs. Only the rows around the visible ones are drawn.

import { h, ltr } from "../dom.js";
import { number, t, word } from "../i18n.js";
import { badge, button, card, empty, functionName, page, problem, standing, table } from "../parts.js";
import { around } from "../rows.js";
import { past } from "../times.js";

const STATES = ["queued", "scheduled", "started", "finished", "failed", "canceled"];

export function jobs({ jobs, queues = [], may }) {
  const { filter, shown, rows, next, complete, problem: wrong, busy, seen } = jobs;
  // A change applies to the jobs that are shown, not to a filter that is still being typed.
  const of = shown?.state;
  const option = (value, text, chosen) => h("option", { value, selected: chosen === value }, text);
  const any = rows?.length > 0;
  return page(
    t("jobs"),
    h(
      "form.filter",
      { "data-form": "jobs", role: "search" },
      h(
        "label",
        null,
        h("span", null, t("search")),
        h("input", {
          id: "search",
          name: "search",
          type: "search",
          value: filter.search,
          placeholder: t("search_hint"),
          "data-input": "jobs",
          dir: "auto",
        }),
      ),
      h(
        "label",
        null,
        h("span", null, t("queue")),
        h(
          "select",
          { id: "queue", name: "queue", "data-input": "jobs" },
          option("", t("all_queues"), filter.queue),
          queues.map((one) => option(one.name, one.name, filter.queue)),
        ),
      ),
      h(
        "div.segments",
        { role: "group", "aria-label": t("state") },
        ["", ...STATES].map((name) =>
          h(
            "button",
            {
              type: "button",
              "data-act": "jobs-state",
              "data-state": name,
              "aria-pressed": String(filter.state === name),
            },
            name ? word("state", name) : t("all_states"),
          ),
        ),
      ),
    ),
    card(
      null,
      null,
      h(
        "div.toolbar",
        null,
        h(
          "p.muted",
          { role: "status" },
          rows ? t(next ? "shown_jobs_more" : "shown_jobs", { n: rows.length }) : busy && t("loading"),
        ),
        h("span.spacer"),
        may && any && ["", "failed", "canceled"].includes(of) && button(t("retry_all"), "bulk", { action: "retry" }),
        may && any && ["", "queued", "scheduled"].includes(of) && button(t("cancel_all"), "bulk", { action: "cancel" }),
        button(t("refresh"), "jobs-refresh", {}, { class: "quiet" }),
      ),
      wrong && problem(wrong, "jobs-refresh"),
      rows && !any && !wrong && empty(t("jobs_empty")),
      any && list(rows, seen),
      rows && !next && !complete && h("p.callout.odd.reach", null, t("jobs_reach")),
      next && h("p.more", null, button(t("more"), "jobs-more", {}, { disabled: busy })),
    ),
  );
}

function list(rows, seen) {
  const heads = [
    t("function"),
    t("state"),
    t("queue"),
    { text: t("attempt"), end: true },
    t("created"),
    t("ended"),
    t("error"),
  ];
  const { first, last } = around(seen, rows.length);
  const gap = (name, count) =>
    count > 0 &&
    h(
      "tr.gap",
      { "data-key": name, "aria-hidden": "true" },
      h("td", { colspan: heads.length, height: Math.round(count * seen.tall) }),
    );
  const line = (job, index) =>
    h(
      "tr.row",
      { "data-key": job.id, "aria-rowindex": first + index + 2 },
      h(
        "th",
        { scope: "row" },
        h("a", { href: `#/jobs/${encodeURIComponent(job.id)}` }, functionName(job.function)),
        h("span.under", null, ltr(job.id)),
      ),
      h("td", null, badge(standing(job))),
      h("td", null, ltr(job.queue)),
      h("td.end", null, number(job.attempt)),
      h("td", null, past(job.created_at)),
      h("td", null, past(job.ended_at)),
      h("td.error-cell", { title: job.error }, job.error && ltr(job.error)),
    );
  return h(
    "div.jobs",
    null,
    table(
      t("jobs"),
      heads,
      [gap("before", first), rows.slice(first, last).map(line), gap("after", rows.length - last)],
      { "aria-rowcount": rows.length + 1 },
    ),
  );
}
