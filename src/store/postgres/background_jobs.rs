//! The port onto `background_jobs`, on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};

use super::connection::Database;
use super::fault::During;
use super::statement::{query, scalar};
use super::status_sql::NOW;
use super::status_tx::number;
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, BusinessId, JobId};
use crate::store::row::{self, readable, select_jobs};
use crate::store::{BackgroundJobs, Begin, Begun, EndAttempt, NewRequest, Person, Requested, Watched};
use crate::store::{attempt_steps, person_steps};

/// One row as last committed.
const GET: &str = select_jobs!("where j.id = $1");

/// The tenant's active row, or else its newest.
pub(super) const LATEST: &str = select_jobs!(
    "where j.business_id = $1 and j.job_type = $2
     order by j.status in ('queued', 'running', 'paused') desc, j.id desc limit 1"
);

/// Active rows of all tenants, from the partial unique index alone.
const ALL_ACTIVE: &str = select_jobs!(
    "where j.status in ('queued', 'running', 'paused') and j.job_type = $1 order by j.id limit $2"
);

/// The newest rows of all tenants, whatever became of them: those among the last ids of the table, and those that
/// have a note of ours. However many rows of other types there are, no more than those ids are read, along the
/// primary keys; a row that fell behind them before we ever had it in hand is not among the newest.
const NEWEST: &str = select_jobs!(
    "where j.job_type = $1 and j.id in (
         select id from (
             select id from background_jobs
             where id > (select coalesce(max(id), 0) from background_jobs) - 10000 and job_type = $1
             order by id desc limit $2) recent
         union
         select background_job_id from (
             select background_job_id from tikkun_background_jobs
             order by background_job_id desc limit $2) noted)
     order by j.id desc limit $2"
);

/// Moves only rows that are still under the attempt that beats, by the newest of row and fence; in the
/// order of their ids, so that nobody waits for us in a circle. The time is the server's, whoever beats. The answer
/// names them.
const BEAT: &str = "
    with ours as materialized (
        select j.id
        from unnest($1::bigint[], $2::integer[]) as beat (id, attempt)
        join background_jobs j on j.id = beat.id
        join tikkun_background_jobs n on n.background_job_id = beat.id and n.attempt = beat.attempt
        where j.status = 'running' or (j.status = 'paused' and n.pause_reason = 'continuation')
        order by j.id
        for no key update of j, n)
    update background_jobs set heartbeat_at = now() at time zone 'utc', updated_at = now() at time zone 'utc'
    from ours where background_jobs.id = ours.id
    returning background_jobs.id::bigint";

/// What people watch, of running rows under the newest attempt only; a last error of none leaves the one
/// before. Row and fence are locked first, in the order of their ids.
const WATCH: &str = "
    with ours as materialized (
        select j.id, w.waiting_for, w.rate, w.eta_seconds, w.last_error
        from unnest($1::bigint[], $2::integer[], $3::text[], $4::double precision[], $5::double precision[],
                    $6::text[]) as w (id, attempt, waiting_for, rate, eta_seconds, last_error)
        join background_jobs j on j.id = w.id
        join tikkun_background_jobs n on n.background_job_id = w.id and n.attempt = w.attempt
        where j.status = 'running'
        order by j.id
        for no key update of j, n),
    notes as (
        update tikkun_background_jobs n
        set waiting_for = ours.waiting_for, rate = ours.rate, eta_seconds = ours.eta_seconds,
            updated_at = now() at time zone 'utc'
        from ours where n.background_job_id = ours.id)
    update background_jobs set last_error = ours.last_error, updated_at = now() at time zone 'utc'
    from ours where background_jobs.id = ours.id and ours.last_error is not null";

/// Notes the queue job of a row that exists.
const CARRIED_BY: &str = "
    insert into tikkun_background_jobs (background_job_id, queue_job, updated_at)
    select id, $2, now() at time zone 'utc' from background_jobs where id = $1
    on conflict (background_job_id) do update set
        queue_job = excluded.queue_job, updated_at = excluded.updated_at";

/// Together a durable write that touches nothing else and leaves nothing behind. The row is nobody else's, so that no
/// process waits for another.
const CHECK: &str = "
    insert into tikkun_store_check (id, checked_at)
    values (floor(random() * 2000000000)::integer, now() at time zone 'utc') returning id";
