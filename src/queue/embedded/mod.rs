//! The broker in one SQLite file, for a single host: it needs no server, and every change is durable.
//!
//! Read in this order: `database` (the file), `enqueue`, `lending` with `settle` (the path of a job), `leases`
//! (live processes; with `lease_watch` and `incarnation` beside this folder), `doorbell` (waking listeners),
//! `history` (attempts before the last), `pauses`, `requeue`, `stops`, `unique` and `schedules` (requests of
//! users and of the clock).

mod broker;
mod database;
mod doorbell;
mod enqueue;
mod history;
mod leases;
mod lending;
mod look;
mod pauses;
mod place;
mod requeue;
mod resettled;
mod role;
mod row;
mod schedules;
mod settle;
mod settle_rows;
mod stops;
mod unique;
mod upkeep;

use std::path::Path;
use std::sync::Arc;

use crate::fault::Fault;

use super::broker::Broker;
use super::measured::measured;

/// Opens the queue in `folder`, and creates both if missing. Several processes of this host may open it. Call
/// it on a runtime that lives as long as the broker.
///
/// # Errors
/// A permanent one that names the folder when it cannot be created or written to.
pub async fn open(folder: &Path) -> Result<Arc<dyn Broker>, Fault> {
    Ok(measured(broker::Embedded::open(folder).await?, "embedded"))
}
