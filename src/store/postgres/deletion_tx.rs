//! The statements of a deletion batch: seven on the usual way, whatever the size of the batch.
//!
//! Why nobody can lose an attachment to a race: the attachments are locked first, then looked at by a
//! statement of its own, which sees everything that was committed before the locks were held. Whoever
//! links one later has to wait for our commit at the foreign key, and is refused. The receipts that
//! point to them and are deleted are locked too: whoever revives one waits, and finds it without pointer.
//!
//! A list of ids is handed over as a value that is found out only when the statement runs: where it could count
//! them, the planner would hold them against the index of all the tenant's rows, again in each batch.

use std::sync::Arc;

use async_trait::async_trait;

use super::connection::{Database, Tx};
use super::fault::{During, refused_or_fault};
use super::statement::{query, scalar, tuples};
use crate::fault::Fault;
use crate::job::{BackgroundJobId, BusinessId};
use crate::store::deletion::{
    CLEANUP_HOLD, Candidates, DeletionTx, Deletions, LockedJob, Moved, Scope, StepFault,
};
use crate::store::row::{self, Cells as _};
use crate::store::{Condemned, Pass, SetAside};

/// Row and fence as last committed, and nobody can change them before our commit. A row without a note
/// was never begun by us.
const LOCK_JOB: &str = "
    select j.business_id, j.status, j.cursor, coalesce(j.total, 0) as total,
           coalesce(j.processed, 0) as processed, coalesce(j.succeeded, 0) as succeeded,
           coalesce(j.failed_count, 0) as failed_count, n.attempt,
           (n.revived or n.barren_attempts > 0) as recovering
    from background_jobs j join tikkun_background_jobs n on n.background_job_id = j.id
    where j.id = $1
    for no key update of j, n";

/// The next live receipts behind the cursor, each once. Ordered by the column, not by what is answered: the
/// index has that order already.
const SELECT_FORWARD: &str = "
    select r.id::bigint from receipts r
    where r.business_id = $1 and r.is_deleted is not true and r.id > $2 and r.id <= $3
    order by r.id limit $4";

/// Live receipts of the request wherever they are, but for those set aside.
const SELECT_SWEEP: &str = "
    select r.id::bigint from receipts r
    where r.business_id = $1 and r.is_deleted is not true and r.id <= $2
      and not exists (select 1 from tikkun_set_aside s where s.background_job_id = $3 and s.receipt_id = r.id)
    order by r.id limit $4";

/// What an earlier row of the tenant set aside and is live, behind the cursor.
const SELECT_SET_ASIDE: &str = "
    select r.id::bigint from tikkun_set_aside s join receipts r on r.id = s.receipt_id
    where s.background_job_id = $1 and s.receipt_id > $2 and r.business_id = $3 and r.is_deleted is not true
    order by s.receipt_id limit $4";

/// Marks live receipts of the tenant only, whatever the list says; answers with what each pointed to.
const MARK: &str = "
    update receipts set is_deleted = true, deleted_at = $1, updated_at = $1
    where id = any((select $2::bigint[])::bigint[]) and business_id = $3 and is_deleted is not true
    returning id, attachment_id, preview_attachment_id";

/// Nobody can link, change or drop these attachments before our commit, nor revive a receipt that points
/// to one. In the order of their ids, so that two batches wait for each other in turn.
const LOCK_ATTACHMENTS: &str = "
    with held as materialized (
             select a.id from attachments a
             where a.id = any((select $1::bigint[])::bigint[]) and a.business_id = $2
               and a.purpose in ('receipt_source', 'receipt_preview')
             order by a.id for update),
         dead as materialized (
             select r.id from receipts r
             where (r.attachment_id = any((select $1::bigint[])::bigint[])
                    or r.preview_attachment_id = any((select $1::bigint[])::bigint[])) and r.is_deleted is true
             for no key update)
    select id::bigint from held where (select count(*) from dead) >= 0";

