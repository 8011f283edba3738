//! The statements of a deletion batch: six messages on the usual way, whatever the size of the batch. They begin,
//! lock the job, take receipts and attachments, look at what else needs those, change everything, commit.
//!
//! Why nobody can lose an attachment to a race: the attachments are locked first, then looked at by a
//! statement of its own, which sees everything that was committed before the locks were held. Whoever
//! links one later has to wait for our commit at the foreign key, and is refused. Deleted receipts that point
//! to one are locked too: whoever revives one waits, and finds it without pointer.
//!
//! A list of ids is found out only when the statement runs, and `business_id + 0` is in no index: else the planner
//! would hold the list against the index of all the tenant's rows, again in each batch.

use std::sync::Arc;

use async_trait::async_trait;

use super::connection::{Database, Tx};
use super::fault::{During, refused_or_fault};
use super::references::References;
use super::statement::{query, scalar, tuples};
use crate::fault::Fault;
use crate::job::{BackgroundJobId, BusinessId};
use crate::store::deletion::{
    CLEANUP_HOLD, Change, DeletionTx, Deletions, LockedJob, Needless, Scope, StepFault, Taken,
};
use crate::store::row::{self, Cells as _};
use crate::store::{Condemned, Pass, SetAside};

/// Takes the receipts that the given text chooses: those of them that are live still cannot be changed by anyone
/// else before our commit, nor can anyone link, change or drop the attachments of the tenant that they point
/// to. Each table in the order of its ids, so that two batches wait for each other in turn.
macro_rules! take {
    ($chosen:literal) => {
        concat!(
            "
    with chosen as materialized (",
            $chosen,
            "),
    live as materialized (
        select r.id, r.attachment_id, r.preview_attachment_id from receipts r
        where r.id = any(array(select id from chosen)) and r.business_id + 0 = $1 and r.is_deleted is not true
        order by r.id for no key update),
    pointed as materialized (
        select attachment_id as id from live where attachment_id is not null
        union select preview_attachment_id from live where preview_attachment_id is not null),
    held as materialized (
        select a.id from attachments a
        where a.id = any(array(select id from pointed)) and a.business_id + 0 = $1
          and a.purpose in ('receipt_source', 'receipt_preview')
        order by a.id for update)
    select array(select id::bigint from chosen), array(select id::bigint from live),
           array(select id::bigint from pointed), array(select id::bigint from held)"
        )
    };
}

/// Row and fence as last committed, and nobody can change them before our commit. A row without a note
/// was never begun by us.
const LOCK_JOB: &str = "
    select j.business_id, j.status, j.cursor, coalesce(j.total, 0) as total,
           coalesce(j.processed, 0) as processed, coalesce(j.succeeded, 0) as succeeded,
           coalesce(j.failed_count, 0) as failed_count, n.attempt,
           (n.revived or n.barren_attempts > 0) as recovering, now() at time zone 'utc' as now
    from background_jobs j join tikkun_background_jobs n on n.background_job_id = j.id
    where j.id = $1
    for no key update of j, n";

/// The next live receipts behind the cursor, each once. Ordered by the column, not by what is answered: the
/// index has that order already.
const TAKE_FORWARD: &str = take!(
    "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id > $3 and r.id <= $4
     order by r.id limit $2"
);

/// Live receipts of the request wherever they are, but for those set aside.
const TAKE_SWEEP: &str = take!(
    "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id <= $3
       and not exists (select 1 from tikkun_set_aside s where s.background_job_id = $4 and s.receipt_id = r.id)
     order by r.id limit $2"
);

/// The same two where creation times restrict the request.
const TAKE_DATED_FORWARD: &str = take!(
    "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id > $3 and r.id <= $4
       and (r.created_at <= $5 or (r.created_at is null and $6))
     order by r.id limit $2"
);
const TAKE_DATED_SWEEP: &str = take!(
    "select r.id from receipts r
     where r.business_id = $1 and r.is_deleted is not true and r.id <= $3
       and (r.created_at <= $5 or (r.created_at is null and $6))
       and not exists (select 1 from tikkun_set_aside s where s.background_job_id = $4 and s.receipt_id = r.id)
     order by r.id limit $2"
);

/// What an earlier row of the tenant set aside and is live, behind the cursor.
const TAKE_SET_ASIDE: &str = take!(
    "select r.id from tikkun_set_aside s join receipts r on r.id = s.receipt_id
     where s.background_job_id = $4 and s.receipt_id > $3 and r.business_id = $1 and r.is_deleted is not true
     order by s.receipt_id limit $2"
);

/// Those attachments that a receipt pointed to only after its batch was looked for, locked as all others are.
const HOLD: &str = "
    select a.id::bigint from attachments a
    where a.id = any((select $1::bigint[])::bigint[]) and a.business_id + 0 = $2
      and a.purpose in ('receipt_source', 'receipt_preview')
    order by a.id for update";

/// Receipts are marked, those of the tenant only and whatever the list says, and lose their pointers to what goes:
/// the foreign keys would rewrite a receipt for each of its attachments, and find nothing left to do. An
/// attachment's row goes and its object comes into the outbox. The job's row moves from what was locked, only
/// while it is running. All of it or nothing.
const CHANGE: &str = "
    with marked as (
        update receipts set is_deleted = true, deleted_at = $1, updated_at = $1,
            attachment_id =
                case when attachment_id in (select unnest($4::bigint[])) then null else attachment_id end,
            preview_attachment_id =
                case when preview_attachment_id in (select unnest($4::bigint[])) then null else preview_attachment_id end
        where id = any((select $3::bigint[])::bigint[]) and business_id + 0 = $2 and is_deleted is not true),
    gone as (
        delete from attachments where id = any((select $4::bigint[])::bigint[]) and business_id + 0 = $2
        returning id, storage_path, file_size),
    moved as (
        update background_jobs
        set cursor = $9, total = $10, processed = $11, succeeded = $12, failed_count = $13,
            updated_at = $1, heartbeat_at = $1
        where id = $5 and status = 'running' and $9 is not null)
    insert into tikkun_cleanup_outbox
        (background_job_id, business_id, driver, bucket, key, bytes, condemned_at, next_try_at)
    select $5, $2, $6, $7, storage_path, file_size, $1, $8
    from gone where coalesce(storage_path, '') <> '' order by id
    returning id, key";

/// A receipt is set aside once a job; the newest reason stands.
const SET_ASIDE: &str = "
    insert into tikkun_set_aside (background_job_id, receipt_id, reason, created_at)
    select $1, aside.receipt_id, aside.reason, $2 from unnest($3::bigint[], $4::text[]) as aside (receipt_id, reason)
    on conflict (background_job_id, receipt_id) do update set reason = excluded.reason";

/// A good batch ends the count of barren attempts and allows another revival.
const RECOVERED: &str = "
    update tikkun_background_jobs set revived = false, barren_attempts = 0, updated_at = $2
    where background_job_id = $1";

/// A batch's transaction.
pub(super) struct PostgresDeletionTx {
    tx: Tx,
    database: Arc<Database>,
    /// The locked attachments.
    held: Vec<i64>,
}

#[async_trait]
impl Deletions for Arc<Database> {
    type Tx = PostgresDeletionTx;

    async fn begin(&self) -> Result<PostgresDeletionTx, Fault> {
        let tx = self.batch("begin a deletion batch").await?;
        Ok(PostgresDeletionTx { tx, database: Self::clone(self), held: Vec::new() })
    }
}

#[async_trait]
impl DeletionTx for PostgresDeletionTx {
    async fn lock_job(&mut self, job: BackgroundJobId) -> Result<Option<LockedJob>, Fault> {
        let what = format!("lock background job {job}");
        let found = query(LOCK_JOB)
            .persistent(self.database.named())
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
            now: found.time("now")?.unwrap_or_default(),
        }))
    }

    async fn take(&mut self, scope: &Scope<'_>, limit: u32) -> Result<Taken, Fault> {
        let dated = scope.dated.filter(|_| scope.only_set_aside_of.is_none());
        let (statement, from, other) = match (scope.only_set_aside_of, scope.pass, dated) {
            (Some(of), ..) => (TAKE_SET_ASIDE, scope.last_id, of.0),
            (None, Pass::Forward, None) => (TAKE_FORWARD, scope.last_id, scope.upper_id),
            (None, Pass::Forward, Some(_)) => (TAKE_DATED_FORWARD, scope.last_id, scope.upper_id),
            (None, Pass::Sweep, None) => (TAKE_SWEEP, scope.upper_id, scope.job.0),
            (None, Pass::Sweep, Some(_)) => (TAKE_DATED_SWEEP, scope.upper_id, scope.job.0),
        };
        let mut take = tuples(statement)
            .persistent(self.database.named())
            .bind(scope.business_id.0)
            .bind(i64::from(limit))
            .bind(from)
            .bind(other);
        if let Some(dated) = dated {
            take = take.bind(dated.until.naive_utc()).bind(dated.undated);
        }
        let (ids, live, pointed, held): (Vec<i64>, Vec<i64>, Vec<i64>, Vec<i64>) =
            take.fetch_one(&mut *self.tx).await.during("take the receipts of a batch")?;
        self.held = held;
        self.hold_late(scope, pointed).await?;
        Ok(Taken { ids, live })
    }

    async fn needless(&mut self, scope: &Scope<'_>, gone: &[i64]) -> Result<Needless, Fault> {
        let mut found = Needless::default();
        if self.held.is_empty() || gone.is_empty() {
            return Ok(found);
        }
        let batch =
            References { tenant: scope.business_id, held: &self.held, gone, named: self.database.named() };
        for (id, kept) in self.database.references.needless(&mut self.tx, &batch).await? {
            match kept {
                None => found.condemnable.push(id),
                Some(reference) => *found.kept_for.entry(reference).or_default() += 1,
            }
        }
        Ok(found)
    }

    async fn change(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault> {
        let moved = change.moved.as_ref();
        let progress = moved.map(|moved| moved.progress).unwrap_or_default();
        let mut rows: Vec<(i64, String)> = tuples(CHANGE)
            .persistent(self.database.named())
            .bind(scope.now.naive_utc())
            .bind(scope.business_id.0)
            .bind(change.receipts)
            .bind(change.attachments)
            .bind(scope.job.0)
            .bind(&scope.target.driver)
            .bind(&scope.target.bucket)
            .bind((scope.now + CLEANUP_HOLD).naive_utc())
            .bind(moved.map(|moved| moved.cursor.to_string()))
            .bind(progress.total)
            .bind(progress.processed)
            .bind(progress.succeeded)
            .bind(progress.failed)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, "change the rows of a batch"))?;
        if moved.is_some_and(|moved| moved.recovered) {
            let recovered = query(RECOVERED).bind(scope.job.0).bind(scope.now.naive_utc());
            recovered.execute(&mut *self.tx).await.during("note that a deletion has recovered")?;
        }
        rows.sort_unstable();
        Ok(rows.into_iter().map(|(id, key)| Condemned { id, key }).collect())
    }

    async fn set_aside(&mut self, scope: &Scope<'_>, rows: &[SetAside]) -> Result<(), Fault> {
        let ids: Vec<i64> = rows.iter().map(|row| row.receipt.0).collect();
        let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
        let query = query(SET_ASIDE).bind(scope.job.0).bind(scope.now.naive_utc()).bind(&ids).bind(&reasons);
        query.execute(&mut *self.tx).await.during("set receipts aside")?;
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
        self.tx.commit().await.during("commit a deletion batch")?;
        self.database.went_well();
        Ok(())
    }

    async fn rollback(self) {
        // A connection that cannot even do that does not pass the pool's test.
        let _ = self.tx.rollback().await;
    }
}

impl PostgresDeletionTx {
    /// A receipt that somebody changed while we waited for it may point to what the statement that took it could
    /// not see yet.
    async fn hold_late(&mut self, scope: &Scope<'_>, mut pointed: Vec<i64>) -> Result<(), Fault> {
        pointed.retain(|id| self.held.binary_search(id).is_err());
        if pointed.is_empty() {
            return Ok(());
        }
        let late: Vec<i64> = scalar(HOLD)
            .persistent(self.database.named())
            .bind(&pointed)
            .bind(scope.business_id.0)
            .fetch_all(&mut *self.tx)
            .await
            .during("lock the attachments of a batch")?;
        self.held.extend(late);
        Ok(())
    }

    async fn plain(&mut self, statement: &'static str) -> Result<(), Fault> {
        sqlx::raw_sql(statement).execute(&mut *self.tx).await.during(statement)?;
        Ok(())
    }
}
