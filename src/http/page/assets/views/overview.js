// The overview: health with its reasons, numbers, queues, workers, and running jobs.

import { bar, spark } from "../charts.js";
import { h, ltr } from "../dom.js";
import { number, span, t, tell, word } from "../i18n.js";
import { badge, button, card, deletionCard, empty, functionName, page, table, tone } from "../parts.js";
import { since } from "../times.js";

export function overview({ overview, queues = [], workers = [], running = [], deletions = [], python, may }) {
  if (!overview) return page(t("nav_overview"), h("p.loading", null, t("loading")));
  const active = deletions.filter((one) => ["queued", "running", "paused"].includes(one.status));
  return page(
    t("nav_overview"),
    h("div.hero", null, health(overview), tiles(overview)),
    active.length > 0 && card(t("active_deletions"), null, active.slice(0, 8).map(deletionCard)),
    card(t("queues"), null, queues.length ? queueTable(queues, may) : empty(t("queues_empty"))),
    python &&
      card(t("python_processes"), h("span.badge.calm", null, word("isolation", python.isolation)), pythons(python)),
    h(
      "div.columns",
      null,
      card(t("running_here"), null, running.length ? runningTable(running) : empty(t("running_empty"))),
      h(
        "div.stack",
        null,
        card(t("workers"), null, workers.length ? workers.map(worker) : empty(t("workers_empty"))),
        card(t("scheduler"), null, scheduler(overview.scheduler, overview.reasons)),
        overview.process.role !== "worker" && card(t("cleanup"), null, cleanup(overview.cleanup)),
      ),
    ),
  );
}

function health({ status, reasons }) {
  return h(
    "section.card.health",
    { class: tone(status), "aria-label": t("health") },
    h("p.eyebrow", null, t("health")),
    h("p.health-word", null, h("span.lamp", { "aria-hidden": "true" }), word("status", named(status, reasons))),
    reasons.length === 0
      ? h("p.muted", null, t("health_fine"))
      : h(
          "ul.reasons",
          null,
          reasons.map((one) => h("li", { class: one.severity }, t(`reason_${one.code}`, one))),
        ),
  );
}

// What is named by the worst reason, and not by the status alone.
const BY_REASON = {
  jobs_cannot_run: "hindered",
  queue_not_served: "unserved",
  broker_refuses_writes: "refusing",
  database_refuses_writes: "refusing",
};

function named(status, reasons) {
  if (status === "healthy" && reasons.length > 0) return "noted";
  return BY_REASON[reasons[0]?.code] ?? status;
}

function tiles({ totals, per_minute, process }) {
  const tile = (label, value, note, look, href) =>
    h(
      href ? "a.tile" : "div.tile",
      { class: look, href },
      h("span.tile-label", null, label),
      h("span.tile-value", null, number(value)),
      h("span.tile-note", null, note ?? ""),
    );
  return h(
    "div.tiles",
    null,
    tile(
      t("waiting"),
      totals.queued,
      totals.scheduled > 0 && t("scheduled_more", { n: totals.scheduled }),
      "",
      "#/jobs?state=queued",
    ),
    tile(
      t("running"),
      totals.started,
      process.slots > 0 && t("slots_of", { n: process.slots }),
      "",
      "#/jobs?state=started",
    ),
    tile(t("per_minute"), per_minute, t("finished_kept", { n: totals.finished }), "", "#/jobs?state=finished"),
    tile(t("failed"), totals.failed, "", totals.failed > 0 ? "bad" : "", "#/jobs?state=failed"),
  );
}

function queueTable(queues, may) {
  const end = (text) => ({ text, end: true });
  const heads = [
    t("queue"),
    t("chart"),
    end(t("waiting")),
    end(t("running")),
    end(t("finished")),
    end(t("failed")),
    end(t("rate")),
    end(t("listeners")),
    "",
  ];
  return table(
    t("queues"),
    heads,
    queues.map((queue) => {
      const cell = (value, state, look = "") =>
        h(
          "td.end",
          null,
          value > 0
            ? h(
                "a.number",
                { class: look, href: `#/jobs?queue=${encodeURIComponent(queue.name)}&state=${state}` },
                number(value),
              )
            : h("span.zero", null, "0"),
        );
      return h(
        "tr",
        { "data-key": queue.name },
        h(
          "th",
          { scope: "row" },
          ltr(queue.name),
          queue.paused && h("span.badge.odd", null, t("paused_by", { name: queue.paused_by })),
        ),
        h("td", null, spark(queue.depth, queue.done, t("chart_label", { queue: queue.name }))),
        cell(queue.queued, "queued"),
        cell(queue.started, "started"),
        cell(queue.finished, "finished"),
        cell(queue.failed, "failed", "bad-text"),
        h("td.end", null, number(queue.per_minute)),
        h("td.end", null, queue.workers > 0 ? number(queue.workers) : h("span.zero", null, "0")),
        h(
          "td.end",
          null,
          may &&
            (queue.paused
              ? button(
                  t("resume"),
                  "resume-queue",
                  { queue: queue.name },
                  { "aria-label": t("resume_queue", { queue: queue.name }) },
                )
              : button(
                  t("pause"),
                  "pause-queue",
                  { queue: queue.name },
                  { class: "quiet", "aria-label": t("pause_queue", { queue: queue.name }) },
                )),
        ),
      );
    }),
  );
}

