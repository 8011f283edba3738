//! The whole service, as a process of its own on a folder of its own, seen as its neighbours see it: the
//! web application through SQL and HTTP, the orchestrator through signals, probes and exit codes.

use crate::servers::s3;

mod broken;
mod cancellation;
pub mod client;
mod drain;
mod facade;
mod fairness;
mod full_disk;
pub mod ground;
mod healing;
mod hindered;
mod outages;
mod outbox;
mod pausing;
mod plain_jobs;
pub mod process;
mod queues;
mod retrying;
mod schedules;
mod storage;
mod takeover;
mod traces;
mod web_application;
