// One deletion as its business sees it, with more details for operators.

import { rateChart } from "../charts.js";
import { h, ltr } from "../dom.js";
import { number, secondsBetween, span, t, time } from "../i18n.js";
import { badge, button, card, deletionBar, eta, facts, heading, page, problem, progressLine, table } from "../parts.js";
import { certificate } from "./certificate.js";

export function deletion({ deletion: { id, detail, sealed, problem: wrong }, deletions, overview, may }) {
  const back = h("p.back", null, h("a", { href: "#/deletions" }, t("back_to_deletions")));
  const one = deletions?.find((row) => String(row.job_id) === id) ?? detail;
  if (!one)
    return [
      back,
      ...page(t("deletion", { id }), wrong ? problem(wrong, "deletion-refresh") : h("p.loading", null, t("loading"))),
    ];
  return [
    back,
    heading(
      t("deletion", { id: String(one.job_id) }),
      h("p.muted", null, t("tenant_n", { id: String(one.business_id) })),
      badge(one.status),
      ENDED.includes(one.status) && button(t("certificate"), "certificate", { id: one.job_id }),
      may && buttons(one),
    ),
    sealed && certificate(sealed),
    h(
      "section.card.progress-card",
      null,
      h(
        "div.live-head",
        null,
        h("h2", null, t("deleting")),
        h("span.live-percent", null, `${number(one.percent, 1)}%`),
      ),
      deletionBar(one),
      progressLine(one),
      note(one),
    ),
    h(
      "div.columns.even",
      null,
      card(
        t("pace"),
        null,
        facts([
          [
            t("rate_now"),
            one.status === "running" && one.rate_per_second != null && one.eta_low != null
              ? t("per_second", { n: Math.round(one.rate_per_second) })
              : "–",
          ],
          [t("eta"), one.status === "running" ? eta(one) : "–"],
          [t("attempt"), number(one.attempt)],
        ]),
        rateChart(one.rates ?? [], t("speed_label")),
        why(one, overview?.process),
      ),
      card(
        t("timeline"),
        null,
        facts([
          [t("created"), time(one.created_at)],
          [t("started"), time(one.started_at)],
          [t("ended"), time(one.finished_at)],
          one.finished_at &&
            one.started_at && [
              t("progress"),
              t("took", { time: span(secondsBetween(one.started_at, one.finished_at)) }),
            ],
          one.queue_job && [
            t("job"),
            h("a", { href: `#/jobs/${encodeURIComponent(one.queue_job)}` }, ltr(one.queue_job.slice(0, 8))),
          ],
        ]),
        one.changed_by && h("p.muted", null, t("changed_by", { name: one.changed_by })),
      ),
    ),
    one.last_error && card(t("last_error"), null, h("pre.bad", { dir: "ltr", tabindex: 0 }, one.last_error)),
    detail?.failed_rows?.length > 0 &&
      card(
        t("failed_receipts"),
        null,
        table(
          t("failed_receipts"),
          [t("receipt"), t("reason")],
          detail.failed_rows.map((row) =>
            h("tr", null, h("th", { scope: "row" }, String(row.receipt_id)), h("td", null, ltr(row.reason))),
          ),
        ),
      ),
  ];
}

const ENDED = ["completed", "failed", "cancelled"];

function buttons(one) {
  const act = (label, action, look) =>
    button(label, "deletion", { id: one.job_id, action }, { class: look, id: `act-${action}` });
  return [
    ["queued", "running"].includes(one.status) && act(t("pause"), "pause"),
    one.status === "paused" && one.paused_by === "person" && act(t("resume"), "resume", "primary"),
    ["queued", "running", "paused"].includes(one.status) &&
      button(t("cancel"), "deletion-cancel", { id: one.job_id }, { class: "danger", id: "act-cancel" }),
    ["failed", "cancelled"].includes(one.status) && act(t("retry_deletion"), "retry", "primary"),
    one.failed_count > 0 &&
      !["queued", "running", "paused"].includes(one.status) &&
      act(t("retry_failed_rows"), "retry_failed_rows"),
  ];
}

function note(one) {
  if (one.is_stuck)
    return h("p.callout.bad", { role: "status" }, h("strong", null, t("stuck")), " ", ltr(one.stuck_reason, "span"));
  if (one.waiting_for) return h("p.callout.odd", null, t("waits_for", { what: one.waiting_for }));
  if (one.status === "paused") return h("p.callout.odd", null, t(`paused_${one.paused_by}`));
  return null;
}

function why(one, pace) {
  if (!pace || one.status !== "running") return null;
  return h(
    "details",
    null,
    h("summary", null, t("why_pace")),
    h(
      "p.muted",
      null,
      pace.throttle_ms > 0 ? t("pace_text", { ms: pace.throttle_ms, n: pace.batch }) : t("pace_unthrottled"),
    ),
  );
}
