// One job of a queue: its facts, its events and its attempts.

import { jobsAddress } from "../address.js";
import { bar } from "../charts.js";
import { h, ltr } from "../dom.js";
import { clock, number, span, t, time, word } from "../i18n.js";
import { badge, button, card, empty, facts, heading, page, problem, standing } from "../parts.js";
import { since } from "../times.js";

export function job({ job: { detail, log: logged, problem: wrong }, jobs, running, may }) {
  const back = h("p.back", null, h("a", { href: jobsAddress(jobs.filter) }, t("back_to_jobs")));
  if (wrong) return [back, ...page(t("job"), problem(wrong, "job-refresh"))];
  if (!detail) return [back, ...page(t("job"), h("p.loading", null, t("loading")))];
  const live = running?.find((one) => one.job_id === detail.id);
  return [
    back,
    heading(
      ltr(detail.function.split(".").pop()),
      h("p.under", null, ltr(detail.function), " · ", ltr(detail.id)),
      badge(standing(detail)),
      may && buttons(detail),
    ),
    live?.total > 0 &&
      card(
        t("progress"),
        null,
        bar((live.processed * 100) / live.total, t("progress")),
        h(
          "p.counts",
          null,
          h("strong", null, number(live.processed)),
          ` ${t("of")} `,
          h("strong", null, number(live.total)),
        ),
      ),
    h(
      "div.columns.even",
      null,
      card(
        t("timeline"),
        null,
        h(
          "ol.timeline",
          null,
          detail.timeline.map((one) =>
            h(
              "li",
              null,
              h("span", null, word("event", one.event)),
              h("time.muted", { datetime: one.at }, time(one.at)),
            ),
          ),
        ),
      ),
      card(
        t("job"),
        null,
        facts([
          [t("queue"), ltr(detail.queue)],
          [t("attempt"), number(detail.attempt)],
          [t("failures"), number(detail.failures)],
          detail.orphaned > 0 && [t("orphaned"), number(detail.orphaned)],
          detail.retries_asked > 0 && [t("retries_asked"), number(detail.retries_asked)],
          detail.timeout_seconds != null && [
            t("timeout"),
            detail.timeout_seconds < 0 ? t("no_end") : span(detail.timeout_seconds),
          ],
          detail.retries_left != null && [t("retries_left"), number(detail.retries_left)],
        ]),
        detail.deletion != null &&
          h(
            "p",
            null,
            h("a", { href: `#/deletions/${detail.deletion}` }, t("carries", { id: String(detail.deletion) })),
          ),
      ),
    ),
    attempts(detail),
    log(logged),
    card(t("arguments"), null, pre(detail.args_text)),
    detail.result_text != null && card(t("result"), null, pre(detail.result_text)),
  ];
}

function buttons(detail) {
  const waits = ["queued", "scheduled"].includes(detail.state),
    ended = ["failed", "canceled"].includes(detail.state);
  return [
    ended &&
      detail.deletion == null &&
      button(t("retry"), "job-retry", { id: detail.id }, { class: "primary", id: "act-retry" }),
    waits &&
      detail.deletion == null &&
      button(t("cancel"), "job-cancel", { id: detail.id }, { class: "danger", id: "act-cancel" }),
    detail.state === "started" &&
      detail.deletion == null &&
      button(t("stop"), "job-stop", { id: detail.id }, { class: "danger", id: "act-stop" }),
  ];
}

/** Attempts, newest first; the newest error is open, the others can be opened. */
function attempts(detail) {
  const all = detail.attempts;
  if (all.length === 0)
    return card(t("attempts"), null, detail.error_text ? pre(detail.error_text, "bad") : empty(t("attempts_empty")));
  return card(
    t("attempts"),
    null,
    h(
      "ol.attempts",
      null,
      all.map((one, index) =>
        h(
          "li.attempt",
          { "data-key": one.started_at + one.runner + one.number },
          h(
            "div.attempt-head",
            null,
            badge(one.outcome, "outcome"),
            one.number != null && h("strong", null, t("attempt_n", { n: one.number })),
            one.started_at && h("time.muted", { datetime: one.started_at }, time(one.started_at)),
            h(
              "span.muted",
              null,
              one.outcome === "running"
                ? since(one.started_at)
                : one.took_ms != null && t("took", { time: took(one.took_ms) }),
            ),
            one.runner && h("span.runner", { title: `${t("runner")}: ${one.runner}` }, ltr(short(one.runner))),
          ),
          one.error &&
            (index === 0
              ? pre(one.error, "bad")
              : h("details", null, h("summary", null, ltr(lastLine(one.error))), pre(one.error, "bad"))),
        ),
      ),
    ),
  );
}

/** The log lines of the job in this process; it names the process, because there may be more lines in others. */
function log(found) {
  if (!found) return null;
  const { lines, dropped, since: start } = found;
  if (lines.length === 0) return card(t("log"), null, empty(t("log_empty", { time: time(start) })));
  return card(
    t("log"),
    null,
    h(
      "p.muted.about",
      null,
      t("log_about", { time: time(start) }),
      dropped > 0 && ` ${t("log_dropped", { n: dropped })}`,
    ),
    h(
      "div.log",
      { dir: "ltr", tabindex: 0, role: "region", "aria-label": t("log") },
      h(
        "ol",
        null,
        lines.map((one, index) =>
          h(
            "li",
            { "data-key": `l${dropped + index}` },
            h("time", { datetime: one.at }, clock(one.at)),
            h("span.level", { class: one.level.toLowerCase() }, one.level),
            h("span", null, one.text),
          ),
        ),
      ),
    ),
  );
}

function took(ms) {
  return ms < 1000 ? t("span_ms", { ms }) : span(ms / 1000);
}

/** A process id is long; its first eight characters identify it. */
function short(runner) {
  return /^[0-9a-f-]{32,36}$/.test(runner) ? runner.slice(0, 8) : runner;
}

function lastLine(text) {
  return text.trimEnd().split("\n").pop();
}

function pre(text, look) {
  return h("pre", { dir: "ltr", class: look, tabindex: 0 }, h("code", null, text));
}
