//! All integration tests in one program: contract suites on each back end, and the service as users run it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is what a test is for"
)]
#![cfg_attr(
    not(feature = "failpoints"),
    allow(dead_code, unused_imports, reason = "half of the claims need fail points")
)]

mod api;
mod architecture;
mod blob_contract;
mod broker;
mod config;
mod contract_values;
mod deletion_size;
mod demo;
mod deployment;
mod docs;
mod doctor;
mod fuzz;
mod image;
mod job_runner;
mod leaks;
mod lost_redis;
mod metrics;
mod model;
mod openapi;
mod own_worker;
#[allow(
    clippy::disallowed_methods,
    reason = "WebDriver is asked by blocking calls, on threads without actors"
)]
mod page;
mod postgres;
mod python_jobs;
mod reconciling;
mod reference;
mod rescuing;
mod scheduler;
mod selftest;
mod servers;
mod service;
mod settling;
mod store_contract;
mod storm;
mod stuck;
mod systemd;
mod terminal;
mod tls;
mod torture;
mod tracker;
