//! The port onto `background_jobs`, on SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::connection::Database;
use super::fault::During;
use super::{list, moment};
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId};
use crate::store::row::{self, readable, select_jobs};
use crate::store::{BackgroundJobs, Begin, Begun, EndAttempt, NewRequest, Person, Requested, Watched};
use crate::store::{attempt_steps, person_steps};

/// One row as last committed.
const GET: &str = select_jobs!("where j.id = ?1");

/// The tenant's active row, or else its newest.
pub(super) const LATEST: &str = select_jobs!(
    "where j.business_id = ?1 and j.job_type = ?2
     order by j.status in ('queued', 'running', 'paused') desc, j.id desc limit 1"
);

/// Active rows of all tenants, from the partial unique index alone.
const ALL_ACTIVE: &str = select_jobs!(
    "where j.status in ('queued', 'running', 'paused') and j.job_type = ?1 order by j.id limit ?2"
);

/// The newest rows of all tenants, whatever became of them: those among the last ids of the table, and those that
/// have a note of ours. However many rows of other types there are, no more than those ids are read, along the
/// primary keys; a row that fell behind them before we ever had it in hand is not among the newest.
const NEWEST: &str = select_jobs!(
    "where j.job_type = ?1 and j.id in (
         select id from (
             select id from background_jobs
             where id > (select coalesce(max(id), 0) from background_jobs) - 10000 and job_type = ?1
             order by id desc limit ?2) recent
         union
         select background_job_id from (
             select background_job_id from tikkun_background_jobs
             order by background_job_id desc limit ?2) noted)
     order by j.id desc limit ?2"
);

/// Moves only rows that are still under the attempt that beats; the answer names them.
const BEAT: &str = "
    update background_jobs set heartbeat_at = ?2, updated_at = ?2
    where id in (
        select n.background_job_id
        from json_each(?1) beat cross join tikkun_background_jobs n
            on n.background_job_id = beat.value ->> 0 and n.attempt = beat.value ->> 1
        cross join background_jobs j on j.id = n.background_job_id
        where j.status = 'running' or (j.status = 'paused' and n.pause_reason = 'continuation'))
    returning id";

/// What people watch, of running rows under the newest attempt only.
const WATCH_NOTE: &str = "
    update tikkun_background_jobs
    set waiting_for = w.value ->> 'waiting_for', rate = w.value ->> 'rate',
        eta_seconds = w.value ->> 'eta_seconds', updated_at = ?2
    from json_each(?1) w
    where background_job_id = w.value ->> 'id' and attempt = w.value ->> 'attempt'
      and exists (select 1 from background_jobs j where j.id = background_job_id and j.status = 'running')";

/// The last error of running rows under the newest attempt; none leaves the one before.
const WATCH_ERROR: &str = "
    update background_jobs set last_error = w.value ->> 'last_error', updated_at = ?2
    from json_each(?1) w cross join tikkun_background_jobs n on n.background_job_id = w.value ->> 'id'
    where background_jobs.id = n.background_job_id and n.attempt = w.value ->> 'attempt'
      and background_jobs.status = 'running' and w.value ->> 'last_error' is not null";

/// Notes the queue job of a row that exists.
const CARRIED_BY: &str = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at)
    select id, ?2, ?3 from background_jobs where id = ?1
    on conflict (background_job_id) do update set
        queue_job = excluded.queue_job, updated_at = excluded.updated_at";

/// A durable write that touches nothing else.
const CHECK: &str = "
    insert into tikkun_store_check (id, checked_at) values (1, ?1)
    on conflict (id) do update set checked_at = excluded.checked_at";

/// Background jobs in one file.
pub(super) struct SqliteBackgroundJobs {
    database: Arc<Database>,
}

impl SqliteBackgroundJobs {
    /// On an open file.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl BackgroundJobs for SqliteBackgroundJobs {
    async fn request(&self, request: &NewRequest) -> Result<Requested, Fault> {
        person_steps::request(&self.database, request).await
    }

    async fn fail_unqueued(&self, id: BackgroundJobId, error: &str) -> Result<bool, Fault> {
        person_steps::fail_unqueued(&self.database, id, error).await
    }

