#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod actors;
pub mod blob;
pub mod cli;
pub mod config;
pub mod failpoint;
pub mod fault;
pub mod http;
pub mod job;
pub mod job_log;
pub mod kinds;
pub mod measure;
pub mod queue;
pub mod runtime;
mod sqlite;
pub mod store;
pub mod story;
pub mod supervision;

#[cfg(doctest)]
#[doc = include_str!("../docs/your-own-job.md")]
struct SnippetsOfTheManual;
