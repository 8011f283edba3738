//! The queries that respect foreign keys from unknown tables and what lies beneath `receipts` and `attachments`.

use super::beneath::Beneath;
use super::beneath_sql::{NAMES, WIDER_FINGERPRINT};
use super::reference_sql::{BOUND_BY, FINGERPRINT, HIDES};
use crate::store::keep_rules::{SUMS, Tie, all_hold, before_ties, first_broken, heeded, text};

/// A foreign key to attachments.
struct Reference {
    child: String,
    child_column: String,
    parent_column: String,
    shown: String,
    /// Whether it deletes receipts with their attachment. They must stay, with a cleared pointer.
    drops_receipts: bool,
    /// It leads from one attachment to another.
    ties: bool,
}

/// The row of a foreign key.
pub(super) type Listed = (String, String, String, String, bool, bool);

impl From<Listed> for Reference {
    fn from((child, child_column, parent_column, shown, drops_receipts, ties): Listed) -> Self {
        Self { child, child_column, parent_column, shown, drops_receipts, ties }
    }
}

/// The queries that respect foreign keys.
pub(super) struct Queries {
    /// The foreign keys and the tables for which these were built.
    pub(super) fingerprint: String,
    /// The tables of which receipts and attachments are a part.
    pub(super) beneath: Beneath,
    /// Finds those of the locked attachments `$2` that nothing live needs after the receipts `$3` are
    /// deleted, in one row. Nothing needed `$4` before these were marked.
    pub(super) candidates: String,
    /// The same for all receipts of a tenant, as sums: attachments, objects and bytes by the first condition
    /// that does not hold and by reference.
    pub(super) plan: String,
}

/// What [`Queries`] depend on, as one text.
pub(super) fn fingerprint_now() -> String {
    format!("concat(({FINGERPRINT}), '|', ({WIDER_FINGERPRINT}))")
}

impl Queries {
    /// Builds them for these foreign keys and tables.
    pub(super) fn new(fingerprint: String, listed: Vec<Listed>, beneath: Beneath) -> Self {
        let (ties, others) = apart(listed.into_iter().map(Reference::from).collect());
        let looked = before_ties(&ties);
        let unseen = beneath.unseen.as_ref().map(|table| format!("when true then {} ", text(table)));
        let needed = kept(&others, &beneath.kept("pointing"));
        let candidates = candidates(&ties, &needed, looked, &beneath.revivable());
        let needed = kept(&others, &(beneath.kept("receipts") + &unseen.unwrap_or_default()));
        let plan = plan(&ties, &needed, looked);
        Self { fingerprint, beneath, candidates, plan }
    }
}

fn candidates(ties: &[Tie], kept: &str, looked: &str, revivable: &str) -> String {
    let fingerprint = fingerprint_now();
    format!(
            "
    with recursive gone as materialized (select unnest($3::bigint[]) as id), earlier as materialized (select unnest($4::bigint[]) as id),
    held as materialized (
        select a.id, coalesce(a.storage_path, '') as path from attachments a
        where a.id = any((select $2::bigint[])::bigint[])),
    sharing as materialized (
        select o.id, o.ours, o.path
        from (select distinct path from held where path <> '') p cross join lateral (
            select a.id, a.storage_path as path,
                   a.business_id + 0 = $1 and a.purpose in ('receipt_source', 'receipt_preview') as ours
            from attachments a where a.storage_path = p.path offset 0) o),
    pointing as materialized (
        select r.id, r.attachment_id, r.preview_attachment_id, r.is_deleted from receipts r
        where r.attachment_id = any((select $2::bigint[])::bigint[])
           or r.preview_attachment_id = any((select $2::bigint[])::bigint[])),
    {looked} as materialized (
        select a.id, coalesce(a.storage_path, '') as path, {kept} as reference
        from attachments a
        where a.id = any((select $2::bigint[])::bigint[]) and {}){},
    free as materialized (select id, path from looked where reference is null),
    kept as materialized (select path, ours from sharing where id not in (select id from free))
    select array(select id::bigint from free where path not in (select path from kept) order by id),
           array(select id::bigint from looked where reference is not null order by id),
           array(select reference from looked where reference is not null order by id),
           {fingerprint},
           array(select distinct id::bigint from pointing where is_deleted is true order by 1),
           array(select id::bigint from sharing
                 where ours and id not in (select id from held) order by 1),
           array(select id::bigint from free
                 where path in (select path from kept) and path not in (select path from kept where ours is not true)),
           {revivable}, ({HIDES}), ({BOUND_BY}), ({NAMES})",
            all_hold("pointing"),
            heeded(ties, "", "reference is null")
        )
}

fn plan(ties: &[Tie], kept: &str, looked: &str) -> String {
    let broken = first_broken();
    format!(
        "
    with recursive pointed as materialized (
             select attachment_id as id from receipts
             where business_id = $1 and is_deleted is not true and attachment_id is not null
             union
             select preview_attachment_id from receipts
             where business_id = $1 and is_deleted is not true and preview_attachment_id is not null),
    sharing as materialized (
             select distinct o.id
             from pointed join attachments p on p.id = pointed.id
             join attachments o on o.storage_path = p.storage_path and o.id <> p.id
             where p.storage_path <> '' and o.id not in (select id from pointed)
               and (exists (select 1 from receipts r where r.attachment_id = o.id)
                    or exists (select 1 from receipts r where r.preview_attachment_id = o.id))),
    {looked} as materialized (
             select a.id, w.asked, coalesce(a.storage_path, '') as path, a.file_size,
                    {broken} as broken, {kept} as reference
             from (select id, true as asked from pointed union all select id, false from sharing) w
             join attachments a on a.id = w.id){},{SUMS}",
        heeded(ties, ", s.asked, s.file_size, s.broken", "broken is null and reference is null")
    )
}

/// Those from one attachment to another, and the others.
fn apart(references: Vec<Reference>) -> (Vec<Tie>, Vec<Reference>) {
    let (ties, others): (Vec<_>, Vec<_>) = references.into_iter().partition(|one| one.ties);
    (ties.into_iter().map(Tie::from).collect(), others)
}

impl From<Reference> for Tie {
    fn from(Reference { child, child_column, parent_column, shown, .. }: Reference) -> Self {
        Self { child, child_column, parent_column, shown }
    }
}

/// The name of a reference onto `a`, or null, before these branches of others.
fn kept(references: &[Reference], others: &str) -> String {
    if references.is_empty() && others.is_empty() {
        return "null::text".to_owned();
    }
    let cases: String = references
        .iter()
        .map(|Reference { child, child_column, parent_column, shown, drops_receipts, .. }| {
            let which = if *drops_receipts { " and c.is_deleted is true" } else { "" };
            format!(
                "when exists (select 1 from {child} c where c.{child_column} = a.{parent_column}{which}) then {} ",
                text(shown)
            )
        })
        .collect();
    format!("case {cases}{others}end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reference_that_holds_names_what_keeps_an_attachment() {
        let odd: Listed =
            ("app.\"odd 'one\"".into(), "\"a b\"".into(), "id".into(), "odd 'one.a b".into(), false, false);
        let expected =
            "when exists (select 1 from app.\"odd 'one\" c where c.\"a b\" = a.id) then 'odd ''one.a b' ";
        let Queries { candidates, plan, .. } = Queries::new(String::new(), vec![odd], Beneath::default());
        assert!(candidates.contains(expected), "{candidates}");
        assert!(plan.contains(expected), "{plan}");
    }
}
