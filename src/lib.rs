//! Tikkun: background jobs that heal themselves.
#![forbid(unsafe_code)]

pub mod blob;
pub mod config;
pub mod fault;
pub mod job;
pub mod queue;
pub mod runtime;
pub mod store;
pub mod supervision;
