//! `[scheduler]`: when due jobs are looked for, and who leads.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[scheduler]`.
#[derive(Clone, Debug)]
pub struct SchedulerSettings {
    /// Time between two looks.
    pub interval: Duration,
    /// How long a silent leader keeps the lead.
    pub leadership_ttl: Duration,
}

impl SchedulerSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            interval: reader.duration("scheduler.interval"),
            leadership_ttl: reader.duration("scheduler.leadership_ttl"),
        }
    }
}
