//! The made-up data: which receipt points to which attachment, computed from the number of receipts.
//!
//! Each receipt has a source, and four of five have a preview. A few in every hundred are special, and each
//! of those could be deleted wrongly: see [`Group`].

use crate::store::{TrialAttachment, TrialReceipt};

/// The tenant whose receipts are deleted.
pub(super) const TENANT: i64 = 789;
/// The tenant whose receipts must stay.
pub(super) const NEIGHBOUR: i64 = 790;
/// The user who requests the deletion.
pub(super) const USER: i64 = 1;

/// Label of receipts that are to be deleted.
pub(super) const REQUESTED: &str = "requested";
/// Label of the tenant's receipts that arrive while the deletion runs.
pub(super) const ARRIVED: &str = "arrived";
/// Label of the other tenant's receipts.
pub(super) const NEIGHBOURS: &str = "neighbour";

/// How many receipts arrive with a file of their own while the deletion runs, and how many that point to an
/// attachment of the request's last receipts.
pub(super) const ARRIVALS: i64 = 5;
/// Attachments per month's folder. Neighbouring ids share a folder, as in real data.
const IN_A_MONTH: i64 = 4000;

/// Why an attachment exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Only receipts of the request point to it, so it must be deleted.
    Plain,
    /// A receipt that arrives before its batch points to it.
    Awaited,
    /// The other tenant's receipt points to it by its preview column.
    SharedSource,
    /// The other tenant's receipt points to it by its source column.
    SharedPreview,
    /// It is an invoice or a contract, not a receipt's file.
    Foreign,
    /// Another row has the same object.
    SameObject,
    /// It belongs to the other tenant, but a receipt of the request points to it.
    Borrowed,
    /// It belongs to the other tenant, whose receipt points to it.
    Neighbours,
    /// It belongs to a receipt that arrived while the deletion ran.
    Arrived,
}

impl Group {
    /// Every group.
    pub(super) const ALL: [Self; 9] = [
        Self::Plain,
        Self::Awaited,
        Self::SharedSource,
        Self::SharedPreview,
        Self::Foreign,
        Self::SameObject,
        Self::Borrowed,
        Self::Neighbours,
        Self::Arrived,
    ];

    /// The label in the table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Awaited => "awaited",
            Self::SharedSource => "shared_source",
            Self::SharedPreview => "shared_preview",
            Self::Foreign => "foreign",
            Self::SameObject => "same_object",
            Self::Borrowed => "borrowed",
            Self::Neighbours => "neighbours",
            Self::Arrived => "arrived",
        }
    }

    /// The group in the summary.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Plain => "only these receipts point to them",
            Self::Awaited => "a receipt that arrived meanwhile points to them",
            Self::SharedSource => "sources that another tenant's receipt previews",
            Self::SharedPreview => "previews that are another tenant's source",
            Self::Foreign => "invoices and contracts",
            Self::SameObject => "two rows, one object",
            Self::Borrowed => "owned by another tenant",
            Self::Neighbours => "another tenant's own",
            Self::Arrived => "came with receipts that arrived meanwhile",
        }
    }
}

/// The rows written for one receipt.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub attachments: Vec<(Group, TrialAttachment)>,
    pub receipts: Vec<TrialReceipt>,
}

/// The number of receipts, from which all ids are computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Receipts of the request, with ids from 1.
    pub receipts: i64,
}

impl Plan {
    /// How many receipts the other tenant has for itself.
    pub(super) fn neighbours(self) -> i64 {
        (self.receipts / 20).max(3)
    }

    /// Receipt `i` of the request, and a receipt of the other tenant that shares an attachment with it.
    pub(super) fn requested(self, i: i64) -> Rows {
        let (source, preview) = (2 * i - 1, 2 * i);
        let mut rows = Rows::default();
        let mut receipt = receipt(TENANT, REQUESTED);
        (receipt.id, receipt.attachment_id) = (Some(i), Some(source));
        let plain = self.source_of(i);
        match i % 100 {
            7 => {
                rows.add(Group::SharedSource, attachment(source, TENANT, "receipt_source"));
                rows.receipts.push(TrialReceipt { preview_attachment_id: Some(source), ..self.sharing(i) });
            }
            17 => rows.add(Group::Foreign, attachment(source, TENANT, "invoice")),
            27 => {
                let first = attachment(source, TENANT, "receipt_source");
                let second = attachment(2 * self.receipts + i, TENANT, "contract");
                rows.add(
                    Group::SameObject,
                    TrialAttachment { storage_path: first.storage_path.clone(), ..second },
                );
                rows.add(Group::SameObject, first);
            }
            31 => rows.add(Group::Borrowed, attachment(source, NEIGHBOUR, "receipt_source")),
            // Two receipts of the request point to it, in different batches: it must be deleted, too.
            60 => receipt.attachment_id = Some(2 * (i - 55) - 1),
            _ => rows.add(plain, attachment(source, TENANT, "receipt_source")),
        }
        if i % 5 != 0 {
            receipt.preview_attachment_id = Some(preview);
            match i % 100 {
                13 => {
                    rows.add(Group::SharedPreview, attachment(preview, TENANT, "receipt_preview"));
                    rows.receipts.push(TrialReceipt { attachment_id: Some(preview), ..self.sharing(i) });
                }
                23 => rows.add(Group::Foreign, attachment(preview, TENANT, "contract")),
                _ => rows.add(Group::Plain, attachment(preview, TENANT, "receipt_preview")),
            }
        }
        rows.receipts.push(receipt);
        rows
    }

