//! The whole service on a Redis that is emptied, stopped and started again under it, and as processes that are killed
//! while they hold jobs on eight queues: what is promised of jobs and rows then.
//!
//! `OUTAGE_SECONDS=120` makes the outage as long as that, `KILLS=100` kills so many processes, on the settings that ship, `KILLS_SEED=…` repeats the
//! dice of a run (not its races).

use crate::servers::redis as redis_server;
use crate::service::ground;
use crate::service::process;
mod amnesia;
mod bounds;
mod fleet;
mod kills;
mod outages;
mod place;
mod refusals;
mod registers;
mod rollback;
