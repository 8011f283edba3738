//! The conditions for deleting an attachment, as SQL that batch and plan share on every database, so that
//! they cannot differ.
//!
//! In this SQL `a` is an attachment, `$1` the tenant, and `gone` the receipts that a batch deletes.

use super::plan::{DeletionPlan, Kept};
use super::row::Cells;
use crate::blob::BlobTarget;
use crate::fault::{Fault, FaultKind};

/// Live receipts that still need an attachment after those of a batch are deleted.
const LIVE: &str = "l.is_deleted is not true and l.id not in (select id from gone)";
/// Live receipts that still need it after all receipts of the tenant are marked.
const LIVE_OF_OTHERS: &str = "l.is_deleted is not true and l.business_id <> $1";

/// The conditions for deleting an attachment `a` of tenant $1, each with the code used when it does not hold.
/// `receipts` contains all receipts that may point to `a`. The same must hold of attachments that share its
/// path; each query checks that.
fn rules(receipts: &str, live: &str) -> [(&'static str, String); 3] {
    [
        // The sum keeps the planner from using the index of all the tenant's attachments to find a few.
        (rule::OTHER_BUSINESS, "a.business_id + 0 = $1".to_owned()),
        (rule::FOREIGN_PURPOSE, "a.purpose in ('receipt_source', 'receipt_preview')".to_owned()),
        (rule::LIVE_RECEIPT, format!("not {}", pointed_to(receipts, live))),
    ]
}

/// Whether a receipt `l` with the condition `which` points to `a`, by either column.
fn pointed_to(receipts: &str, which: &str) -> String {
    format!(
        "(exists (select 1 from {receipts} l where l.attachment_id = a.id and {which})
      or exists (select 1 from {receipts} l where l.preview_attachment_id = a.id and {which}))"
    )
}

/// Codes for conditions that do not hold.
mod rule {
    pub(super) const OTHER_BUSINESS: &str = "other_business";
    pub(super) const FOREIGN_PURPOSE: &str = "foreign_purpose";
    pub(super) const LIVE_RECEIPT: &str = "live_receipt";
    pub(super) const SHARED_PATH: &str = "shared_path";
}

/// The condition that, after the receipts of `gone` are deleted, no receipt needs `a` and a deleted one
/// points to it, or did as `earlier` says: its mark may have taken it out of the table. References and shared paths are
/// checked elsewhere. `receipts` has all receipts that point to `a`.
pub(super) fn all_hold(receipts: &str) -> String {
    let holds = rules(receipts, LIVE).into_iter().map(|(_, rule)| rule);
    let deleted = pointed_to(receipts, "(l.is_deleted is true or l.id in (select id from gone))");
    holds
        .chain([format!("({deleted} or a.id in (select id from earlier))")])
        .collect::<Vec<_>>()
        .join("\n      and ")
}

/// The code of the first condition that would not hold of `a` after all of the tenant's receipts are marked,
/// or null.
pub(super) fn first_broken() -> String {
    let cases: String = rules("receipts", LIVE_OF_OTHERS)
        .iter()
        .map(|(word, rule)| format!("when ({rule}) is not true then '{word}' "))
        .collect();
    format!("case {cases}end")
}

/// A foreign key from attachments onto attachments, as of a preview onto what it was made from. The names are as SQL
/// writes them, but for the one that is shown.
pub(super) struct Tie {
    /// Where the key is: attachments, or a table that holds rows of theirs.
    pub(super) child: String,
    /// Its column.
    pub(super) child_column: String,
    /// The column that it leads to.
    pub(super) parent_column: String,
    /// How people call it.
    pub(super) shown: String,
}

/// The name of what is looked at, before what `heeded` makes of it where there are ties.
pub(super) fn before_ties(ties: &[Tie]) -> &'static str {
    if ties.is_empty() { "looked" } else { "seen" }
}

