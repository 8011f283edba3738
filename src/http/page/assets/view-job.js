// One job of a queue: what it is, what happened to it, why it failed.

import { bar } from "./charts.js";
import { h, ltr } from "./dom.js";
import { number, span, t, time, word } from "./i18n.js";
import { badge, button, card, facts, page, problem } from "./parts.js";
import { state } from "./state.js";

export function job() {
  const { detail, problem: wrong } = state.job;
  const back = h("p.back", null, h("a", { href: "#/jobs" }, t("back_to_jobs")));
  if (wrong) return [back, ...page(t("job"), problem(wrong, "job-refresh"))];
  if (!detail) return [back, ...page(t("job"), h("p.loading", null, t("loading")))];
  const live = state.board.running?.find((one) => one.job_id === detail.id);
  const waits = ["queued", "scheduled"].includes(detail.state), ended = ["failed", "canceled"].includes(detail.state);
  return [back,
    h("div.page-head", null,
      h("div", null, h("h1", null, ltr(detail.function.split(".").pop())), h("p.under", null, ltr(detail.function), " · ", ltr(detail.id))),
      h("div.head-side", null, badge(detail.state),
        ended && button(t("retry"), "job-retry", { id: detail.id }, { class: "primary" }),
        waits && button(t("cancel"), "job-cancel", { id: detail.id }, { class: "danger" }))),
    live?.total > 0 && card(t("progress"), null, bar((live.processed * 100) / live.total, t("progress")),
      h("p.counts", null, h("strong", null, number(live.processed)), ` ${t("of")} `, h("strong", null, number(live.total)))),
    h("div.columns.even", null,
      card(t("timeline"), null, h("ol.timeline", null, detail.timeline.map((one) =>
        h("li", null, h("span", null, word("event", one.event)), h("time.muted", { datetime: one.at }, time(one.at)))))),
      card(t("job"), null, facts([
        [t("queue"), ltr(detail.queue)],
        [t("attempt"), number(detail.attempt)],
        [t("failures"), number(detail.failures)],
        detail.orphaned > 0 && [t("orphaned"), number(detail.orphaned)],
        detail.timeout_seconds != null && [t("timeout"), detail.timeout_seconds < 0 ? t("no_end") : span(detail.timeout_seconds)],
        detail.retries_left != null && [t("retries_left"), number(detail.retries_left)],
      ]), detail.deletion != null && h("p", null, h("a", { href: `#/deletions/${detail.deletion}` }, t("carries", { id: String(detail.deletion) }))))),
    detail.error_text && card(t("error"), null, pre(detail.error_text, "bad")),
    card(t("arguments"), null, pre(written(detail.args))),
    detail.result != null && card(t("result"), null, pre(written(detail.result)))];
}

function written(value) {
  const { positional, named } = value ?? {};
  if (Array.isArray(positional) && named) {
    const parts = [...positional.map((one) => JSON.stringify(one)), ...Object.entries(named).map(([name, one]) => `${name}=${JSON.stringify(one)}`)];
    return `(${parts.join(", ")})`;
  }
  return JSON.stringify(value, null, 2);
}

function pre(text, look) {
  return h("pre", { dir: "ltr", class: look, tabindex: 0 }, h("code", null, text));
}

