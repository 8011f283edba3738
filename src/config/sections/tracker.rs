//! `[tracker]`: how often people see something move.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[tracker]`.
#[derive(Clone, Debug)]
pub struct TrackerSettings {
    /// Least time between two writes of one job's progress.
    pub progress_interval: Duration,
    /// Time between two heartbeats of a job.
    pub heartbeat_interval: Duration,
    /// The longest a write may take.
    pub deadline: Duration,
}

/// The web application gives up on rows that stay silent; heartbeats must come at least this often.
const SLOWEST_HEARTBEAT: Duration = Duration::from_secs(30);

impl TrackerSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        let often = |interval: &Duration| !interval.is_zero() && *interval <= SLOWEST_HEARTBEAT;
        Self {
            progress_interval: reader.duration("tracker.progress_interval"),
            heartbeat_interval: reader.read(
                "tracker.heartbeat_interval",
                "a duration of at most `30s`",
                often,
            ),
            deadline: reader.duration("tracker.deadline"),
        }
    }
}
