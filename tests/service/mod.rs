//! The whole service, as its own process on its own folder, observed from outside: by the web application
//! through SQL and HTTP, and by the orchestrator through signals, probes and exit codes.

use crate::servers::s3;

mod broken;
mod cancellation;
pub mod client;
pub mod described;
mod disk_room;
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
