//! The whole service on PostgreSQL: a database that SQLAlchemy made, a server that goes away and comes back,
//! and the job that was there before us.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a failed expectation is how a test speaks"
)]

mod application;
#[path = "../service/client.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod client;
mod commands;
mod going_back;
mod ground;
mod late_database;
mod outages;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod process;
#[path = "../servers/postgres.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod server;
