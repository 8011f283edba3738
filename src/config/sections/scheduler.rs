//! `[scheduler]`: how often due jobs are enqueued, and how long the leader lease is valid.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[scheduler]`.
#[derive(Clone, Debug)]
pub struct SchedulerSettings {
    /// The time between two checks for due jobs.
    pub interval: Duration,
    /// How long the leader lease is valid without a renewal.
    pub leadership_ttl: Duration,
    /// Whether this process enqueues what comes due.
    pub enabled: bool,
}

impl SchedulerSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            interval: reader.duration("scheduler.interval"),
            leadership_ttl: reader.duration("scheduler.leadership_ttl"),
            enabled: reader.get("scheduler.enabled"),
        }
    }
}
