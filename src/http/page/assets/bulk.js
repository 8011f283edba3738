// Changes of many jobs: the filter that is shown is confirmed, then the jobs are changed step by step.

import { bar } from "./charts.js";
import { CallProblem, call } from "./client.js";
import { ask, dialogElement, say } from "./dialog.js";
import { h } from "./dom.js";
import { number, t } from "./i18n.js";
import { told } from "./parts.js";
import { state } from "./state.js";

/** How many ids are named before the change. */
const NAMED = 8;

/** A step may be sent twice without harm, so it needs no idempotency key. */
const send = (wish) => call("POST", "/jobs/bulk", wish, { once: false });

export async function bulk(action) {
  const { search, queue, state: word } = state.jobs.shown;
  const wish = { action, search: search || null, queue: queue || null, state: word || null };
  const first = await send(wish);
  if (first.matching === 0 && first.complete) return say(t("bulk_none"));
  const n = first.complete ? number(first.matching) : t("about_n", { n: first.matching });
  const list = h(
    "ul.kept",
    null,
    first.ids.slice(0, NAMED).map((id) => h("li", { dir: "ltr" }, id)),
    (first.ids.length > NAMED || !first.complete) && h("li", null, "…"),
  );
  if (
    !(await ask({
      title: t(`bulk_${action}_title`, { n, count: first.matching }),
      text: t("bulk_text"),
      go: t(action),
      danger: action === "cancel",
      list,
    }))
  )
    return;
  const done = await steps(wish, first);
  if (!done.done) return say(t("bulk_stopped", { n: done.changed }), "bad");
  say(t("bulk_done", { n: done.changed, of: done.changed + done.refused, count: done.changed + done.refused }), "good");
  if (!done.complete) say(t("bulk_part"));
}

/** Sends steps until all is done or the user stops it. The result so far is always reported. */
async function steps(wish, first) {
  let at = { changed: 0, refused: 0, confirm: first.confirm, done: false };
  const progress = watch(wish.action, first);
  const stay = (event) => event.preventDefault();
  addEventListener("beforeunload", stay);
  try {
    while (!at.done && !progress.stopped) {
      progress.show(at);
      try {
        at = await send({ ...wish, confirm: at.confirm });
      } catch (error) {
        if (!(error instanceof CallProblem)) throw error;
        if (!(await progress.broken(error, at))) break;
      }
    }
    return at;
  } finally {
    removeEventListener("beforeunload", stay);
    progress.end();
  }
}

/** A dialog that shows the progress, and asks whether to continue when a step has failed. */
function watch(action, { matching }) {
  const dialog = dialogElement();
  const shown = h("div", null),
    line = h("p", { role: "status" }),
    foot = h("div.dialog-foot", null);
  const button = (text, look, act) => {
    const made = h("button", { type: "button", class: look, id: `bulk-${act.name}` }, text);
    made.addEventListener("click", act);
    return made;
  };
  const self = {
    stopped: false,
    show({ changed, refused }) {
      const of = Math.max(matching, changed + refused);
      dialog.oncancel = stop;
      shown.replaceChildren(bar(of ? ((changed + refused) * 100) / of : 0, t("progress")));
      line.textContent = t("bulk_progress", { n: changed, of, count: of });
      foot.replaceChildren(button(t("bulk_stop"), "quiet", stop));
    },
    broken(error, { changed }) {
      line.textContent = `${told(error)} ${t("bulk_broken", { n: changed })}`;
      return new Promise((answer) => {
        const go = () => answer(true),
          leave = () => answer(false);
        foot.replaceChildren(button(t("bulk_go_on"), "primary", go), button(t("close"), "quiet", leave));
        dialog.oncancel = leave;
      });
    },
    end() {
      dialog.oncancel = null;
      dialog.close();
    },
  };
  function stop(event) {
    event.preventDefault();
    self.stopped = true;
    line.textContent = t("bulk_stopping");
  }
  dialog.replaceChildren(h("h2", { id: "dialog-title" }, t(`bulk_${action}_goes_on`)), shown, line, foot);
  dialog.showModal();
  return self;
}
