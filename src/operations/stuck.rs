//! Whether a deletion is stuck, for the application's page, our page and the doctor. Pure functions.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::config::DeletionSettings;
use crate::job::background::{BackgroundJob, Status};

/// The limits beyond which a deletion counts as stuck.
#[derive(Clone, Copy, Debug)]
pub struct StuckAfter {
    /// The longest time in the queue.
    pub unpicked: Duration,
    /// The longest time without a heartbeat while running.
    pub silent: Duration,
}

impl From<&DeletionSettings> for StuckAfter {
    fn from(deletion: &DeletionSettings) -> Self {
        Self { unpicked: deletion.unpicked_after, silent: deletion.stale_after }
    }
}

/// How a deletion is stuck, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// It has been queued for this time.
    Unpicked(Duration),
    /// It is running without a heartbeat for this time.
    Silent(Duration),
}

/// Whether a deletion is stuck at `now`, by the database's clock.
#[must_use]
pub fn stuck(job: &BackgroundJob, now: DateTime<Utc>, after: StuckAfter) -> Option<Stuck> {
    let longer =
        |at: Option<DateTime<Utc>>, limit: Duration| (now - at?).to_std().ok().filter(|time| *time > limit);
    match job.status {
        Status::Queued => {
            // A time in the future comes from another clock.
            let looked_at = job.cursor.first_look.map(|look| look.at);
            let known = [job.updated_at, job.created_at, looked_at].into_iter().flatten();
            longer(known.filter(|at| *at <= now).max(), after.unpicked).map(Stuck::Unpicked)
        }
        Status::Running => {
            let last = job.heartbeat_at.or(job.started_at).or(job.created_at);
            longer(last, after.silent).map(Stuck::Silent)
        }
        Status::Paused | Status::Completed | Status::Failed | Status::Cancelled => None,
    }
}
