//! Brings the parts together: opens the ports from the bottom up, starts the tree of actors, serves the
//! window, and takes all of it down again in the order of the pipeline.

mod builder;
#[cfg(feature = "opentelemetry")]
pub mod export;
mod figures;
mod identity;
mod job_lines;
mod json_line;
mod listening;
pub mod logging;
mod opening;
mod ports;
mod risks;
mod runner_threads;
mod schedules;
pub mod selftest;
mod service;
mod service_manager;
mod shutdown;
mod socket;
mod text_line;
mod tree;
mod window;

pub use builder::ServiceBuilder;
pub use opening::OpenError;
pub use ports::{Ports, Reach, migrate, open_trial, tracked_deletions};
pub use risks::{hindrances_in_words, in_words as risk_in_words};
pub use service::{Ended, Service, StartError};
pub use shutdown::{Signals, survive_user_signals};

/// The loop that a service lives in: `System::new().block_on(…)`.
pub use actix_rt::System;
