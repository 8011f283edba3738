#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod backoff;
pub mod blob;
pub mod certificate;
pub mod cli;
pub mod config;
mod deadline;
pub mod deletion;
pub mod failpoint;
pub mod fault;
#[cfg(test)]
#[path = "../tests/fuzz.rs"]
mod fuzz;
pub mod http;
pub mod job;
pub mod job_log;
pub mod kinds;
pub mod maintenance;
pub mod measure;
mod migrations;
pub mod operations;
pub mod python;
pub mod queue;
pub mod runtime;
mod sqlite;
pub mod store;
pub mod supervision;
pub mod tracking;
pub mod user_log;
pub mod webhooks;
pub mod worker;

#[cfg(doctest)]
#[doc = include_str!("../docs/your-own-job.md")]
struct SnippetsOfTheManual;
