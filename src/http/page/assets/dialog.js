// Messages and questions of the page.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/** The only dialog of the page. */
export const dialogElement = () => /** @type {HTMLDialogElement} */ (document.getElementById("dialog"));

/** Shows a message for a moment; screen readers read it. */
export function say(text, look = "") {
  const toast = h("p.toast", { class: look }, text);
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), 6000);
}

/** Asks before something that cannot be taken back. With `typed`, that text must be written first.
 * @param {{ title: string, text: string, go: string, danger?: boolean, typed?: string, list?: Node }} question */
export function ask({ title, text, go, danger, typed, list }) {
  const dialog = dialogElement();
  return new Promise((answer) => {
    const input =
      typed &&
      h("input", {
        id: "typed",
        type: "text",
        inputmode: "numeric",
        autocomplete: "off",
        dir: "ltr",
        "aria-label": t("tenant_number"),
      });
    const yes = h(
      "button",
      { type: "button", id: "dialog-yes", class: danger ? "danger" : "primary", disabled: Boolean(typed) },
      go,
    );
    const no = h("button.quiet", { type: "button", id: "dialog-no" }, t("cancel_dialog"));
    dialog.replaceChildren(
      h("h2", { id: "dialog-title" }, title),
      h("p", null, text),
      list ?? "",
      input ?? "",
      h("div.dialog-foot", null, no, yes),
    );
    input?.addEventListener("input", () => {
      yes.disabled = input.value.trim() !== typed;
    });
    const end = (value) => {
      dialog.close();
      answer(value);
    };
    yes.addEventListener("click", () => end(true));
    no.addEventListener("click", () => end(false));
    dialog.oncancel = () => answer(false);
    dialog.showModal();
  });
}