const CHECKED: &str = "delete from tikkun_store_check where id = $1";

/// Background jobs in one database.
pub(super) struct PostgresBackgroundJobs {
    database: Arc<Database>,
}

impl PostgresBackgroundJobs {
    /// On open connections.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl BackgroundJobs for PostgresBackgroundJobs {
    async fn request(&self, request: &NewRequest) -> Result<Requested, Fault> {
        person_steps::request(&self.database, request).await
    }

    async fn fail_unqueued(&self, id: BackgroundJobId, error: &str) -> Result<bool, Fault> {
        person_steps::fail_unqueued(&self.database, id, error).await
    }

    async fn get(&self, id: BackgroundJobId) -> Result<Option<BackgroundJob>, Fault> {
        let what = format!("read background job {id}");
        let mut tx = self.database.read(&what).await?;
        let found = query(GET).bind(id.0).fetch_optional(&mut *tx).await.during(&what)?;
        found.map(|found| row::tracked(&found).map(|tracked| tracked.job)).transpose()
    }

    async fn latest(&self, business_id: BusinessId, job_type: &str) -> Result<Option<BackgroundJob>, Fault> {
        let what = format!("read the latest {job_type} of business {business_id}");
        let mut tx = self.database.read(&what).await?;
        let query = query(LATEST).bind(business_id.0).bind(job_type);
        let found = query.fetch_optional(&mut *tx).await.during(&what)?;
        found.map(|found| row::tracked(&found).map(|tracked| tracked.job)).transpose()
    }

    async fn active(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault> {
        let what = format!("read active rows of {job_type}");
        let mut tx = self.database.read(&what).await?;
        let query = query(ALL_ACTIVE).bind(job_type).bind(i64::from(max));
        Ok(query.fetch_all(&mut *tx).await.during(&what)?.iter().filter_map(readable).collect())
    }

    async fn newest(&self, job_type: &str, max: u32) -> Result<Vec<BackgroundJob>, Fault> {
        let what = format!("read the newest rows of {job_type}");
        let mut tx = self.database.read(&what).await?;
        let query = query(NEWEST).bind(job_type).bind(i64::from(max));
        Ok(query.fetch_all(&mut *tx).await.during(&what)?.iter().filter_map(readable).collect())
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
        let ids: Vec<i64> = rows.iter().map(|(id, _)| id.0).collect();
        let attempts: Vec<i32> = rows.iter().map(|(_, attempt)| number(*attempt)).collect();
        let mut tx = self.database.write(what).await?;
        let ours: Vec<i64> = scalar(BEAT).bind(ids).bind(attempts).fetch_all(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)?;
        Ok(rows.iter().map(|(id, _)| *id).filter(|id| !ours.contains(&id.0)).collect())
    }

    async fn watch(&self, updates: &[Watched]) -> Result<(), Fault> {
        let what = "write what people watch";
        let mut tx = self.database.write(what).await?;
        query(WATCH)
            .bind(updates.iter().map(|watched| watched.id.0).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| number(watched.attempt)).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.waiting_for.clone()).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.rate).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.eta_seconds).collect::<Vec<_>>())
            .bind(updates.iter().map(|watched| watched.last_error.clone()).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await
            .during(what)?;
        tx.commit().await.during(what)
    }

    async fn carried_by(&self, id: BackgroundJobId, queue_job: &JobId) -> Result<(), Fault> {
        let what = format!("note the carrier of background job {id}");
        let mut tx = self.database.write(&what).await?;
        query(CARRIED_BY).bind(id.0).bind(queue_job.as_str()).execute(&mut *tx).await.during(&what)?;
        tx.commit().await.during(&what)
    }

    async fn now(&self) -> Result<DateTime<Utc>, Fault> {
        let what = "read the database's time";
        let mut tx = self.database.read(what).await?;
        let now: NaiveDateTime = scalar(NOW).fetch_one(&mut *tx).await.during(what)?;
        Ok(now.and_utc())
    }

    async fn check(&self) -> Result<(), Fault> {
        let what = "check that the store can be written to";
        let mut tx = self.database.write(what).await?;
        let row: i32 = scalar(CHECK).fetch_one(&mut *tx).await.during(what)?;
        query(CHECKED).bind(row).execute(&mut *tx).await.during(what)?;
        tx.commit().await.during(what)
    }
}
