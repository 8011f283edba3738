//! `[tracker]`: how often progress and heartbeats are written.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[tracker]`.
#[derive(Clone, Debug)]
pub struct TrackerSettings {
    /// The shortest time between two writes of one job's progress.
    pub progress_interval: Duration,
    /// The time between two heartbeats of a job.
    pub heartbeat_interval: Duration,
    /// The time limit of a write.
    pub deadline: Duration,
}

/// The longest heartbeat interval. The web application marks jobs as failed whose heartbeat is too old.
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