    /// Receipt `j` of the other tenant; `j` starts at 1.
    pub(super) fn neighbour(self, j: i64) -> Rows {
        let (source, preview) = (3 * self.receipts + 2 * j - 1, 3 * self.receipts + 2 * j);
        let mut rows = Rows::default();
        rows.add(Group::Neighbours, attachment(source, NEIGHBOUR, "receipt_source"));
        rows.add(Group::Neighbours, attachment(preview, NEIGHBOUR, "receipt_preview"));
        rows.receipts.push(TrialReceipt {
            id: Some(2 * self.receipts + j),
            attachment_id: Some(source),
            preview_attachment_id: Some(preview),
            ..receipt(NEIGHBOUR, NEIGHBOURS)
        });
        rows
    }

    /// Receipt `k` that arrives with a file of its own; `k` starts at 1.
    pub(super) fn arrival(self, k: i64) -> Rows {
        let id = 3 * self.receipts + 2 * self.neighbours() + k;
        let mut rows = Rows::default();
        rows.add(Group::Arrived, attachment(id, TENANT, "receipt_source"));
        rows.receipts.push(TrialReceipt { attachment_id: Some(id), ..receipt(TENANT, ARRIVED) });
        rows
    }

    /// Receipts that arrive and point to attachments of the request's last receipts.
    pub(super) fn latecomers(self) -> Vec<TrialReceipt> {
        let awaited = (1..=self.receipts).rev().take(ARRIVALS as usize);
        awaited
            .filter(|i| self.requested(*i).attachments.iter().any(|(group, _)| *group == Group::Awaited))
            .map(|i| TrialReceipt { attachment_id: Some(2 * i - 1), ..receipt(TENANT, ARRIVED) })
            .collect()
    }

    fn source_of(self, i: i64) -> Group {
        if i > self.receipts - ARRIVALS { Group::Awaited } else { Group::Plain }
    }

    /// The other tenant's receipt that shares an attachment with receipt `i`.
    fn sharing(self, i: i64) -> TrialReceipt {
        TrialReceipt { id: Some(self.receipts + i), ..receipt(NEIGHBOUR, NEIGHBOURS) }
    }
}

impl Rows {
    fn add(&mut self, group: Group, attachment: TrialAttachment) {
        self.attachments.push((group, TrialAttachment { label: group.label(), ..attachment }));
    }
}

fn receipt(business_id: i64, label: &'static str) -> TrialReceipt {
    TrialReceipt { id: None, business_id, attachment_id: None, preview_attachment_id: None, label }
}

fn attachment(id: i64, business_id: i64, purpose: &'static str) -> TrialAttachment {
    let months = id / IN_A_MONTH;
    let (year, month) = (2019 + months / 12, 1 + months % 12);
    let ending = if purpose == "receipt_preview" { "png" } else { "pdf" };
    let storage_path = format!("{business_id}/{purpose}/{year}/{month:02}/{id}.{ending}");
    let file_size = content(id).len() as i64;
    TrialAttachment { id, business_id, purpose, storage_path, file_size, label: "" }
}

/// The content of an attachment's file.
pub(super) fn content(id: i64) -> String {
    format!("attachment {id}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all(plan: Plan) -> Vec<Rows> {
        let requested = (1..=plan.receipts).map(|i| plan.requested(i));
        let neighbours = (1..=plan.neighbours()).map(|j| plan.neighbour(j));
        requested.chain(neighbours).chain((1..=ARRIVALS).map(|k| plan.arrival(k))).collect()
    }

    #[test]
    fn no_id_is_given_twice_and_every_pointer_leads_to_a_row() {
        for receipts in [1, 4, 57, 60, 61, 120, 1000] {
            let rows = all(Plan { receipts });
            let ids: Vec<i64> =
                rows.iter().flat_map(|rows| &rows.attachments).map(|(_, row)| row.id).collect();
            let known: BTreeSet<i64> = ids.iter().copied().collect();
            assert_eq!(ids.len(), known.len(), "{receipts}");
            let all: Vec<&TrialReceipt> = rows.iter().flat_map(|rows| &rows.receipts).collect();
            let numbered: Vec<i64> = all.iter().filter_map(|receipt| receipt.id).collect();
            assert_eq!(numbered.len(), numbered.iter().collect::<BTreeSet<_>>().len(), "{receipts}");
            for receipt in all {
                let pointed = receipt.attachment_id.into_iter().chain(receipt.preview_attachment_id);
                assert!(pointed.into_iter().all(|id| known.contains(&id)), "{receipt:?}");
            }
        }
    }

    #[test]
    fn a_hundred_receipts_show_every_group_and_have_about_eighteen_tenths_of_an_object_each() {
        let rows = all(Plan { receipts: 120 });
        let groups: BTreeSet<Group> =
            rows.iter().flat_map(|rows| &rows.attachments).map(|(group, _)| *group).collect();
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), Group::ALL);
        let objects: usize = rows.iter().take(120).map(|rows| rows.attachments.len()).sum();
        assert!((210..=220).contains(&objects), "{objects}");
    }

    #[test]
    fn latecomers_point_only_to_attachments_that_wait_for_them() {
        assert_eq!(Plan { receipts: 2 }.latecomers().len(), 2);
        assert_eq!(Plan { receipts: 125 }.latecomers().len(), 5);
        // One of the last five points to another receipt's source, so there are only four.
        assert_eq!(Plan { receipts: 33 }.latecomers().len(), 4);
    }
}