/// An attachment's row goes and its object comes into the outbox in one statement; every receipt that points
/// to it is set to null by its foreign keys. Those of the batch are set to null here, once each: the keys would
/// rewrite a receipt for each of its attachments, and find nothing left to do.
const CONDEMN: &str = "
    with cut as (
        update receipts set attachment_id = case when attachment_id = any($7) then null else attachment_id end,
            preview_attachment_id = case when preview_attachment_id = any($7) then null else preview_attachment_id end
        where id = any((select $8::bigint[])::bigint[]) and business_id = $2
          and (attachment_id = any($7) or preview_attachment_id = any($7))),
    gone as (
        delete from attachments where id = any((select $7::bigint[])::bigint[]) and business_id = $2
        returning id, storage_path, file_size)
    insert into tikkun_cleanup_outbox
        (background_job_id, business_id, driver, bucket, key, bytes, condemned_at, next_try_at)
    select $1, $2, $3, $4, storage_path, file_size, $5, $6
    from gone where coalesce(storage_path, '') <> '' order by id
    returning id, key";

/// A receipt is set aside once a job; the newest reason stands.
const SET_ASIDE: &str = "
    insert into tikkun_set_aside (background_job_id, receipt_id, reason, created_at)
    select $1, aside.receipt_id, aside.reason, $2 from unnest($3::bigint[], $4::text[]) as aside (receipt_id, reason)
    on conflict (background_job_id, receipt_id) do update set reason = excluded.reason";

/// Moves what the locked row held, only while it is running.
const MOVE_CURSOR: &str = "
    update background_jobs
    set cursor = $2, total = $3, processed = $4, succeeded = $5, failed_count = $6,
        updated_at = $7, heartbeat_at = $7
    where id = $1 and status = 'running'";

/// A good batch ends the count of barren attempts and allows another revival.
const RECOVERED: &str = "
    update tikkun_background_jobs set revived = false, barren_attempts = 0, updated_at = $2
    where background_job_id = $1";

/// A batch's transaction.
pub(super) struct PostgresDeletionTx {
    tx: Tx,
    database: Arc<Database>,
    /// The marked receipts.
    marked: Vec<i64>,
    /// What they pointed to.
    pointed: Vec<i64>,
}

#[async_trait]
impl Deletions for Arc<Database> {
    type Tx = PostgresDeletionTx;

    async fn begin(&self) -> Result<PostgresDeletionTx, Fault> {
        let tx = self.batch("begin a deletion batch").await?;
        Ok(PostgresDeletionTx { tx, database: Self::clone(self), marked: Vec::new(), pointed: Vec::new() })
    }
}

