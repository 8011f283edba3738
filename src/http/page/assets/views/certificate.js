// The certificate of a deletion, on the page and on paper.

import { h, ltr } from "../dom.js";
import { number, t, word } from "../i18n.js";
import { button, facts } from "../parts.js";

export function certificate({ certificate: said, hash, signature }) {
  const { deletion, objects } = said;
  // As they are in the record: on paper nobody knows of which zone a local time is.
  const at = (moment) => (moment ? ltr(moment) : "–");
  const count = (value) => (value == null ? t("not_counted") : number(value));
  return h(
    "section.card.certificate",
    null,
    h("div.card-head", null, h("h2", null, t("certificate_of", { id: deletion.id })), button(t("print"), "print")),
    h(
      "p.callout",
      { class: said.final ? "calm" : "odd" },
      said.final ? t("certificate_final") : t("certificate_provisional", { n: objects.owed }),
    ),
    said.counts_missing && h("p.callout.odd", null, t("counts_missing")),
    facts([
      [t("tenant"), ltr(deletion.tenant)],
      [t("requester"), deletion.requester ? ltr(deletion.requester) : "–"],
      [t("outcome"), word("state", deletion.outcome)],
      [t("attempts"), number(deletion.attempts)],
      [t("created"), at(deletion.requested_at)],
      [t("first_moment"), at(deletion.first_moment)],
      [t("last_moment"), at(deletion.last_moment)],
      ...said.tables.map(({ table, rows }) => [t("rows_gone", { table }), count(rows)]),
      [t("objects_deleted"), count(objects.deleted)],
      [t("objects_owed"), number(objects.owed)],
      [t("objects_parked"), number(objects.parked)],
      [t("objects_needed"), count(objects.needed_again)],
      ...said.kept.map(({ table, rows, why }) => [t("rows_kept", { table, why: word("why", why) }), number(rows)]),
      [t("receipts_set_aside"), number(said.set_aside)],
      ...said.tables.map(({ table, condition }) => [t("condition_of", { table }), ltr(condition, "code")]),
      [t("issued"), at(said.issued_at)],
      [t("issued_by"), ltr(`Tikkun ${said.version}`)],
      [t("place_in_chain"), number(said.sequence)],
      [t("hash"), ltr(hash, "code")],
      [t("hash_before"), ltr(said.previous, "code")],
      [t("public_key"), said.key ? ltr(said.key, "code") : t("unsigned")],
      signature && [t("signature"), ltr(signature, "code")],
    ]),
  );
}
