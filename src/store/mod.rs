//! The tables: ports for background jobs, receipts and the clean-up outbox, and their adapters.
//!
//! One promise stands above all: marking receipts, condemning attachments, writing the outbox and
//! moving cursor and counters are one transaction ([`Receipts::delete_batch`]).

mod attempt;
mod background_jobs;
mod batch;
mod deletion;
mod outbox;
mod plan;
mod receipts;
mod sqlite;
mod trial;

use std::sync::Arc;

pub use background_jobs::{
    BackgroundJobs, Begin, Begun, Coverage, EndAttempt, NewRequest, NotBegun, Person, PersonMove, Requested,
    Watched,
};
pub use outbox::{CleanupOutbox, Condemned, OutboxRow, OutboxSummary};
pub use plan::{DeletionPlan, Estimate, Kept};
pub use receipts::{Batch, BatchOrder, BatchOutcome, Pass, Receipts, SetAside};
pub use sqlite::{open as open_sqlite, open_trial as open_sqlite_trial};
pub use trial::{ReceiptCount, TrialAttachment, TrialData, TrialReceipt};

/// What an opening does about tables that are missing or old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Makes them.
    Migrate,
    /// Refuses to open.
    Require,
    /// Says so, and goes on with what works.
    Warn,
}

/// The ports onto one database.
#[derive(Clone)]
pub struct Store {
    /// `background_jobs` and our note of each.
    pub background_jobs: Arc<dyn BackgroundJobs>,
    /// `receipts` and `attachments`.
    pub receipts: Arc<dyn Receipts>,
    /// Objects that are to be deleted.
    pub outbox: Arc<dyn CleanupOutbox>,
}
