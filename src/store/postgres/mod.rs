//! The ports on PostgreSQL, with the web application's tables as they are.
//!
//! - Our tables are named `tikkun_*`; the application's are never created, altered or constrained.
//! - No state is kept in a session: see [`connection`]. A pooler in transaction mode may be used.
//! - Every writing transaction is `read committed`, locks its rows, and reads them again under the lock.
//! - Locks are taken in one order, to prevent deadlocks: the job's row, its note, receipts, attachments; rows
//!   of one table by their ids.

mod application;
mod beneath;
mod beneath_sql;
mod cells;
mod connection;
mod deletion_sql;
mod deletion_tx;
mod described;
mod engine;
mod fault;
mod jobs_sql;
mod migrations;
mod openings;
mod outbox;
mod receipts;
mod reference_queries;
mod reference_sql;
mod references;
mod schema;
mod standing;
mod statement;
mod status_sql;

pub use migrations::migrate;
use sqlx::Connection as _;

use self::fault::During as _;
use super::sql::ports;
use super::{Schema, Store};
use crate::config::PostgresSettings;
use crate::fault::Fault;

/// Opens the database, and checks or migrates its tables as `schema` says.
///
/// # Errors
/// Unavailable when it cannot be reached; permanent when it rejects us or lacks what `schema` requires; the
/// error lists all of it.
pub async fn open(settings: &PostgresSettings, schema: Schema) -> Result<Store, Fault> {
    let (mut first, between) = connection::connect(settings).await?;
    schema::look_after(&mut first, &settings.place, schema).await?;
    let path = connection::search_path(&mut first, &settings.place).await?;
    first.close().await.during(&format!("look at {}", settings.place))?;
    Ok(ports(connection::Database::new(settings, between, &path)?, "postgres"))
}
