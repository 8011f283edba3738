//! The ports on PostgreSQL, where the web application's tables are adopted as they are.
//!
//! - Ours are the tables `tikkun_*`; nothing of the application's is ever made, changed or constrained.
//! - Nothing is kept in a session: see [`connection`]. A pooler in transaction mode may stand between.
//! - Every writing transaction is `read committed`, locks its rows, and looks again after it has the locks.
//! - Locks are taken in one order, so that nobody waits in a circle: the job's row, its note, receipts,
//!   attachments; rows of one table by their ids.

mod application;
mod cells;
mod connection;
mod deletion_sql;
mod deletion_tx;
mod engine;
mod fault;
mod jobs_sql;
mod migrations;
mod openings;
mod outbox;
mod receipts;
mod reference_sql;
mod references;
mod schema;
mod statement;
mod status_sql;

pub use migrations::migrate;
use sqlx::Connection as _;

use self::fault::During as _;
use super::sql::ports;
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
    Ok(ports(connection::Database::new(settings, between, &path)?, "postgres"))
}
