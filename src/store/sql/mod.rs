//! The ports on any SQL engine, written once. An engine adds its connections and transactions, and the
//! statements that differ.

pub(super) mod background_jobs;
mod certificates;
pub(super) mod deletion_steps;
mod described;
mod described_batch;
mod described_had;
mod described_objects;
mod described_removal;
mod described_rows;
pub(super) mod described_schema;
mod described_state;
mod ended_sessions;
pub(super) mod engine;
pub(super) mod outbox;
pub(super) mod receipts;
pub(super) mod status_notes;
pub(super) mod status_sql;
pub(super) mod status_tx;

use std::sync::Arc;

use self::background_jobs::{JobsSql, SqlBackgroundJobs};
use self::certificates::SqlCertificates;
use self::described::SqlDescribed;
use self::described_schema::DescribedSql;
use self::ended_sessions::SqlEndedSessions;
use self::outbox::{OutboxSql, SqlOutbox};
use self::receipts::{ReceiptsSql, SqlReceipts};
use super::Store;
use super::deletion::Deletions;
use super::measured::measured;

/// The ports on one database; the metrics use the name of its engine.
pub(super) fn ports<E>(database: E, engine: &'static str) -> Store
where
    E: JobsSql + OutboxSql + ReceiptsSql + DescribedSql,
    Arc<E>: Deletions,
{
    let database = Arc::new(database);
    let store = Store {
        background_jobs: Arc::new(SqlBackgroundJobs(Arc::clone(&database))),
        receipts: Arc::new(SqlReceipts(Arc::clone(&database))),
        described: Arc::new(SqlDescribed(Arc::clone(&database))),
        outbox: Arc::new(SqlOutbox(Arc::clone(&database))),
        certificates: Arc::new(SqlCertificates(Arc::clone(&database))),
        ended_sessions: Arc::new(SqlEndedSessions(database)),
    };
    measured(store, engine)
}
