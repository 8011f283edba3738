//! The whole service, as a process of its own on a folder of its own, seen as its neighbours see it: the
//! web application through SQL and HTTP, the orchestrator through signals, probes and exit codes.

use crate::servers::s3;

mod cancellation;
pub mod client;
#[cfg(feature = "failpoints")]
mod crashes;
mod drain;
mod facade;
mod fairness;
mod full_disk;
pub mod ground;
mod healing;
mod hindered;
mod kills;
mod outages;
mod outbox;
#[cfg(feature = "failpoints")]
mod panics;
mod pausing;
mod plain_jobs;
pub mod process;
mod queues;
mod retrying;
mod schedules;
mod storage;
mod takeover;
mod traces;
#[cfg(feature = "failpoints")]
mod transitions;
mod web_application;
