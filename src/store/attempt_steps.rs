//! The order of steps for the first look at a row and for beginning, ending and reviving an attempt, the same
//! for every database.

use std::error::Error;
use std::fmt;

use chrono::{DateTime, Utc};

use super::attempt::{self, Decision, EndStep, Tracked};
use super::background_jobs::{Begin, Begun, EndAttempt, NotBegun};
use super::first_look;
use super::row_move::RowMove;
use super::sql::status_notes::{NoteEnd, NoteStart};
use super::sql::status_sql::StatusSql;
use super::sql::status_tx::StatusTx;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Cursor, Move, PauseReason, Status};
use crate::job::{BackgroundJobId, Progress};

/// The source of a fault where the database lets a row neither take the step nor end otherwise.
#[derive(Debug)]
struct Unendable(Fault);

impl fmt::Display for Unendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Unendable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Whether a row can only wait: the database refuses every end of it, such as by a trigger on its status.
#[must_use]
pub fn cannot_end(fault: &Fault) -> bool {
    fault.source().is_some_and(|cause| cause.is::<Unendable>())
}

/// The fault of a step of a row, after a try whether the row could fail instead.
async fn judged<E: StatusSql>(database: &E, id: BackgroundJobId, fault: Fault) -> Fault {
    if fault.kind() == FaultKind::Permanent && may_not_fail(database, id).await.unwrap_or(false) {
        let text = format!("the database refuses every end of background job {id}");
        return Fault::new(FaultKind::Permanent, text).because(Unendable(fault));
    }
    fault
}

/// Whether the database refuses to fail a row. What is tried is taken back.
async fn may_not_fail<E: StatusSql>(database: &E, id: BackgroundJobId) -> Result<bool, Fault> {
    let mut tx = StatusTx::begin(database, &format!("try to fail background job {id}")).await?;
    let Some(Tracked { job, .. }) = tx.lock(id).await? else { return Ok(false) };
    let step = if job.status == Status::Running { Move::Fail } else { Move::FailUnbegun };
    if !step.allowed(job.status, job.note.pause_reason) {
        return Ok(false);
    }
    let now = tx.now().await?;
    let tried = tx.must_make(&RowMove { id, step, from: job.status, error: Some("a try"), now }).await;
    Ok(tried.is_err_and(|fault| fault.kind() == FaultKind::Permanent))
}

/// Begins an attempt.
pub(super) async fn begin<E: StatusSql>(database: &E, begin: &Begin) -> Result<Begun, Fault> {
    match try_begin(database, begin).await {
        Err(fault) => Err(judged(database, begin.id, fault).await),
        begun => begun,
    }
}

async fn try_begin<E: StatusSql>(database: &E, begin: &Begin) -> Result<Begun, Fault> {
    let mut tx =
        StatusTx::begin(database, &format!("begin an attempt of background job {}", begin.id)).await?;
    let Some(tracked) = tx.lock(begin.id).await? else {
        return Ok(Begun::Refused(NotBegun::Missing));
    };
    let now = tx.now().await?;
    let begun = match attempt::decide(&tracked, begin, now) {
        Decision::Refuse(reason) => return Ok(Begun::Refused(reason)),
        Decision::Poison { barren, reason } => {
            let end = EndAttempt::Failed { error: reason.clone() };
            let ending = Ending { end: &end, barren: Some(barren), now };
            ending.carry_out(&mut tx, &tracked).await?;
            Begun::Refused(NotBegun::Poison(reason))
        }
        Decision::Start { attempt, barren } => {
            let start = NoteStart { before: &tracked.job, attempt, queue_job: &begin.queue_job, barren, now };
            Begun::Started(Box::new(carry_out_start(&mut tx, &start, begin.entry_at).await?))
        }
    };
    tx.commit().await?;
    Ok(begun)
}

async fn carry_out_start(
    tx: &mut StatusTx<impl StatusSql>,
    start: &NoteStart<'_>,
    entry_at: Option<DateTime<Utc>>,
) -> Result<BackgroundJob, Fault> {
    let (job, now) = (start.before, start.now);
    let row_move = RowMove { id: job.id, step: Move::Start, from: job.status, error: None, now };
    let moved = tx.must_make(&row_move).await?;
    tx.note_start(start).await?;
    // If the row already names this queue job, Tikkun enqueued it, later than the request.
    let entry_at = entry_at.filter(|_| job.note.queue_job.as_ref() != Some(start.queue_job));
    let (cursor, progress) = coverage(tx, job, entry_at, now).await?;
    // A database that dates rows anew with each update tells nothing by it of a new request.
    let made = job.created_at.filter(|made| moved.created_at == Some(*made));
    let cursor = Cursor { made, ..cursor };
    tx.cover(job.id, &cursor, progress).await?;
    tx.keep(job.id, &cursor, progress).await?;
    let started = tx.lock(job.id).await?;
    started.map(|tracked| tracked.job).ok_or_else(|| vanished(job.id))
}

