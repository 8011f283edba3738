//! The values of a change of a row's status, for its statements.

use chrono::{DateTime, Utc};

use crate::job::background::{BackgroundJob, Cursor, PauseReason, Status};
use crate::job::{BackgroundJobId, JobId};
use crate::store::NewRequest;

/// The beginning of an attempt, for the note.
pub struct NoteStart<'a> {
    /// The row as it was before.
    pub before: &'a BackgroundJob,
    /// The new fence.
    pub attempt: u32,
    /// The queue job that executes it.
    pub queue_job: &'a JobId,
    /// How many attempts before it made no progress.
    pub barren: u32,
    /// The time.
    pub now: DateTime<Utc>,
}

/// The end of an attempt, for the note.
pub struct NoteEnd<'a> {
    /// The row.
    pub id: BackgroundJobId,
    /// The attempt; a note of a newer one is not changed.
    pub attempt: u32,
    /// The new status of the row.
    pub ended: Status,
    /// The reason for a pause, if paused.
    pub pause: Option<PauseReason>,
    /// Who or what paused it; `None` keeps the noted name.
    pub by: Option<&'a str>,
    /// The number of attempts without progress; `None` keeps it.
    pub barren: Option<u32>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A user's request, for the note.
pub struct NotePerson<'a> {
    /// The row.
    pub id: BackgroundJobId,
    /// The reason for a pause, if paused.
    pub pause: Option<PauseReason>,
    /// The user.
    pub by: &'a str,
    /// Whether it was a cancel.
    pub cancelled: bool,
    /// The queue job that executes it from now on; `None` keeps the noted one.
    pub queue_job: Option<&'a JobId>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A new row.
pub struct NewRow<'a> {
    /// The request.
    pub request: &'a NewRequest,
    /// The number of covered receipts.
    pub total: i64,
    /// Its cursor, with the start and the end.
    pub cursor: &'a Cursor,
    /// The time.
    pub now: DateTime<Utc>,
}
