//! The whole service on a Redis that is emptied, stopped and restarted, and with processes that are killed
//! while they hold jobs on eight queues: the guarantees for jobs and rows then.
//!
//! `OUTAGE_SECONDS=120` sets the length of the outage, `KILLS=100` kills that many processes, on the default
//! settings, `KILLS_SEED=…` repeats the random choices of a run (not its races).

use crate::servers::line;
use crate::servers::redis as redis_server;
use crate::service::ground;
use crate::service::process;
mod amnesia;
pub mod bounds;
mod distance;
mod fleet;
mod kills;
mod outages;
pub mod place;
mod refusals;
pub mod registers;
mod rollback;