/// An attachment that refers to another keeps it only if it stays itself: from `seen` makes `looked`, with the reference
/// that keeps each. `seen` has `id`, `path`, `reference` and the given further columns; `free` is the condition that
/// nothing else keeps a row. What refers to a row, and what shares its path, has to go for it to go. Nothing where there
/// are no ties.
pub(super) fn heeded(ties: &[Tie], columns: &str, free: &str) -> String {
    if ties.is_empty() {
        return String::new();
    }
    let referring: Vec<String> = ties
        .iter()
        .map(|Tie { child, child_column, parent_column, shown }| {
            format!(
                "select c.id as child, a.id as parent, {} as shown
        from likely f cross join attachments a cross join {child} c
        where a.id = f.id and c.{child_column} = a.{parent_column} and c.id <> a.id",
                text(shown)
            )
        })
        .collect();
    format!(
        ",
    likely as materialized (select id, path from seen where {free}),
    referring as materialized (
        {}),
    tied as materialized (
        select child, parent from referring
        union all
        select o.id, f.id from likely f cross join attachments o
        where f.path <> '' and o.storage_path = f.path and o.id <> f.id),
    stuck(id) as (
        select parent from tied where child not in (select id from likely)
        union
        select t.parent from stuck s cross join tied t where t.child = s.id),
    held_by as materialized (
        select parent as id, min(shown) as reference from referring
        where child not in (select id from likely) or child in (select id from stuck)
        group by parent),
    looked as materialized (
        select s.id, s.path, coalesce(s.reference, h.reference) as reference{columns}
        from seen s left join held_by h on h.id = s.id)",
        referring.join("\n        union all\n        ")
    )
}

/// The sums of a plan, for [`plan`]: of rows `looked` with `id`, whether it is one that the tenant's live receipts point
/// to (`asked`), `path`, `file_size`, the first rule that is `broken` and the `reference` that keeps it. The others
/// of `looked` share a path with one that is asked for, and a deleted receipt points to them: they go along or keep it.
/// Rows that share a path go together or not at all, and leave one object.
pub(super) const SUMS: &str = "
    free as materialized (select id from looked where broken is null and reference is null),
    judged as (
        select looked.*, case
            when broken is not null then broken
            when path <> '' and exists (
                select 1 from attachments o
                where o.storage_path = looked.path and o.id <> looked.id and o.id not in (select id from free))
            then 'shared_path' end as verdict
        from looked),
    summed as (
        select verdict as broken, case when verdict is null then reference end as reference, asked, file_size,
            path <> '' and not exists (
                select 1 from attachments o where o.storage_path = judged.path and o.id < judged.id) as leaves
        from judged)
    select broken, reference, count(*) as attachments, count(*) filter (where leaves) as objects,
        cast(coalesce(sum(file_size) filter (where leaves), 0) as bigint) as bytes
    from summed where asked or (broken is null and reference is null)
    group by 1, 2";

/// A text as an SQL literal.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The plan from its sums: rows of `broken`, `reference`, `attachments`, `objects` and `bytes`.
pub(super) fn plan(
    receipts: i64,
    target: &BlobTarget,
    last_rate: Option<f64>,
    sums: &[impl Cells],
) -> Result<DeletionPlan, Fault> {
    let mut plan = DeletionPlan {
        receipts: receipts.unsigned_abs(),
        attachments: 0,
        objects: 0,
        bytes: 0,
        kept: Vec::new(),
        target: target.clone(),
        last_rate,
        left_alone: None,
    };
    for sum in sums {
        let number = |column| sum.needed(column).map(i64::unsigned_abs);
        let attachments = number("attachments")?;
        match kept(sum.text("broken")?, sum.text("reference")?)? {
            Some(reason) => plan.kept.push((reason, attachments)),
            None => {
                plan.attachments = attachments;
                plan.objects = number("objects")?;
                plan.bytes = number("bytes")?;
            }
        }
    }
    plan.kept.sort();
    Ok(plan)
}

fn kept(broken: Option<String>, reference: Option<String>) -> Result<Option<Kept>, Fault> {
    Ok(match broken.as_deref() {
        None => reference.map(Kept::Reference),
        Some(rule::OTHER_BUSINESS) => Some(Kept::OtherBusiness),
        Some(rule::FOREIGN_PURPOSE) => Some(Kept::ForeignPurpose),
        Some(rule::LIVE_RECEIPT) => Some(Kept::LiveReceipt),
        Some(rule::SHARED_PATH) => Some(Kept::SharedPath),
        Some(other) => return Err(Fault::new(FaultKind::Permanent, format!("no rule is called `{other}`"))),
    })
}
