//! The database ports for background jobs, receipts, described tables, the clean-up outbox, certificates and ended
//! sessions, with adapters.
//!
//! The main guarantee: marking receipts, condemning attachments, writing the outbox and moving cursor and
//! counters are one transaction ([`Receipts::delete_batch`]).

pub mod attempt;
mod attempt_steps;
mod background_jobs;
mod batch;
mod batch_refusals;
mod certificates;
mod coverage;
mod deletion;
mod described;
mod ended_sessions;
mod first_look;
mod keep_rules;
mod kept;
mod measured;
mod outbox;
mod person_steps;
mod plan;
mod postgres;
mod receipts;
mod row;
mod row_move;
mod sql;
mod sqlite;
mod there;
mod trial;

use std::sync::Arc;

pub use attempt_steps::cannot_end;
pub use background_jobs::{
    BackgroundJobs, Begin, Begun, Coverage, EndAttempt, NewRequest, NotBegun, Person, PersonMove, Requested,
    Watched,
};
pub use certificates::Certificates;
pub use described::{
    BeginDescribed, BegunDescribed, CoveredRows, DescribedBatch, DescribedDeletions, DescribedOrder,
    DescribedOutcome, DescribedRow, EndDescribed, ExaminedDeletion, FittedDeletion,
};
pub use ended_sessions::{EndedSession, EndedSessions};
pub use outbox::{CleanupOutbox, Condemned, OutboxRow, OutboxSummary, StillThere};
pub use plan::{DeletionPlan, Estimate, Kept};
pub use postgres::{migrate as migrate_postgres, open as open_postgres};
pub use receipts::{Batch, BatchOrder, BatchOutcome, Pass, Receipts, SetAside};
pub use sqlite::{open as open_sqlite, open_trial as open_sqlite_trial};
pub use trial::{ReceiptCount, TrialAttachment, TrialData, TrialReceipt};

/// What to do on opening if tables are missing or old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Creates our tables. A missing table of the application is an error, unless they are created with ours.
    Migrate,
    /// Creates our tables. Logs missing tables of the application, and continues with what works.
    MigrateOrWarn,
    /// Refuses to open.
    Require,
    /// Logs what is missing, and continues with what works.
    Warn,
}

/// The ports of one database.
#[derive(Clone)]
pub struct Store {
    /// `background_jobs`, and the note of each row: our own record of it.
    pub background_jobs: Arc<dyn BackgroundJobs>,
    /// `receipts` and `attachments`.
    pub receipts: Arc<dyn Receipts>,
    /// The tables that the configuration describes.
    pub described: Arc<dyn DescribedDeletions>,
    /// Objects that are to be deleted.
    pub outbox: Arc<dyn CleanupOutbox>,
    /// Certificates of deletions that have ended.
    pub certificates: Arc<dyn Certificates>,
    /// Sessions of the page that ended early.
    pub ended_sessions: Arc<dyn EndedSessions>,
}

/// The result of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Whether the application's tables were created.
    pub application: bool,
    /// The versions of our tables that were created.
    pub versions: Vec<i64>,
}
