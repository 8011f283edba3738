//! Requests and wishes of people.

use chrono::Utc;
use sqlx::sqlite::SqliteConnection;

use super::attempts;
use super::connection::Database;
use super::fault::During;
use super::moment;
use super::moves::RowMove;
use super::row::{self, select_jobs};
use crate::fault::{Fault, FaultKind};
use crate::job::background::{BackgroundJob, Cursor, Move, PauseReason, Status};
use crate::job::{BackgroundJobId, BusinessId};
use crate::store::{Coverage, NewRequest, Person, PersonMove, Requested};

/// The tenant's active row; the unique index allows one.
const ACTIVE: &str = select_jobs!(
    "where j.business_id = ?1 and j.job_type = ?2 and j.status in ('queued', 'running', 'paused')"
);

/// What a request made now covers.
const EVERYTHING: &str = "
    select count(*), max(id) from receipts where business_id = ?1 and is_deleted is not true";

/// What is live of an earlier request.
const REST: &str = "
    select count(*), max(id) from receipts where business_id = ?1 and is_deleted is not true and id <= ?2";

/// What an earlier row set aside and is live.
const SET_ASIDE: &str = "
    select count(*), max(r.id) from tikkun_set_aside s cross join receipts r on r.id = s.receipt_id
    where s.background_job_id = ?2 and +r.business_id = ?1 and r.is_deleted is not true";

/// A queued row; none when the unique index already holds an active one.
const INSERT: &str = "
    insert into background_jobs
        (business_id, requested_by_user_id, job_type, status, total, cursor, created_at, updated_at)
    values (?1, ?2, ?3, 'queued', ?4, ?5, ?6, ?6)
    on conflict do nothing
    returning id";

/// The queue job that will carry a new row, in the row's own transaction.
const NOTE_CARRIER: &str = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at) values (?1, ?2, ?3)";

/// What a person did; a wish without a queue job keeps the one that is noted.
const NOTE_PERSON: &str = "
    insert into tikkun_background_jobs
        (background_job_id, pause_reason, changed_by, cancelled_by_person, queue_job, updated_at)
    values (?1, ?2, ?3, ?4, ?5, ?6)
    on conflict (background_job_id) do update set
        pause_reason = excluded.pause_reason, changed_by = excluded.changed_by,
        cancelled_by_person = excluded.cancelled_by_person,
        queue_job = coalesce(excluded.queue_job, queue_job), waiting_for = null, rate = null,
        eta_seconds = null, updated_at = excluded.updated_at";

/// A row that never got into a queue is no attempt that could be revived.
const NOTE_UNQUEUED: &str = "
    update tikkun_background_jobs set ended = 'failed', updated_at = ?2 where background_job_id = ?1";

/// Makes a row, unless the tenant has an active one or nothing to delete.
pub(super) async fn request(database: &Database, request: &NewRequest) -> Result<Requested, Fault> {
    let what = format!("request {} for business {}", request.job_type, request.business_id);
    let mut tx = database.write(&what).await?;
    if let Some(job) = active(&mut tx, request.business_id, &request.job_type).await? {
        return Ok(Requested::Active(Box::new(job)));
    }
    let Some((total, cursor)) = covered(&mut tx, request).await? else { return Ok(Requested::Nothing) };
    let now = moment::to_text(Utc::now());
    let id: Option<i64> = sqlx::query_scalar(INSERT)
        .bind(request.business_id.0)
        .bind(request.user_id)
        .bind(&request.job_type)
        .bind(total)
        .bind(cursor.to_string())
        .bind(&now)
        .fetch_optional(&mut *tx)
        .await
        .during(&what)?;
    let Some(id) = id.map(BackgroundJobId) else {
        let winner = active(&mut tx, request.business_id, &request.job_type).await?;
        return winner.map(|job| Requested::Active(Box::new(job))).ok_or_else(|| gone(&what));
    };
    sqlx::query(NOTE_CARRIER)
        .bind(id.0)
        .bind(request.queue_job.as_str())
        .bind(&now)
        .execute(&mut *tx)
        .await
        .during(&what)?;
    let made = row::one(&mut tx, id).await?.ok_or_else(|| gone(&what))?;
    tx.commit().await.during(&what)?;
    Ok(Requested::Created(Box::new(made.job)))
}

