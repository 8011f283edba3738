//! The whole service on a Redis that is emptied, stopped and started again under it, and as processes that are killed
//! while they hold jobs on eight queues: what is promised of jobs and rows then.
//!
//! `OUTAGE_SECONDS=120` makes the outage as long as that, `KILLS=100` kills so many processes, on the settings that ship, `KILLS_SEED=…` repeats the
//! dice of a run (not its races).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a failed expectation is how a test speaks"
)]

mod amnesia;
mod bounds;
#[path = "../service/client.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod client;
mod fleet;
#[path = "../service/ground.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod ground;
mod kills;
mod outages;
mod place;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod process;
#[path = "../servers/redis.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod redis_server;
mod refusals;
mod registers;
mod rollback;
#[path = "../servers/s3.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod s3;
