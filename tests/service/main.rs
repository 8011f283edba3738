//! The whole service, as a process of its own on a folder of its own, seen as its neighbours see it: the
//! web application through SQL and HTTP, the orchestrator through signals, probes and exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a failed expectation is how a test speaks"
)]
#![cfg_attr(not(feature = "failpoints"), allow(dead_code, reason = "half of the claims need fail points"))]

mod cancellation;
mod client;
#[cfg(feature = "failpoints")]
mod crashes;
mod drain;
mod facade;
mod fairness;
mod full_disk;
mod ground;
mod healing;
mod hindered;
mod kills;
mod outages;
mod outbox;
#[cfg(feature = "failpoints")]
mod panics;
mod pausing;
mod plain_jobs;
mod process;
mod queues;
mod retrying;
#[path = "../servers/s3.rs"]
#[allow(dead_code, reason = "each test program needs a part of it")]
mod s3;
mod schedules;
mod storage;
mod takeover;
mod traces;
#[cfg(feature = "failpoints")]
mod transitions;
mod web_application;
