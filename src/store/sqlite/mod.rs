//! The ports on one SQLite file, in which all tables are ours.
//!
//! - One connection writes, in transactions that lock at their start; a few others read.
//! - Any number of processes on one host may open the file; network file systems are not supported.
//! - Times are UTC text in SQLAlchemy's form; only [`moment`] converts them.

mod cells;
mod connection;
mod deletion_sql;
mod deletion_tx;
mod described;
mod engine;
mod fault;
mod jobs_sql;
mod list;
mod moment;
mod outbox;
mod receipts;
mod references;
mod status_sql;
mod trial;

use std::path::Path;
use std::sync::Arc;

use super::sql::ports;
use super::{Schema, Store, TrialData};
use crate::fault::Fault;

/// Opens the file, creates it if missing, and checks or migrates its tables as `schema` says.
///
/// Unavailable when the file cannot be opened or is locked for too long; permanent when it is no such
/// database, was made by a newer version, or lacks what `schema` requires.
pub async fn open(path: &Path, schema: Schema) -> Result<Store, Fault> {
    Ok(ports(connection::Database::open(path, schema).await?, "sqlite"))
}

/// Opens the file for trial rows.
///
/// # Errors
/// As [`open`].
pub async fn open_trial(path: &Path) -> Result<Arc<dyn TrialData>, Fault> {
    Ok(Arc::new(trial::SqliteTrial(connection::Database::open(path, Schema::Migrate).await?)))
}
