// Deletions: a search for one business, with the plan of a deletion, and the list of active and ended ones.

import { h, ltr } from "../dom.js";
import { bytes, number, span, t } from "../i18n.js";
import { button, card, deletionCard, empty, page, problem } from "../parts.js";

export function deletions({ deletions: all, tenant: looked, may }) {
  return page(
    t("deletions"),
    tenant(looked, all, may),
    card(
      t("recent"),
      null,
      all === undefined
        ? h("p.loading", null, t("loading"))
        : all.length
          ? all.map(deletionCard)
          : empty(t("deletions_empty")),
    ),
  );
}

function tenant({ id, found, plan, problem: wrong, busy }, all, may) {
  return card(
    t("tenant"),
    null,
    h(
      "form.lookup",
      { "data-form": "tenant" },
      h(
        "label",
        null,
        h("span", null, t("tenant_number")),
        h("input", {
          id: "tenant",
          name: "tenant",
          type: "text",
          inputmode: "numeric",
          pattern: "[0-9]+",
          required: true,
          value: id,
          dir: "ltr",
        }),
      ),
      h("button.primary", { type: "submit", disabled: busy }, busy ? t("loading") : t("look_up")),
    ),
    wrong && problem(wrong),
    found &&
      h(
        "div.tenant",
        null,
        h(
          "p.tenant-head",
          null,
          h("strong", null, t("tenant_n", { id: String(found.business_id) })),
          h("span.muted", null, t("tenant_receipts", { n: found.receipts })),
        ),
        found.deletion && deletionCard(all?.find((one) => one.job_id === found.deletion.job_id) ?? found.deletion),
        found.receipts === 0 ? empty(t("tenant_none")) : plan && dryRun(found, plan, may),
      ),
  );
}

function dryRun(found, plan, may) {
  const figure = (value, label) =>
    h("div.figure", null, h("span.figure-value", null, value), h("span.muted", null, label));
  const active = found.deletion && ["queued", "running", "paused"].includes(found.deletion.status);
  return h(
    "section.plan",
    { "aria-label": t("dry_run") },
    h("h3", null, t("dry_run")),
    h("p.muted", null, t("dry_run_text")),
    h(
      "div.figures",
      null,
      figure(number(plan.receipts), t("plan_receipts", { n: plan.receipts })),
      figure(number(plan.objects), t("plan_files", { n: plan.objects })),
      figure(ltr(bytes(plan.bytes)), t("plan_bytes")),
      figure(span(plan.seconds), t(plan.basis === "last_rate" ? "plan_time" : "plan_time_least")),
    ),
    plan.kept.length > 0 && [
      h("h4", null, t("plan_kept")),
      h(
        "ul.kept",
        null,
        plan.kept.map((one) =>
          h(
            "li",
            null,
            h("strong", null, number(one.count)),
            " ",
            t(`kept_${one.reason}`, { n: one.count }),
            one.reference && [" ", ltr(one.reference, "code")],
          ),
        ),
      ),
    ],
    may &&
      !active &&
      plan.receipts > 0 &&
      button(
        t("delete_all"),
        "delete-all",
        { tenant: found.business_id, receipts: plan.receipts },
        { class: "danger" },
      ),
  );
}