    async fn get(&self, id: BackgroundJobId) -> Result<Option<BackgroundJob>, Fault> {
        let what = format!("read background job {id}");
        let found = sqlx::query(GET).bind(id.0).fetch_optional(self.database.read()).await.during(&what)?;
        found.map(|row| row::tracked(&row).map(|tracked| tracked.job)).transpose()
    }

    async fn latest(&self, business_id: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault> {
        let found = sqlx::query(LATEST)
            .bind(business_id.0)
            .bind(job_type)
            .fetch_optional(self.database.read())
            .await
            .during(&format!("read the latest {job_type} of business {business_id}"))?;
        found.map(|row| row::tracked(&row).map(|tracked| tracked.job)).transpose()
    }

    async fn active(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault> {
        let rows = sqlx::query(ALL_ACTIVE)
            .bind(job_type)
            .bind(max)
            .fetch_all(self.database.read())
            .await
            .during(&format!("read active rows of {job_type}"))?;
        Ok(rows.iter().filter_map(readable).collect())
    }

    async fn newest(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault> {
        let query = sqlx::query(NEWEST).bind(job_type).bind(max).fetch_all(self.database.read());
        let rows = query.await.during(&format!("read the newest rows of {job_type}"))?;
        Ok(rows.iter().filter_map(readable).collect())
    }

    async fn begin_attempt(&self, begin: &Begin) -> Result<Begun, Fault> {
        attempt_steps::begin(&self.database, begin).await
    }

    async fn look(&self, id: BackgroundJobId) -> Result<(), Fault> {
        attempt_steps::look(&self.database, id).await
    }

    async fn end_attempt(&self, id: BackgroundJobId, attempt: u32, end: &EndAttempt) -> Result<bool, Fault> {
        attempt_steps::end(&self.database, id, attempt, end).await
    }

    async fn person(&self, person: &Person) -> Result<Option<Result<BackgroundJob, Status>>, Fault> {
        person_steps::wish(&self.database, person).await
    }

    async fn revive(&self, id: BackgroundJobId, attempt: u32) -> Result<bool, Fault> {
        attempt_steps::revive(&self.database, id, attempt).await
    }

    async fn beat(&self, rows: &[(BackgroundJobId, u32)]) -> Result<Vec<BackgroundJobId>, Fault> {
        let what = "move heartbeats";
        let mut tx = self.database.write(what).await?;
        let ours: Vec<i64> = sqlx::query_scalar(BEAT)
            .bind(list::json(rows)?)
            .bind(moment::to_text(Utc::now()))
            .fetch_all(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)?;
        Ok(rows.iter().map(|(id, _)| *id).filter(|id| !ours.contains(&id.0)).collect())
    }

    async fn watch(&self, updates: &[Watched]) -> Result<(), Fault> {
        let what = "write what people watch";
        let updates = list::json(&updates.iter().map(as_json).collect::<Vec<_>>())?;
        let now = moment::to_text(Utc::now());
        let mut tx = self.database.write(what).await?;
        for statement in [WATCH_NOTE, WATCH_ERROR] {
            sqlx::query(statement).bind(&updates).bind(&now).execute(&mut *tx).await.during(what)?;
        }
        tx.commit().await.during(what)
    }

    async fn carried_by(&self, id: BackgroundJobId, queue_job: &JobId) -> Result<(), Fault> {
        let what = format!("note the carrier of background job {id}");
        let mut tx = self.database.write(&what).await?;
        sqlx::query(CARRIED_BY)
            .bind(id.0)
            .bind(queue_job.as_str())
            .bind(moment::to_text(Utc::now()))
            .execute(&mut *tx)
            .await
            .during(&what)?;
        tx.commit().await.during(&what)
    }

    async fn now(&self) -> Result<DateTime<Utc>, Fault> {
        // The file is on this host, and so is every process that has it open.
        Ok(Utc::now())
    }

    async fn check(&self) -> Result<(), Fault> {
        let what = "check that the store can be written to";
        let mut tx = self.database.write(what).await?;
        sqlx::query(CHECK).bind(moment::to_text(Utc::now())).execute(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)
    }
}

fn as_json(watched: &Watched) -> serde_json::Value {
    json!({
        "id": watched.id,
        "attempt": watched.attempt,
        "waiting_for": watched.waiting_for,
        "rate": watched.rate,
        "eta_seconds": watched.eta_seconds,
        "last_error": watched.last_error,
    })
}
