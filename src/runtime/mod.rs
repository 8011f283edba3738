//! Brings the parts together: opens the ports from the bottom up, starts the tree of actors, serves the
//! window, and takes all of it down again in the order of the pipeline.

mod identity;
pub mod logging;
mod ports;
mod runner_threads;
pub mod selftest;
mod service;
mod shutdown;
mod tree;

pub use ports::{OpenError, Ports, Reach, open_trial, tracked_deletions};
pub use service::{Ended, Service, StartError};
