//! The ports on PostgreSQL, where the web application's tables are adopted as they are.
//!
//! - Ours are the tables `tikkun_*`; nothing of the application's is ever made, changed or constrained.
//! - Nothing is kept in a session: see [`connection`]. A pooler in transaction mode may stand between.
//! - Every writing transaction is `read committed`, locks its rows, and looks again after it has the locks.
//! - Locks are taken in one order, so that nobody waits in a circle: the job's row, its note, receipts,
//!   attachments; rows of one table by their ids.

mod application;
mod background_jobs;
mod cells;
mod connection;
mod deletion_sql;
mod deletion_tx;
mod ended_sessions;
mod fault;
mod migrations;
mod outbox;
mod plan;
mod receipts;
mod reference_sql;
mod references;
mod schema;
mod statement;
mod status_sql;
mod status_tx;

use std::sync::Arc;

pub use migrations::migrate;
use sqlx::Connection as _;

use self::fault::During as _;
use super::measured::measured;
use super::{Schema, Store};
use crate::config::PostgresSettings;
use crate::fault::Fault;

/// Opens the database, and looks after its tables as `schema` says.
///
/// # Errors
/// Unavailable when it cannot be reached; permanent when it turns us away, or lacks what `schema` requires,
/// naming all of it.
pub async fn open(settings: &PostgresSettings, schema: Schema) -> Result<Store, Fault> {
    let (mut first, between) = connection::connect(settings).await?;
    schema::look_after(&mut first, &settings.place, schema).await?;
    let path = connection::search_path(&mut first, &settings.place).await?;
    first.close().await.during(&format!("look at {}", settings.place))?;
    let database = Arc::new(connection::Database::new(settings, between, &path)?);
    let store = Store {
        background_jobs: Arc::new(background_jobs::PostgresBackgroundJobs::new(Arc::clone(&database))),
        receipts: Arc::new(receipts::PostgresReceipts::new(Arc::clone(&database))),
        outbox: Arc::new(outbox::PostgresOutbox::new(Arc::clone(&database))),
        ended_sessions: Arc::new(ended_sessions::PostgresEndedSessions::new(database)),
    };
    Ok(measured(store, "postgres"))
}
