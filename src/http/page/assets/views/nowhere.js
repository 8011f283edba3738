// The view for an invalid address.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { card, page } from "../parts.js";

export function nowhere() {
  return page(
    t("nowhere"),
    card(null, null, h("p", null, t("nowhere_text")), h("p", null, h("a", { href: "#/overview" }, t("nowhere_back")))),
  );
}
