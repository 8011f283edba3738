//! The rules for beginning, ending and reviving an attempt, the same for every database.
//!
//! Adapters read the row and our note under a lock, ask here, and apply the decision in the same transaction.

use chrono::{DateTime, Utc};

use super::background_jobs::{Begin, EndAttempt, NotBegun};
use crate::failpoint;
use crate::job::background::{BackgroundJob, Move, Status};

/// Our record of the attempts, beside the note that the API shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// The cursor's id when the newest attempt began.
    pub start_last_id: Option<i64>,
    /// The processed count when the newest attempt began.
    pub start_processed: Option<i64>,
    /// The row was revived after the stale rule had failed it, and has had no successful batch since.
    pub revived: bool,
    /// The status that our last end gave the row; `None` while an attempt is open.
    pub ended: Option<Status>,
    /// A user cancelled the row through Tikkun.
    pub cancelled_by_person: bool,
    /// The row's own cursor or counters are not those of the job: they are to be written anew.
    pub overwritten: bool,
}

/// A row of `background_jobs` with our record of its attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracked {
    /// The row and its note.
    pub job: BackgroundJob,
    /// Our record of its attempts.
    pub trail: Trail,
}

/// The decision on the beginning of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Start this attempt; `barren` attempts before it made no progress.
    Start {
        /// Its number.
        attempt: u32,
        /// How many attempts in a row made no progress.
        barren: u32,
    },
    /// Fail the row for this reason.
    Poison {
        /// How many attempts in a row made no progress.
        barren: u32,
        /// The new `last_error`.
        reason: String,
    },
    /// Leave the row as it is.
    Refuse(NotBegun),
}

/// The decision on the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndStep {
    /// Apply it.
    Apply,
    /// It was applied before.
    Repeated,
    /// The row does not belong to this attempt.
    NotOurs,
}

/// Decides on the beginning of an attempt at time `now`.
pub fn decide(row: &Tracked, begin: &Begin, now: DateTime<Utc>) -> Decision {
    let job = &row.job;
    if !Move::Start.allowed(job.status, job.note.pause_reason) {
        return Decision::Refuse(NotBegun::AtRest(job.status));
    }
    let attempt = job.note.attempt.saturating_add(1);
    if job.status != Status::Running {
        return Decision::Start { attempt, barren: 0 };
    }
    if job.note.queue_job.as_ref() != Some(&begin.queue_job) && is_alive(job, begin, now) {
        return Decision::Refuse(NotBegun::Duplicate { of: job.note.queue_job.clone() });
    }
    let barren = if moved_nothing(row) { job.note.barren_attempts.saturating_add(1) } else { 0 };
    if barren > begin.max_barren {
        let reason = format!(
            "given up: {barren} attempts in a row died behind receipt id {} without finishing a batch; \
             the next receipt or its attachments may be what kills them",
            job.cursor.last_id
        );
        return Decision::Poison { barren, reason };
    }
    Decision::Start { attempt, barren }
}

fn is_alive(job: &BackgroundJob, begin: &Begin, now: DateTime<Utc>) -> bool {
    job.heartbeat_at
        .is_some_and(|beat| (now - beat).to_std().map_or(true, |silent| silent <= begin.stale_after))
}

fn moved_nothing(row: &Tracked) -> bool {
    row.trail.start_last_id == Some(row.job.cursor.last_id)
        && row.trail.start_processed == Some(row.job.progress.processed)
}

impl EndAttempt {
    /// The transition of the row's status.
    #[must_use]
    pub fn transition(&self) -> Move {
        match self {
            Self::Completed | Self::CompletedBut { .. } => Move::Complete,
            Self::Failed { .. } => Move::Fail,
            Self::Continuation => Move::Continue,
            Self::Paused { .. } => Move::Pause,
        }
    }

    /// The new `last_error`; `None` keeps the old one, except that a completed row never has one.
    pub(super) fn error(&self) -> Option<&str> {
        match self {
            Self::Failed { error } | Self::CompletedBut { error } => Some(error),
            Self::Completed | Self::Continuation | Self::Paused { .. } => None,
        }
    }

    /// The name of what paused the row if no user did; `None` keeps the noted name.
    pub(super) fn paused_by(&self) -> Option<&str> {
        match self {
            Self::Paused { by } => Some(by),
            Self::Completed | Self::CompletedBut { .. } | Self::Failed { .. } | Self::Continuation => None,
        }
    }
}

/// Whether an attempt is the newest one: what an earlier one still does is not to count.
pub fn is_newest(attempt: u32, newest: u32) -> bool {
    attempt == newest || failpoint::is_off("check.fence")
}

/// The status that a row has for its attempt, which is to notice when somebody else has cancelled it.
pub(super) fn seen(status: Status) -> Status {
    if status == Status::Cancelled && failpoint::is_off("check.cancel") { Status::Running } else { status }
}

/// Decides on the end of an attempt.
pub fn end_step(row: &Tracked, attempt: u32, end: &EndAttempt) -> EndStep {
    let (job, step) = (&row.job, end.transition());
    let status = seen(job.status);
    if !is_newest(attempt, job.note.attempt) {
        EndStep::NotOurs
    } else if status == Status::Running && step.allowed(status, job.note.pause_reason) {
        EndStep::Apply
    } else if row.trail.ended == Some(step.to()) && job.status == step.to() {
        EndStep::Repeated
    } else {
        EndStep::NotOurs
    }
}

/// Whether a row whose attempt is open is queued although nobody ended it: an old copy of the row was saved over it.
pub(super) fn is_put_back(row: &Tracked, attempt: u32) -> bool {
    let (job, trail) = (&row.job, &row.trail);
    job.status == Status::Queued
        && job.note.attempt == attempt
        && attempt > 0
        && !trail.cancelled_by_person
        && trail.ended.is_none()
}

