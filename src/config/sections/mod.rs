//! One file for each section of the configuration: its keys, typed and within their bounds.

pub(super) mod attachments;
pub(super) mod aws;
pub(super) mod broker;
pub(super) mod certificate;
pub(super) mod deletion;
pub(super) mod described;
pub(super) mod diagnostics;
pub(super) mod http;
pub(super) mod lease;
pub(super) mod log;
pub(super) mod python;
pub(super) mod rescuer;
pub(super) mod retention;
pub(super) mod schedule;
pub(super) mod scheduler;
pub(super) mod service;
pub(super) mod store;
pub(super) mod supervision;
pub(super) mod traces;
pub(super) mod tracker;
pub(super) mod trust;
pub(super) mod worker;
