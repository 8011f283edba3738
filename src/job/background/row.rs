//! A row of `background_jobs`.

use chrono::{DateTime, Utc};

use super::cursor::Cursor;
use super::status::{PauseReason, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId, Progress};

/// The deletion job's `job_type`.
pub const DELETE_RECEIPTS_ALL: &str = "delete_receipts_all";

/// A row of `background_jobs`, with our own record of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundJob {
    /// The row's id.
    pub id: BackgroundJobId,
    /// The tenant.
    pub business_id: BusinessId,
    /// The user who made the request.
    pub requested_by_user_id: Option<i64>,
    /// The type, for example [`DELETE_RECEIPTS_ALL`].
    pub job_type: String,
    /// Its status.
    pub status: Status,
    /// Its counters.
    pub progress: Progress,
    /// The reason of its failure, or its last error.
    pub last_error: Option<String>,
    /// The position of the deletion.
    pub cursor: Cursor,
    /// When it was requested.
    pub created_at: Option<DateTime<Utc>>,
    /// When the row last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Its last heartbeat.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// Our own record, for what the application's columns cannot hold.
    pub note: Note,
}

impl BackgroundJob {
    /// Whether it needs a queue job to make progress.
    #[must_use]
    pub fn needs_entry(&self) -> bool {
        match self.status {
            Status::Queued | Status::Running => true,
            Status::Paused => self.is_continuation(),
            Status::Completed | Status::Failed | Status::Cancelled => false,
        }
    }

    /// Whether it is paused, and goes on by itself.
    #[must_use]
    pub fn is_continuation(&self) -> bool {
        self.status == Status::Paused && self.note.pause_reason == Some(PauseReason::Continuation)
    }
}

/// Our own record of a background job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// The newest attempt: the fence. 0 before the first.
    pub attempt: u32,
    /// The queue job that executes it.
    pub queue_job: Option<JobId>,
    /// Why it is paused.
    pub pause_reason: Option<PauseReason>,
    /// What it waits for, if it waits.
    pub waiting_for: Option<String>,
    /// Receipts per second.
    pub rate: Option<f64>,
    /// The expected remaining time, in seconds.
    pub eta_seconds: Option<f64>,
    /// How many attempts in a row died without moving the cursor.
    pub barren_attempts: u32,
    /// Who or what last cancelled, paused or resumed it through Tikkun.
    pub changed_by: Option<String>,
}
