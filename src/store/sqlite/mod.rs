//! The ports on one SQLite file, where every table is ours.
//!
//! - One connection writes, in transactions that begin as writers; a few others read.
//! - Any number of processes of one host may hold the file open; a network file system will not do.
//! - Times are UTC text as SQLAlchemy writes it; [`moment`] alone converts.

mod cells;
mod connection;
mod deletion_sql;
mod deletion_tx;
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

/// Opens the file, makes it where it is missing, and looks after its tables as `schema` says.
///
/// # Errors
/// Unavailable when the file cannot be opened or is locked for too long; permanent when it holds
/// something else, was made by a newer version, or lacks what `schema` requires.
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
