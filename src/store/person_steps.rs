//! The order of steps of users' requests, the same for every database.

use chrono::{DateTime, Utc};

use super::background_jobs::{Coverage, NewRequest, Person, PersonMove, Requested};
use super::first_look::{all_there_is, bound};
use super::row_move::RowMove;
use super::sql::status_notes::{NewRow, NotePerson};
use super::sql::status_sql::StatusSql;
use super::sql::status_tx::StatusTx;
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Cursor, Move, PauseReason, Status};
use crate::job::{BackgroundJobId, Progress};

/// Creates a row, unless the tenant has an active one or nothing to delete. On a full disk it creates none: those that
/// are there need what is left.
pub(super) async fn request<E: StatusSql>(database: &E, request: &NewRequest) -> Result<Requested, Fault> {
    let what = format!("request {} for business {}", request.job_type, request.business_id);
    let room = database.has_room(&what).await;
    let mut tx = StatusTx::begin(database, &what).await?;
    if let Some(job) = tx.active(request.business_id, &request.job_type).await? {
        return Ok(Requested::Active(Box::new(job)));
    }
    let now = tx.now().await?;
    let Some((total, cursor)) = covered(&mut tx, request, now).await? else {
        return Ok(Requested::Nothing);
    };
    room?;
    let Some(id) = tx.insert(&NewRow { request, total, cursor: &cursor, now }).await? else {
        let winner = tx.active(request.business_id, &request.job_type).await?;
        return winner.map(|job| Requested::Active(Box::new(job))).ok_or_else(|| gone(&what));
    };
    let progress = Progress { total, ..Progress::default() };
    tx.cover(id, &Cursor { bounds_for: Some(id), ..cursor }, progress).await?;
    tx.note_queue_job(id, &request.queue_job, now).await?;
    let made = tx.lock(id).await?.ok_or_else(|| gone(&what))?;
    tx.commit().await?;
    Ok(Requested::Created(Box::new(made.job)))
}

/// How many receipts a request covers, and its cursor; `None` if there are none.
async fn covered(
    tx: &mut StatusTx<impl StatusSql>,
    request: &NewRequest,
    now: DateTime<Utc>,
) -> Result<Option<(i64, Cursor)>, Fault> {
    let tenant = request.business_id;
    let mut there = Vec::new();
    let (mut set_aside_of, mut dated) = (None, None);
    let (total, upper) = match request.covers {
        Coverage::Everything => {
            let all = all_there_is(tx, tenant, now).await?;
            (dated, there) = (all.dated, all.there);
            (all.receipts, all.newest)
        }
        Coverage::RestOf(earlier) => {
            let found = tx.lock(earlier).await?.map(|tracked| tracked.job);
            let ours =
                |job: &BackgroundJob| job.business_id == tenant && job.cursor.foreign_to(tenant).is_none();
            let Some(job) = found.filter(ours) else { return Ok(None) };
            let cursor = match job.cursor.upper_id {
                Some(_) => job.cursor,
                None => bound(tx, &job, None, now).await?.0,
            };
            (dated, there) = (cursor.dated, cursor.there);
            tx.covered(tenant, cursor.upper_id, dated.as_ref(), &there).await?
        }
        Coverage::SetAsideOf(earlier) => {
            set_aside_of = Some(earlier);
            tx.set_aside_of(tenant, earlier).await?
        }
    };
    let bounds_of = Some(tenant);
    let cursor = Cursor { upper_id: upper, bounds_of, dated, there, set_aside_of, ..Cursor::default() };
    Ok(upper.map(|_| (total, cursor)))
}

/// Fails a row whose attempt cannot begin.
pub(super) async fn fail_unbegun<E: StatusSql>(
    database: &E,
    id: BackgroundJobId,
    error: &str,
) -> Result<bool, Fault> {
    let what = format!("fail background job {id}, which cannot begin");
    let mut tx = StatusTx::begin(database, &what).await?;
    let found = tx.lock(id).await?.map(|tracked| tracked.job);
    let step = Move::FailUnbegun;
    let Some(job) = found.filter(|job| step.allowed(job.status, job.note.pause_reason)) else {
        return Ok(false);
    };
    let now = tx.now().await?;
    tx.must_make(&RowMove { id, step, from: job.status, error: Some(error), now }).await?;
    tx.note_unbegun(id, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Applies a user's request.
pub(super) async fn wish<E: StatusSql>(
    database: &E,
    person: &Person,
) -> Result<Option<Result<BackgroundJob, Status>>, Fault> {
    let what = format!("change background job {} for {}", person.id, person.by);
    let mut tx = StatusTx::begin(database, &what).await?;
    let found = tx.lock(person.id).await?.map(|tracked| tracked.job);
    let Some(job) = found.filter(|job| job.business_id == person.business_id) else { return Ok(None) };
    let step = person.wish.transition();
    if !step.allowed(job.status, job.note.pause_reason) {
        return Ok(Some(Err(job.status)));
    }
    let now = tx.now().await?;
    tx.must_make(&RowMove { id: job.id, step, from: job.status, error: None, now }).await?;
    let note = NotePerson {
        id: job.id,
        pause: (person.wish == PersonMove::Pause).then_some(PauseReason::Person),
        by: &person.by,
        cancelled: person.wish == PersonMove::Cancel,
        queue_job: person.queue_job.as_ref(),
        now,
    };
    tx.note_person(&note).await?;
    let changed = tx.lock(job.id).await?.ok_or_else(|| gone(&what))?;
    tx.commit().await?;
    Ok(Some(Ok(changed.job)))
}

fn gone(what: &str) -> Fault {
    Fault::new(FaultKind::Retryable, format!("{what}: the row vanished"))
}
