// The sign-in.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { told } from "../parts.js";

export function signin({ signin: { problem, busy } }) {
  return [
    h(
      "section.signin",
      null,
      h("img.signin-mark", { src: "page/mark.svg", alt: "", width: 56, height: 56 }),
      h("h1", { tabindex: -1 }, "Tikkun"),
      h("p.muted", null, t("brand_line")),
      h(
        "form",
        { "data-form": "signin", autocomplete: "on" },
        h("p", null, t("sign_in_text")),
        h(
          "label",
          null,
          h("span", null, t("your_name")),
          h("input", {
            id: "name",
            name: "name",
            type: "text",
            autocomplete: "username",
            maxlength: 60,
            "aria-describedby": "name-hint",
          }),
        ),
        h("p.hint", { id: "name-hint" }, t("your_name_hint")),
        h(
          "label",
          null,
          h("span", null, t("secret")),
          h("input", {
            id: "secret",
            name: "secret",
            type: "password",
            autocomplete: "current-password",
            required: true,
            dir: "ltr",
            "aria-describedby": problem ? "signin-problem" : undefined,
          }),
        ),
        problem && h("p.bad-text", { id: "signin-problem", role: "alert" }, told(problem)),
        h("button.primary", { type: "submit", disabled: busy }, t("sign_in")),
      ),
    ),
  ];
}