function runningTable(running) {
  return table(
    t("running_here"),
    [t("function"), t("queue"), t("attempt"), t("since"), t("progress")],
    running.map((job) =>
      h(
        "tr",
        { "data-key": job.job_id },
        h(
          "th",
          { scope: "row" },
          h("a", { href: `#/jobs/${encodeURIComponent(job.job_id)}` }, functionName(job.function)),
        ),
        h("td", null, ltr(job.queue)),
        h("td", null, number(job.attempt)),
        h("td", null, since(job.since)),
        h("td.wide", null, job.total > 0 ? bar((job.processed * 100) / job.total, t("progress")) : "–"),
      ),
    ),
  );
}

function pythons({ hindrance, processes, workers }) {
  const several = workers.length > 1;
  const end = (text) => ({ text, end: true });
  return [
    hindrance && h("p.callout.bad", { role: "status" }, ltr(hindrance)),
    processes.length === 0
      ? empty(t("python_empty"))
      : table(
          t("python_processes"),
          [
            t("process"),
            ...(several ? [t("python_worker")] : []),
            t("state"),
            t("job"),
            end(t("jobs_done")),
            end(t("memory")),
            t("since"),
          ],
          processes.map((one) =>
            h(
              "tr",
              { "data-key": String(one.pid) },
              h("th", { scope: "row" }, ltr(String(one.pid))),
              several && h("td", null, ltr(one.worker)),
              h("td", null, badge(one.state, "python")),
              h(
                "td",
                null,
                one.job_id ? h("a", { href: `#/jobs/${encodeURIComponent(one.job_id)}` }, ltr(one.job_id)) : "–",
              ),
              h("td.end", null, number(one.jobs)),
              h("td.end", null, one.memory == null ? "–" : ltr(t("mebibytes", { n: one.memory / 1_048_576 }))),
              h("td", null, since(one.since)),
            ),
          ),
        ),
  ];
}

function worker(one) {
  return h(
    "div.worker",
    { "data-key": one.id },
    h("p", null, h("strong", null, ltr(one.host)), one.here && h("span.badge.calm", null, t("this_process"))),
    h("p.muted", null, tell("process_of", { pid: String(one.pid), time: since(one.started_at) })),
    h(
      "p.chips",
      null,
      one.queues.map((name) => h("span.chip", null, ltr(name))),
    ),
  );
}

function scheduler(one, reasons) {
  // A worker that was started without one needs none until a job waits for its time.
  const missed = reasons.some(({ code }) => code === "no_scheduler");
  return [
    h(
      "p",
      { class: missed ? "bad-text" : "" },
      one.lock_held && [badge("running", "child"), " "],
      t(one.lock_held ? "scheduler_ok" : missed ? "scheduler_off" : "scheduler_none"),
    ),
    one.last_tick && h("p.muted", null, tell("last_tick", { time: since(one.last_tick) })),
  ];
}

function cleanup(one) {
  if (!one || (one.pending === 0 && one.parked === 0)) return h("p.muted", null, t("cleanup_none"));
  return [
    h(
      "p",
      { class: one.alarm ? "bad-text" : "" },
      t("cleanup_pending", { n: one.pending, time: span(one.oldest_seconds ?? 0) }),
    ),
    h(
      "p.muted",
      null,
      [
        one.refused > 0 && t("cleanup_refused", { n: one.refused }),
        one.parked > 0 && t("cleanup_parked", { n: one.parked }),
      ]
        .filter(Boolean)
        .join(" · "),
    ),
    one.last_error && h("p.error-line", null, ltr(one.last_error)),
  ];
}