/// How many receipts a request is about, and its cursor; none: about nothing.
async fn covered(tx: &mut SqliteConnection, request: &NewRequest) -> Result<Option<(i64, Cursor)>, Fault> {
    let (tenant, what) =
        (request.business_id, format!("count what business {} requests", request.business_id));
    let mut set_aside_of = None;
    let query = match request.covers {
        Coverage::Everything => sqlx::query_as(EVERYTHING).bind(tenant.0),
        Coverage::RestOf(id) => {
            let Some(upper) = upper_of(tx, id, tenant).await? else { return Ok(None) };
            sqlx::query_as(REST).bind(tenant.0).bind(upper)
        }
        Coverage::SetAsideOf(id) => {
            set_aside_of = Some(id);
            sqlx::query_as(SET_ASIDE).bind(tenant.0).bind(id.0)
        }
    };
    let (total, upper): (i64, Option<i64>) = query.fetch_one(&mut *tx).await.during(&what)?;
    Ok(upper.map(|upper| (total, Cursor { upper_id: Some(upper), set_aside_of, ..Cursor::default() })))
}

/// The last receipt that an earlier row of the tenant covered.
async fn upper_of(
    tx: &mut SqliteConnection,
    id: BackgroundJobId,
    tenant: BusinessId,
) -> Result<Option<i64>, Fault> {
    let found = row::one(tx, id).await?.map(|tracked| tracked.job);
    match found.filter(|job| job.business_id == tenant) {
        Some(job) => attempts::upper_id(tx, &job).await.map(Some),
        None => Ok(None),
    }
}

async fn active(
    connection: &mut SqliteConnection,
    business_id: BusinessId,
    job_type: &str,
) -> Result<Option<BackgroundJob>, Fault> {
    let found = sqlx::query(ACTIVE).bind(business_id.0).bind(job_type).fetch_optional(connection).await;
    found.during("read the active background job")?.map(|row| row::tracked(&row).map(|t| t.job)).transpose()
}

/// Fails a row that could not be enqueued.
pub(super) async fn fail_unqueued(
    database: &Database,
    id: BackgroundJobId,
    error: &str,
) -> Result<bool, Fault> {
    let what = format!("fail background job {id}, which could not be enqueued");
    let mut tx = database.write(&what).await?;
    let now = Utc::now();
    let step = RowMove { id, step: Move::FailUnqueued, from: Status::Queued, error: Some(error), now };
    if !step.make(&mut tx).await? {
        return Ok(false);
    }
    sqlx::query(NOTE_UNQUEUED).bind(id.0).bind(moment::to_text(now)).execute(&mut *tx).await.during(&what)?;
    tx.commit().await.during(&what)?;
    Ok(true)
}

/// Carries out a wish.
pub(super) async fn wish(
    database: &Database,
    person: &Person,
) -> Result<Option<Result<BackgroundJob, Status>>, Fault> {
    let what = format!("change background job {} for {}", person.id, person.by);
    let mut tx = database.write(&what).await?;
    let found = row::one(&mut tx, person.id).await?.map(|tracked| tracked.job);
    let Some(job) = found.filter(|job| job.business_id == person.business_id) else { return Ok(None) };
    let step = person.wish.transition();
    if !step.allowed(job.status, job.note.pause_reason) {
        return Ok(Some(Err(job.status)));
    }
    let now = Utc::now();
    RowMove { id: job.id, step, from: job.status, error: None, now }.make(&mut tx).await?;
    sqlx::query(NOTE_PERSON)
        .bind(job.id.0)
        .bind((person.wish == PersonMove::Pause).then_some(PauseReason::Person.as_str()))
        .bind(&person.by)
        .bind(person.wish == PersonMove::Cancel)
        .bind(person.queue_job.as_ref().map(|id| id.as_str()))
        .bind(moment::to_text(now))
        .execute(&mut *tx)
        .await
        .during(&what)?;
    let changed = row::one(&mut tx, job.id).await?.ok_or_else(|| gone(&what))?;
    tx.commit().await.during(&what)?;
    Ok(Some(Ok(changed.job)))
}

fn gone(what: &str) -> Fault {
    Fault::new(FaultKind::Retryable, format!("{what}: the row vanished"))
}