#[async_trait]
impl DeletionTx for PostgresDeletionTx {
    async fn lock_job(&mut self, job: BackgroundJobId) -> Result<Option<LockedJob>, Fault> {
        let what = format!("lock background job {job}");
        let found = query(LOCK_JOB)
            .persistent(self.database.prepared)
            .bind(job.0)
            .fetch_optional(&mut *self.tx)
            .await
            .during(&what)?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(LockedJob {
            business_id: BusinessId(found.needed("business_id")?),
            status: row::status(&found, job)?,
            attempt: row::count(&found, "attempt")?,
            progress: row::progress(&found)?,
            cursor: row::cursor(&found, job)?,
            recovering: found.flag("recovering")?,
        }))
    }

    async fn select_ids(&mut self, scope: &Scope<'_>, limit: u32) -> Result<Vec<i64>, Fault> {
        let tenant = scope.business_id.0;
        let query = match (scope.only_set_aside_of, scope.pass) {
            (Some(of), _) => scalar(SELECT_SET_ASIDE).bind(of.0).bind(scope.last_id).bind(tenant),
            (None, Pass::Forward) => {
                scalar(SELECT_FORWARD).bind(tenant).bind(scope.last_id).bind(scope.upper_id)
            }
            (None, Pass::Sweep) => scalar(SELECT_SWEEP).bind(tenant).bind(scope.upper_id).bind(scope.job.0),
        };
        query
            .persistent(self.database.prepared)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.tx)
            .await
            .during("select the receipts of a batch")
    }

    async fn mark(&mut self, scope: &Scope<'_>, receipts: &[i64]) -> Result<u32, StepFault> {
        let rows = query(MARK)
            .persistent(self.database.prepared)
            .bind(scope.now.naive_utc())
            .bind(receipts)
            .bind(scope.business_id.0)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, "mark the receipts of a batch"))?;
        for row in &rows {
            self.marked.push(row.needed("id")?);
            self.pointed.extend(row.number("attachment_id")?);
            self.pointed.extend(row.number("preview_attachment_id")?);
        }
        Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX))
    }

    async fn candidates(&mut self, scope: &Scope<'_>, _: &[i64]) -> Result<Candidates, Fault> {
        let mut found = Candidates::default();
        self.pointed.sort_unstable();
        self.pointed.dedup();
        if self.pointed.is_empty() {
            return Ok(found);
        }
        let held: Vec<i64> = scalar(LOCK_ATTACHMENTS)
            .persistent(self.database.prepared)
            .bind(&self.pointed)
            .bind(scope.business_id.0)
            .fetch_all(&mut *self.tx)
            .await
            .during("lock the attachments of a batch")?;
        if held.is_empty() {
            return Ok(found);
        }
        let named = self.database.prepared;
        let look = self.database.references.needless(&mut self.tx, scope.business_id, &held, named);
        for (id, kept) in look.await? {
            match kept {
                None => found.condemnable.push(id),
                Some(reference) => *found.kept_for.entry(reference).or_default() += 1,
            }
        }
        Ok(found)
    }

    async fn condemn(&mut self, scope: &Scope<'_>, attachments: &[i64]) -> Result<Vec<Condemned>, StepFault> {
        let mut rows: Vec<(i64, String)> = tuples(CONDEMN)
            .persistent(self.database.prepared)
            .bind(scope.job.0)
            .bind(scope.business_id.0)
            .bind(&scope.target.driver)
            .bind(&scope.target.bucket)
            .bind(scope.now.naive_utc())
            .bind((scope.now + CLEANUP_HOLD).naive_utc())
            .bind(attachments)
            .bind(&self.marked)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, "condemn the attachments of a batch"))?;
        rows.sort_unstable();
        Ok(rows.into_iter().map(|(id, key)| Condemned { id, key }).collect())
    }

    async fn set_aside(&mut self, scope: &Scope<'_>, rows: &[SetAside]) -> Result<(), Fault> {
        let ids: Vec<i64> = rows.iter().map(|row| row.receipt.0).collect();
        let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
        query(SET_ASIDE)
            .bind(scope.job.0)
            .bind(scope.now.naive_utc())
            .bind(&ids)
            .bind(&reasons)
            .execute(&mut *self.tx)
            .await
            .during("set receipts aside")?;
        Ok(())
    }

    async fn move_cursor(&mut self, moved: &Moved<'_>) -> Result<(), Fault> {
        let now = moved.now.naive_utc();
        let what = format!("move the cursor of background job {}", moved.job);
        query(MOVE_CURSOR)
            .persistent(self.database.prepared)
            .bind(moved.job.0)
            .bind(moved.cursor.to_string())
            .bind(moved.progress.total)
            .bind(moved.progress.processed)
            .bind(moved.progress.succeeded)
            .bind(moved.progress.failed)
            .bind(now)
            .execute(&mut *self.tx)
            .await
            .during(&what)?;
        if moved.recovered {
            query(RECOVERED).bind(moved.job.0).bind(now).execute(&mut *self.tx).await.during(&what)?;
        }
        Ok(())
    }

    async fn savepoint(&mut self) -> Result<(), Fault> {
        // Everything after it can be taken back alone.
        self.plain("savepoint step").await
    }

    async fn release(&mut self) -> Result<(), Fault> {
        // Keeps what came after the savepoint.
        self.plain("release savepoint step").await
    }

    async fn rollback_to(&mut self) -> Result<(), Fault> {
        // Takes back what came after the savepoint, and closes it, so that the next has its name to itself.
        self.plain("rollback to savepoint step; release savepoint step").await
    }

    async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.during("commit a deletion batch")
    }

    async fn rollback(self) {
        // A connection that cannot even do that does not pass the pool's test.
        let _ = self.tx.rollback().await;
    }
}

impl PostgresDeletionTx {
    async fn plain(&mut self, statement: &'static str) -> Result<(), Fault> {
        sqlx::raw_sql(statement).execute(&mut *self.tx).await.during(statement)?;
        Ok(())
    }
}
