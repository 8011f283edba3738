// The effective settings. Secrets were masked by the service.

import { h, ltr } from "../dom.js";
import { t } from "../i18n.js";
import { card, empty, page, problem, table } from "../parts.js";

export function config({ config: { entries, search, problem: wrong } }) {
  if (wrong) return page(t("config"), problem(wrong, "config-refresh"));
  if (!entries) return page(t("config"), h("p.loading", null, t("loading")));
  const found = entries.filter((one) => `${one.key} ${one.value}`.toLowerCase().includes(search.toLowerCase()));
  const sections = new Map();
  for (const one of found) {
    const name = one.key.split(".")[0];
    sections.set(name, [...(sections.get(name) ?? []), one]);
  }
  return page(
    t("config"),
    h("p.lead", null, t("config_text")),
    h(
      "form.filter",
      { "data-form": "config", role: "search" },
      h(
        "label",
        null,
        h("span", null, t("config_search")),
        h("input", {
          id: "config-search",
          name: "search",
          type: "search",
          value: search,
          "data-input": "config",
          dir: "ltr",
        }),
      ),
    ),
    found.length === 0 && card(null, null, empty(t("config_empty"))),
    [...sections].map(([name, rows]) =>
      h(
        "section.card.settings",
        { "data-key": name },
        h("div.card-head", null, h("h2", null, ltr(`[${name}]`, "code"))),
        table(
          name,
          [t("setting"), t("value"), t("origin")],
          rows.map((one) =>
            h(
              "tr",
              { "data-key": one.key },
              h("th.mono", { scope: "row" }, ltr(one.key.split(".").slice(1).join("."))),
              h("td.mono.value", null, ltr(one.value || "–")),
              h("td", { class: one.origin === "default" ? "muted" : "strong" }, ltr(one.origin)),
            ),
          ),
        ),
      ),
    ),
  );
}
