//! What must hold of an attachment before it may go: one text for the batch and for the plan of every
//! database, so that they cannot differ.
//!
//! The texts speak of an attachment `a`, of the tenant `$1`, and of the receipts `gone` that a batch deletes.

use super::plan::{DeletionPlan, Kept};
use super::row::Cells;
use crate::blob::BlobTarget;
use crate::fault::{Fault, FaultKind};

/// Receipts that still need an attachment once those of a batch are deleted.
const LIVE: &str = "l.is_deleted is not true and l.id not in (select id from gone)";
/// Receipts that would still need it once all of the tenant's are marked.
const LIVE_OF_OTHERS: &str = "l.is_deleted is not true and l.business_id <> $1";

/// What must hold of an attachment `a` of tenant $1 before it may go, each with the word for its
/// absence. One text for the batch and for the plan, so that they cannot differ. `receipts` is where all are
/// found that may point to `a`.
fn rules(receipts: &str, live: &str) -> [(&'static str, String); 4] {
    [
        // The sum keeps the index of all the tenant's attachments out of a look at a few of them.
        (rule::OTHER_BUSINESS, "a.business_id + 0 = $1".to_owned()),
        (rule::FOREIGN_PURPOSE, "a.purpose in ('receipt_source', 'receipt_preview')".to_owned()),
        (
            rule::LIVE_RECEIPT,
            format!(
                "(not exists (select 1 from {receipts} l where l.attachment_id = a.id and {live})
      and not exists (select 1 from {receipts} l where l.preview_attachment_id = a.id and {live}))"
            ),
        ),
        (
            rule::SHARED_PATH,
            "(coalesce(a.storage_path, '') = '' or not exists (
          select 1 from attachments o where o.storage_path = a.storage_path and o.id <> a.id))"
                .to_owned(),
        ),
    ]
}

/// Words for rules that do not hold.
mod rule {
    pub(super) const OTHER_BUSINESS: &str = "other_business";
    pub(super) const FOREIGN_PURPOSE: &str = "foreign_purpose";
    pub(super) const LIVE_RECEIPT: &str = "live_receipt";
    pub(super) const SHARED_PATH: &str = "shared_path";
}

/// The condition that nothing keeps `a` once the receipts of `gone` are deleted. `receipts` has all others that
/// point to it.
pub(super) fn all_hold(receipts: &str) -> String {
    let holds: Vec<String> = rules(receipts, LIVE).into_iter().map(|(_, rule)| rule).collect();
    holds.join("\n      and ")
}

/// The word for the first rule that would not hold of `a` once all of the tenant's receipts are marked,
/// or null.
pub(super) fn first_broken() -> String {
    let cases: String = rules("receipts", LIVE_OF_OTHERS)
        .iter()
        .map(|(word, rule)| format!("when ({rule}) is not true then '{word}' "))
        .collect();
    format!("case {cases}end")
}

/// A text as SQL writes it.
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