/// The row's coverage and counters, determined if they are missing. Receipts are not counted before the first batch.
async fn coverage(
    tx: &mut StatusTx<impl StatusSql>,
    job: &BackgroundJob,
    entry_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(Cursor, Progress), Fault> {
    let (cursor, given) = (&job.cursor, job.progress.total);
    if cursor.foreign_to(job.business_id).is_some() || (cursor.upper_id.is_some() && given > 0) {
        return Ok((cursor.clone(), job.progress));
    }
    let (cursor, live) = match cursor.upper_id {
        Some(upper) => {
            let dated = cursor.dated.as_ref();
            let (live, _) = tx.covered(job.business_id, Some(upper), dated, &cursor.there).await?;
            (cursor.clone(), live)
        }
        None => first_look::bound(tx, job, entry_at, now).await?,
    };
    // The web application may have set a total, but it does not know which receipts are left alone, and it may have
    // counted before the last ones came.
    let counted = live + job.progress.processed;
    let total = if cursor.left.is_none() { given.max(counted) } else { counted };
    Ok((cursor, Progress { total, ..job.progress }))
}

/// Records the receipts that exist at the first look at an active row without coverage. A later look changes
/// nothing.
pub(super) async fn look<E: StatusSql>(database: &E, id: BackgroundJobId) -> Result<(), Fault> {
    let mut tx = StatusTx::begin(database, &format!("look at background job {id}")).await?;
    let Some(Tracked { job, .. }) = tx.lock(id).await? else { return Ok(()) };
    if !job.status.is_active() || job.cursor.upper_id.is_some() || job.cursor.first_look.is_some() {
        return Ok(());
    }
    let now = tx.now().await?;
    let first_look = Some(first_look::kept_look(&mut tx, &job, now).await?);
    let bounds_of = Some(job.business_id);
    let bounds_for = Some(id);
    let cursor = Cursor { first_look, bounds_of, bounds_for, made: job.created_at, ..job.cursor };
    tx.cover(id, &cursor, job.progress).await?;
    let after = tx.lock(id).await?.and_then(|row| row.job.created_at);
    if after != job.created_at {
        // The database dates rows anew with each update.
        tx.cover(id, &Cursor { made: None, ..cursor }, job.progress).await?;
    }
    tx.commit().await
}

/// An end that is to be applied.
struct Ending<'a> {
    end: &'a EndAttempt,
    barren: Option<u32>,
    now: DateTime<Utc>,
}

impl Ending<'_> {
    async fn carry_out(&self, tx: &mut StatusTx<impl StatusSql>, row: &Tracked) -> Result<(), Fault> {
        let Self { end, barren, now } = *self;
        let (job, overwritten) = (&row.job, row.trail.overwritten);
        let step = end.transition();
        tx.must_make(&RowMove { id: job.id, step, from: job.status, error: end.error(), now }).await?;
        if overwritten {
            tx.cover(job.id, &job.cursor, job.progress).await?;
        }
        let pause = match step {
            Move::Continue => Some(PauseReason::Continuation),
            Move::Pause => Some(PauseReason::Person),
            _ => None,
        };
        let (attempt, by) = (job.note.attempt, end.paused_by());
        tx.note_end(&NoteEnd { id: job.id, attempt, ended: step.to(), pause, by, barren, now }).await
    }
}

/// Ends an attempt. One whose end is refused, as by a trigger, is not counted as one that died.
pub(super) async fn end<E: StatusSql>(
    database: &E,
    id: BackgroundJobId,
    attempt: u32,
    end: &EndAttempt,
) -> Result<bool, Fault> {
    let mut tx = StatusTx::begin(database, &format!("end attempt {attempt} of background job {id}")).await?;
    let Some(tracked) = tx.lock(id).await? else { return Ok(false) };
    match attempt::end_step(&tracked, attempt, end) {
        EndStep::NotOurs => return Ok(false),
        EndStep::Repeated => return Ok(true),
        EndStep::Apply => {}
    }
    let ending = Ending { end, barren: None, now: tx.now().await? };
    let ended = match ending.carry_out(&mut tx, &tracked).await {
        Ok(()) => tx.commit().await,
        Err(fault) => {
            drop(tx);
            Err(fault)
        }
    };
    let Err(fault) = ended else { return Ok(true) };
    if fault.kind() == FaultKind::Permanent {
        let mut tx =
            StatusTx::begin(database, &format!("note the attempt {attempt} of background job {id}")).await?;
        tx.note_unended(id, attempt).await?;
        tx.commit().await?;
    }
    Err(judged(database, id, fault).await)
}

/// Revives a row that the web application's stale rule has failed, or that a save of its old columns has queued.
pub(super) async fn revive<E: StatusSql>(
    database: &E,
    id: BackgroundJobId,
    attempt: u32,
) -> Result<bool, Fault> {
    let mut tx = StatusTx::begin(database, &format!("revive background job {id}")).await?;
    let Some(tracked) = tx.lock(id).await? else { return Ok(false) };
    if attempt::is_put_back(&tracked, attempt) {
        let (from, now) = (tracked.job.status, tx.now().await?);
        tx.must_make(&RowMove { id, step: Move::Start, from, error: None, now }).await?;
        tx.commit().await?;
        return Ok(true);
    }
    if !attempt::may_revive(&tracked, attempt) {
        return Ok(false);
    }
    let Tracked { job, .. } = tracked;
    if tx.other_active(&job).await? {
        return Ok(false);
    }
    let now = tx.now().await?;
    tx.must_make(&RowMove { id, step: Move::Revive, from: job.status, error: None, now }).await?;
    tx.note_revived(id, now).await?;
    tx.commit().await?;
    Ok(true)
}

fn vanished(id: BackgroundJobId) -> Fault {
    Fault::new(FaultKind::Retryable, format!("background job {id} vanished"))
}
