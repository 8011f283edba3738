// The supervised actors: their supervisors, restarts and panics.

import { h, ltr } from "../dom.js";
import { number, t, tell, time } from "../i18n.js";
import { badge, card, empty, page, table } from "../parts.js";
import { since } from "../times.js";

export function tree({ tree }) {
  if (!tree) return page(t("tree"), h("p.loading", null, t("loading")));
  const tops = tree.children.filter(
    (one) => !one.supervisor || !tree.children.some((other) => other.name === one.supervisor),
  );
  const end = (text) => ({ text, end: true });
  return page(
    t("tree"),
    h("p.lead", null, t("tree_text")),
    tree.stuck_threads > 0 &&
      h("p.callout.bad", { role: "status" }, t("reason_stuck_threads", { count: tree.stuck_threads })),
    h(
      "div.columns.even",
      null,
      card(
        null,
        null,
        tops.length
          ? h(
              "ul.tree",
              null,
              tops.map((top) => branch(top, tree.children)),
            )
          : empty(t("tree_empty")),
      ),
      card(
        t("roles"),
        null,
        table(
          t("roles"),
          [t("role"), end(t("present")), end(t("ever_started")), end(t("restarts")), end(t("panics"))],
          tree.roles.map((one) =>
            h(
              "tr",
              { "data-key": one.role },
              h("th", { scope: "row" }, ltr(one.role), one.last_panic && panic(one.last_panic)),
              h("td.end", null, number(one.present)),
              h("td.end", null, number(one.started)),
              h("td.end", { class: one.restarts > 0 ? "odd-text" : "zero" }, number(one.restarts)),
              h("td.end", { class: one.panics > 0 ? "bad-text" : "zero" }, number(one.panics)),
            ),
          ),
        ),
      ),
    ),
  );
}

function branch(child, all) {
  const below = all.filter((one) => one.supervisor === child.name);
  return h(
    "li",
    { "data-key": child.name },
    h(
      "div.node",
      null,
      h("span.node-name", null, ltr(child.name)),
      badge(child.state, "child"),
      h("span.muted", null, tell("for_time", { time: since(child.since) })),
      child.restarts > 0 && h("span.badge.odd", null, t("restarts_n", { n: child.restarts })),
    ),
    child.last_panic && panic(child.last_panic),
    below.length > 0 &&
      h(
        "ul",
        null,
        below.map((one) => branch(one, all)),
      ),
  );
}

function panic(one) {
  return h(
    "details.panic",
    null,
    h("summary", null, ltr(one.message.slice(0, 80))),
    h("p", null, ltr(one.message)),
    h("p.muted", null, ltr(one.place, "code"), " · ", time(one.at)),
  );
}
