// Parts that several views use.

import { bar } from "./charts.js";
import { h, ltr } from "./dom.js";
import { number, secondsBetween, span, t, word } from "./i18n.js";

const GOOD = new Set(["finished", "completed", "running", "started", "healthy"]);
const BAD = new Set(["failed", "unhealthy", "hung", "lost"]);
const ODD = new Set(["paused", "restarting", "degraded", "warning", "canceled", "cancelled", "stopped"]);

export function tone(name) {
  return GOOD.has(name) ? "good" : BAD.has(name) ? "bad" : ODD.has(name) ? "odd" : "calm";
}

/** A state in words with its colour; the colour adds nothing to the word. */
export function badge(name, kind = "state") {
  return h("span.badge", { class: tone(name) }, word(kind, name));
}

/** The state of a job; one that a user stopped is shown as stopped, not as failed. */
export function standing(job) {
  return job.stopped ? "stopped" : job.state;
}

export function page(title, ...children) {
  return [heading(title), ...children];
}

/** The heading of a view, with a line below and elements beside it. It gets the focus when the view is opened. */
export function heading(title, under, ...side) {
  return h(
    "div.page-head",
    null,
    h("div.title", null, h("h1", { tabindex: -1 }, title), under),
    side.length > 0 && h("div.head-side", null, side),
  );
}

export function card(title, aside, ...children) {
  return h("section.card", null, title && h("div.card-head", null, h("h2", null, title), aside), ...children);
}

/** A text that says what to do next; a command in `backticks` stays left to right and in one piece. */
export function empty(text) {
  return h(
    "p.empty",
    null,
    text.split("`").map((part, index) => (index % 2 ? code(part) : part)),
  );
}

/** An error, with a way to try again. */
export function problem(error, again) {
  return h(
    "div.problem",
    { role: "alert" },
    h("p", null, told(error)),
    again && h("button", { type: "button", "data-act": again }, t("retry_load")),
  );
}

/** The text for a problem: the page's if there is one, else the service's. */
export function told(error) {
  const key = `problem_${error.code}`;
  const own = t(key);
  return own === key ? error.message : own;
}

export function button(label, act, data = {}, extra = {}) {
  const { class: look, ...more } = extra;
  const attributes = Object.fromEntries(Object.entries(data).map(([key, value]) => [`data-${key}`, value]));
  return h("button", { type: "button", class: look, "data-act": act, ...attributes, ...more }, label);
}

/** A table that scrolls by itself if the screen is narrow. */
export function table(label, heads, rows, more) {
  return h(
    "div.scroll",
    { tabindex: 0, role: "region", "aria-label": label },
    h(
      "table",
      more ?? null,
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          heads.map((head) => h("th", { scope: "col", class: head.end && "end" }, head.text ?? head)),
        ),
      ),
      h("tbody", null, rows),
    ),
  );
}

export function code(text) {
  return ltr(text, "code");
}

/** The last part of a dotted name first, because it says the most. */
export function functionName(name) {
  const short = name.split(".").pop();
  return h("span.fn", { title: name }, ltr(short, "code"));
}

export function progressLine(deletion) {
  return h(
    "p.counts",
    null,
    h("strong", null, number(deletion.processed)),
    ` ${t("of")} `,
    h("strong", null, number(deletion.total)),
    h("span.dot", { "aria-hidden": "true" }, "·"),
    h("span.good-text", null, `${number(deletion.succeeded)} ${t("deleted_ok", { n: deletion.succeeded })}`),
    deletion.failed_count > 0 && [
      h("span.dot", { "aria-hidden": "true" }, "·"),
      h("span.bad-text", null, `${number(deletion.failed_count)} ${t("failed_rows", { n: deletion.failed_count })}`),
    ],
  );
}

export function deletionBar(deletion) {
  const look =
    deletion.status === "failed"
      ? "bad"
      : deletion.status === "paused"
        ? "odd"
        : deletion.status === "completed"
          ? "good"
          : "";
  return bar(deletion.percent, t("deletion", { id: deletion.job_id }), look);
}

/** The remaining time as a range; a text while there is too little data. */
export function eta(deletion) {
  const { eta_low: low, eta_high: high } = deletion;
  if (low == null) return t("estimating");
  if (high == null || high - low < 2 || high < low * 1.15) return t("eta_about", { low: span(low) });
  return t("eta_range", { low: span(low), high: span(high) });
}

export function deletionCard(deletion) {
  return h(
    "article.deletion",
    { "data-key": `d${deletion.job_id}` },
    h(
      "div.deletion-head",
      null,
      h("a.strong", { href: `#/deletions/${deletion.job_id}` }, t("deletion", { id: deletion.job_id })),
      h("span.muted", null, t("tenant_n", { id: deletion.business_id })),
      badge(deletion.status),
      h("span.percent", null, `${number(deletion.percent, 1)}%`),
    ),
    deletionBar(deletion),
    h(
      "div.deletion-foot",
      null,
      progressLine(deletion),
      deletion.status === "running" &&
        h(
          "p.muted",
          null,
          deletion.rate_per_second != null &&
            deletion.eta_low != null && [t("per_second", { n: Math.round(deletion.rate_per_second) }), " · "],
          h("span.eta", null, deletion.eta_low == null ? t("estimating") : t("time_left", { time: eta(deletion) })),
        ),
      deletion.finished_at &&
        h(
          "p.muted",
          null,
          t("took", { time: span(secondsBetween(deletion.started_at ?? deletion.created_at, deletion.finished_at)) }),
        ),
    ),
    deletion.is_stuck && h("p.bad-text", null, t("stuck")),
  );
}

export function facts(pairs) {
  return h(
    "dl.facts",
    null,
    pairs.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );
}
