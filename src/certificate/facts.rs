//! What is known of a deletion that has ended, as the parts of its certificate.

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::Serialize;

use super::canonical::{CanonicalError, canonical, hash};
use super::record::{CertifiedDeletion, CertifiedTable, KeptRows, ObjectCounts, WhyKept};
use crate::job::background::{BackgroundJob, Dated};

/// What the batches of a deletion have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Attachments whose rows are gone.
    pub attachments: i64,
    /// Objects that went to the outbox.
    pub objects: i64,
    /// Attachments that stay because a table that Tikkun does not know refers to them.
    pub referenced: i64,
    /// Objects that left the outbox undeleted, because a row of attachments had their place in storage again.
    pub needed_again: i64,
}

/// A deletion that has ended.
#[derive(Clone, Debug)]
pub struct DeletionFacts {
    /// Its row, with the note.
    pub job: BackgroundJob,
    /// What its batches have counted; `None` if some were of a program that does not count.
    pub removed: Option<Removed>,
    /// The objects in the outbox, those included that are parked.
    pub owed: i64,
    /// Those that are parked.
    pub parked: i64,
    /// The time, by the database's clock.
    pub now: DateTime<Utc>,
}

/// The condition for receipts, whose hash is in the certificate.
#[derive(Serialize)]
struct ReceiptCondition {
    business_id: String,
    is_deleted: bool,
    id_up_to: Option<String>,
    created: Option<Dated>,
    set_aside_by: Option<String>,
}

/// The condition for attachments, whose hash is in the certificate.
#[derive(Serialize)]
struct AttachmentCondition {
    business_id: String,
    purpose: [&'static str; 2],
    referenced: bool,
}

impl DeletionFacts {
    /// Whether storage owes nothing any more.
    pub(super) fn is_final(&self) -> bool {
        self.owed == 0
    }

    pub(super) fn deletion(&self) -> CertifiedDeletion {
        let job = &self.job;
        CertifiedDeletion {
            id: job.id.to_string(),
            r#type: job.job_type.clone(),
            tenant: job.business_id.to_string(),
            requester: job.requested_by_user_id.map(|user| user.to_string()),
            outcome: job.status.as_str().to_owned(),
            requested_at: moment(job.created_at),
            first_moment: moment(job.started_at),
            last_moment: moment(job.finished_at),
            attempts: job.note.attempt,
        }
    }

    pub(super) fn tables(&self) -> Result<Vec<CertifiedTable>, CanonicalError> {
        let (job, cursor) = (&self.job, &self.job.cursor);
        let receipts = ReceiptCondition {
            business_id: job.business_id.to_string(),
            is_deleted: false,
            id_up_to: cursor.upper_id.map(|id| id.to_string()),
            created: cursor.dated,
            set_aside_by: cursor.set_aside_of.map(|row| row.to_string()),
        };
        let attachments = AttachmentCondition {
            business_id: job.business_id.to_string(),
            purpose: ["receipt_source", "receipt_preview"],
            referenced: false,
        };
        let table = |table: &str, condition: String, rows| {
            let condition = hash(&condition);
            CertifiedTable { table: table.to_owned(), condition, rows }
        };
        Ok(vec![
            table("receipts", canonical(&receipts)?, Some(job.progress.succeeded)),
            table("attachments", canonical(&attachments)?, self.removed.map(|removed| removed.attachments)),
        ])
    }

    pub(super) fn objects(&self) -> ObjectCounts {
        let deleted = self.removed.map(|removed| (removed.objects - self.owed - removed.needed_again).max(0));
        let needed_again = self.removed.map(|removed| removed.needed_again);
        ObjectCounts { deleted, owed: self.owed, parked: self.parked, needed_again }
    }

    pub(super) fn kept(&self) -> Vec<KeptRows> {
        let cursor = &self.job.cursor;
        let newer = cursor.left.as_ref().map_or(0, |left| left.receipts);
        let refused = cursor.attachments_kept.as_ref().map_or(0, |kept| kept.count);
        let referenced = self.removed.map_or(0, |removed| removed.referenced);
        let kept = [
            ("receipts", newer, WhyKept::Newer),
            ("attachments", referenced, WhyKept::Referenced),
            ("attachments", refused, WhyKept::Refused),
        ];
        let kept = kept.into_iter().filter(|(_, rows, _)| *rows > 0);
        kept.map(|(table, rows, why)| KeptRows { table: table.to_owned(), rows, why }).collect()
    }

    pub(super) fn counts_missing(&self) -> bool {
        self.removed.is_none()
    }
}

/// A time to the microsecond, as the database keeps it.
pub(super) fn moment(at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    at.map(|at| at.trunc_subsecs(6))
}
