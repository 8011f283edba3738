//! The row itself.

use chrono::{DateTime, Utc};

use super::cursor::Cursor;
use super::status::{PauseReason, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId, Progress};

/// The deletion job's `job_type`.
pub const DELETE_RECEIPTS_ALL: &str = "delete_receipts_all";

/// A row of `background_jobs` with what our own table knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundJob {
    /// The row's id.
    pub id: BackgroundJobId,
    /// The tenant.
    pub business_id: BusinessId,
    /// Who asked.
    pub requested_by_user_id: Option<i64>,
    /// The type, for example [`DELETE_RECEIPTS_ALL`].
    pub job_type: String,
    /// Where it stands.
    pub status: Status,
    /// Its counters.
    pub progress: Progress,
    /// Why it failed, or what went wrong last.
    pub last_error: Option<String>,
    /// Where the deletion stands.
    pub cursor: Cursor,
    /// When it was asked for.
    pub created_at: Option<DateTime<Utc>>,
    /// When the row last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it last showed life.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// What six words cannot carry.
    pub note: Note,
}

/// Our own record of a background job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// The newest attempt: the fence. 0 before the first.
    pub attempt: u32,
    /// The queue job that carries it.
    pub queue_job: Option<JobId>,
    /// Why it is paused.
    pub pause_reason: Option<PauseReason>,
    /// What it waits for, while it waits.
    pub waiting_for: Option<String>,
    /// Receipts per second.
    pub rate: Option<f64>,
    /// Seconds left.
    pub eta_seconds: Option<f64>,
    /// Attempts in a row that died without moving the cursor.
    pub barren_attempts: u32,
    /// Who or what cancelled, paused or resumed it last, through us.
    pub changed_by: Option<String>,
}