/// Whether a failed row may be revived under `attempt`. The caller checks that the tenant has no other active
/// row.
pub(super) fn may_revive(row: &Tracked, attempt: u32) -> bool {
    let (job, trail) = (&row.job, &row.trail);
    Move::Revive.allowed(job.status, job.note.pause_reason)
        && job.note.attempt == attempt
        && attempt > 0
        && !trail.revived
        && !trail.cancelled_by_person
        && trail.ended.is_none_or(|ended| ended == Status::Paused)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::background::{Cursor, Note, PauseReason};
    use crate::job::{BackgroundJobId, BusinessId, Progress};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::Duration::seconds(second)
    }

    fn row(status: Status) -> Tracked {
        let job = BackgroundJob {
            id: BackgroundJobId(1),
            business_id: BusinessId(7),
            requested_by_user_id: None,
            job_type: "t".into(),
            status,
            progress: Progress::default(),
            last_error: None,
            cursor: Cursor { last_id: 5, ..Cursor::default() },
            created_at: None,
            updated_at: None,
            started_at: None,
            finished_at: None,
            heartbeat_at: Some(at(100)),
            note: Note { attempt: 1, queue_job: Some("a".into()), ..Note::default() },
        };
        Tracked { job, trail: Trail::default() }
    }

    fn begin(queue_job: &str) -> Begin {
        Begin {
            id: BackgroundJobId(1),
            queue_job: queue_job.into(),
            entry_at: None,
            stale_after: Duration::from_secs(60),
            max_barren: 2,
        }
    }

    #[test]
    fn queued_and_continued_rows_start_under_the_next_attempt() {
        let mut paused = row(Status::Paused);
        paused.job.note.pause_reason = Some(PauseReason::Continuation);
        for tracked in [row(Status::Queued), paused] {
            assert_eq!(decide(&tracked, &begin("b"), at(100)), Decision::Start { attempt: 2, barren: 0 });
        }
    }

    #[test]
    fn rows_at_rest_are_refused() {
        for status in [Status::Completed, Status::Failed, Status::Cancelled, Status::Paused] {
            let refused = Decision::Refuse(NotBegun::AtRest(status));
            assert_eq!(decide(&row(status), &begin("a"), at(100)), refused);
        }
    }

    #[test]
    fn a_running_row_is_taken_over_by_its_own_carrier_or_when_silent() {
        let running = row(Status::Running);
        let start = Decision::Start { attempt: 2, barren: 0 };
        let duplicate = Decision::Refuse(NotBegun::Duplicate { of: Some("a".into()) });
        assert_eq!(decide(&running, &begin("a"), at(100)), start);
        assert_eq!(decide(&running, &begin("b"), at(160)), duplicate);
        assert_eq!(decide(&running, &begin("b"), at(161)), start);
        assert_eq!(decide(&running, &begin("b"), at(0)), duplicate, "a clock set back kills nobody");
        let mut silent = running;
        silent.job.heartbeat_at = None;
        assert_eq!(decide(&silent, &begin("b"), at(100)), start);
    }

    #[test]
    fn barren_attempts_count_until_they_are_poison() {
        let mut running = row(Status::Running);
        running.trail = Trail { start_last_id: Some(5), start_processed: Some(0), ..Trail::default() };
        assert_eq!(decide(&running, &begin("a"), at(100)), Decision::Start { attempt: 2, barren: 1 });
        running.job.note.barren_attempts = 2;
        assert!(matches!(decide(&running, &begin("a"), at(100)), Decision::Poison { barren: 3, .. }));
        running.job.progress.processed = 1;
        assert_eq!(decide(&running, &begin("a"), at(100)), Decision::Start { attempt: 2, barren: 0 });
    }

    #[test]
    fn an_end_is_carried_out_once_and_only_by_its_attempt() {
        let end = EndAttempt::Completed;
        assert_eq!(end_step(&row(Status::Running), 1, &end), EndStep::Apply);
        assert_eq!(end_step(&row(Status::Running), 2, &end), EndStep::NotOurs);
        let mut done = row(Status::Completed);
        assert_eq!(end_step(&done, 1, &end), EndStep::NotOurs);
        done.trail.ended = Some(Status::Completed);
        assert_eq!(end_step(&done, 1, &end), EndStep::Repeated);
        assert_eq!(end_step(&done, 1, &EndAttempt::Continuation), EndStep::NotOurs);
    }

    #[test]
    fn only_a_queued_row_of_an_open_attempt_is_put_back() {
        let queued = row(Status::Queued);
        assert!(is_put_back(&queued, 1));
        assert!(!is_put_back(&queued, 2));
        assert!(!is_put_back(&row(Status::Cancelled), 1));
        for trail in [
            Trail { cancelled_by_person: true, ..Trail::default() },
            Trail { ended: Some(Status::Failed), ..Trail::default() },
        ] {
            assert!(!is_put_back(&Tracked { trail, ..queued.clone() }, 1));
        }
    }

    #[test]
    fn only_a_stale_rule_is_revived_and_only_once() {
        let stale = row(Status::Failed);
        assert!(may_revive(&stale, 1));
        assert!(!may_revive(&stale, 2));
        assert!(!may_revive(&row(Status::Cancelled), 1));
        for trail in [
            Trail { revived: true, ..Trail::default() },
            Trail { cancelled_by_person: true, ..Trail::default() },
            Trail { ended: Some(Status::Failed), ..Trail::default() },
        ] {
            assert!(!may_revive(&Tracked { trail, ..stale.clone() }, 1));
        }
    }
}
