//! Brings the parts together: opens the ports, starts the tree of actors, serves HTTP, and stops everything
//! in the order of the pipeline.

mod attachments;
#[cfg(feature = "opentelemetry")]
pub mod export;
mod figures;
mod ground;
mod http_server;
mod identity;
mod job_lines;
mod json_line;
mod leaving;
mod listening;
pub mod logging;
mod opening;
mod ports;
mod probing;
pub mod python_jobs;
mod risks;
mod runner_threads;
mod schedules;
pub mod selftest;
mod service;
mod service_manager;
mod shutdown;
mod socket;
mod start_error;
mod teams;
mod text_line;
mod tree;

pub use attachments::open_attachments;
pub use leaving::Ended;
pub use ports::{JobPorts, Ports, Reach, migrate, open_trial, queues, tracked_deletions};
pub use risks::{ELSEWHERE_TO_DO, hindrances_in_words, in_words as risk_in_words};
pub use service::{Service, ServiceBuilder};
pub use shutdown::{ForeignSignals, Signals, survive_user_signals};
pub use start_error::{OpenError, PythonStartError, StartError};

/// The event loop for a service: `System::new().block_on(…)`.
pub use actix_rt::System;
