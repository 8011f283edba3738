//! The statements of a deletion batch: seven messages on the usual way, whatever the size of the batch. They begin,
//! lock the job, take receipts and attachments, look at what else needs those, change everything, look at what that
//! has come to, commit. Step by step each change is a plain statement, which rules may rewrite.
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
use super::fault::{During, is_outgrown, refused_or_fault};
use super::references::{HOLD, References};
use super::statement::{query, scalar, tuples};
use crate::fault::{Fault, FaultKind};
use crate::job::{BackgroundJobId, BusinessId};
use crate::store::deletion::{
    CLEANUP_HOLD, Change, DeletionTx, Deletions, LEFT_AS_IT_WAS, LockedJob, Moved, Needless, Scope,
    StepFault, Taken,
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
           (n.revived or n.barren_attempts > 0) as recovering
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

/// What an earlier row of the tenant set aside and is live, behind the cursor.
const TAKE_SET_ASIDE: &str = take!(
    "select r.id from tikkun_set_aside s join receipts r on r.id = s.receipt_id
     where s.background_job_id = $4 and s.receipt_id > $3 and r.business_id = $1 and r.is_deleted is not true
     order by s.receipt_id limit $2"
);

/// Receipts are marked, those of the tenant only and whatever the list says, and lose their pointers to what goes:
/// the foreign keys would rewrite a receipt for each of its attachments, and find nothing left to do. An
/// attachment's row goes, and its object comes into the outbox unless a row that stays shares it. The job's row moves
/// from what was locked, only while it is running. All of it or nothing.
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
    from gone g
    where coalesce(storage_path, '') <> ''
      and not exists (select 1 from gone o where o.storage_path = g.storage_path and o.id < g.id)
      and not exists (select 1 from attachments o
                      where o.storage_path = g.storage_path and o.id not in (select id from gone))
    order by id
    returning id, key";

/// How the rows of a batch stand after the change, triggers and all: receipts that are deleted, attachments that are
/// still there, and whether the job's row has moved.
const STANDING: &str = "
    select (select count(*) from receipts
            where id = any((select $2::bigint[])::bigint[]) and business_id + 0 = $1 and is_deleted is true),
           (select count(*) from attachments where id = any((select $3::bigint[])::bigint[])),
           exists (select 1 from background_jobs where id = $4 and processed = $5)";

/// Receipts of a list that are live as they stand now.
const STILL_LIVE: &str = "
    select id::bigint from receipts
    where id = any((select $2::bigint[])::bigint[]) and business_id + 0 = $1 and is_deleted is not true
    order by id";

/// Marks live receipts of the tenant only, whatever the list says.
const MARK: &str = "
    update receipts set is_deleted = true, deleted_at = $1, updated_at = $1
    where id = any((select $2::bigint[])::bigint[]) and business_id + 0 = $3 and is_deleted is not true";

/// The objects of attachments that are about to go, but for those that a row shares which is not among them.
const WRITE_OUTBOX: &str = "
    insert into tikkun_cleanup_outbox
        (background_job_id, business_id, driver, bucket, key, bytes, condemned_at, next_try_at)
    select $1, $2, $3, $4, a.storage_path, a.file_size, $5, $6 from attachments a
    where a.id = any((select $7::bigint[])::bigint[]) and coalesce(a.storage_path, '') <> ''
      and not exists (select 1 from attachments o where o.storage_path = a.storage_path and o.id <> a.id
                      and (o.id < a.id or not o.id = any((select $7::bigint[])::bigint[])))
    order by a.id
    returning id, key";

/// Drops attachments of the tenant; receipts that point to them are set to null by their foreign keys.
const DROP_ATTACHMENTS: &str =
    "delete from attachments where id = any((select $1::bigint[])::bigint[]) and business_id + 0 = $2";

/// Moves what the locked row held, only while it is running.
const MOVE_CURSOR: &str = "
    update background_jobs
    set cursor = $2, total = $3, processed = $4, succeeded = $5, failed_count = $6,
        updated_at = $7, heartbeat_at = $7
    where id = $1 and status = 'running'";

/// Attachments of a list that are not there for us, although receipts point to them: hidden, or not to be locked.
const NOT_SHOWN: &str = "
    select count(*) from unnest($1::bigint[]) as p (id)
    where row_security_active('attachments') and not exists (
        select 1 from attachments a
        where a.id = p.id and (a.business_id is distinct from $2::bigint
              or a.purpose is null or a.purpose not in ('receipt_source', 'receipt_preview')))";
/// Why such an attachment stays.
const NOT_TO_BE_LOCKED: &str =
    "a policy of row security on attachments hides it or lets nobody lock it; `tikkun doctor` names it";

/// A receipt is set aside once a job; the newest reason stands.
const SET_ASIDE: &str = "
    insert into tikkun_set_aside (background_job_id, receipt_id, reason, created_at)
    select $1, aside.receipt_id, aside.reason, $2 from unnest($3::bigint[], $4::text[]) as aside (receipt_id, reason)
    on conflict (background_job_id, receipt_id) do update set reason = excluded.reason";

/// A good batch ends the count of barren attempts and allows another revival.
const RECOVERED: &str = "
    update tikkun_background_jobs set revived = false, barren_attempts = 0, updated_at = $2
    where background_job_id = $1";

/// What is tried when rows are changed.
const CHANGING: &str = "change the rows of a batch";

/// A batch's transaction.
pub(super) struct PostgresDeletionTx {
    tx: Tx,
    database: Arc<Database>,
    /// The locked attachments.
    held: Vec<i64>,
    /// How many of those that the receipts point to row security keeps from us.
    not_shown: u32,
}

#[async_trait]
impl Deletions for Arc<Database> {
    type Tx = PostgresDeletionTx;

    async fn begin(&self) -> Result<PostgresDeletionTx, Fault> {
        let tx = self.batch("begin a deletion batch").await?;
        Ok(PostgresDeletionTx { tx, database: Self::clone(self), held: Vec::new(), not_shown: 0 })
    }

    fn forgets_statements(&self, fault: &Fault) -> bool {
        let outgrown = is_outgrown(fault);
        if outgrown {
            self.forget_statements();
        }
        outgrown
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
        }))
    }

    async fn take(&mut self, scope: &Scope<'_>, limit: u32) -> Result<Taken, Fault> {
        let (statement, from, other) = match (scope.only_set_aside_of, scope.pass) {
            (Some(of), _) => (TAKE_SET_ASIDE, scope.last_id, of.0),
            (None, Pass::Forward) => (TAKE_FORWARD, scope.last_id, scope.upper_id),
            (None, Pass::Sweep) => (TAKE_SWEEP, scope.upper_id, scope.job.0),
        };
        let (ids, live, pointed, held): (Vec<i64>, Vec<i64>, Vec<i64>, Vec<i64>) = tuples(statement)
            .persistent(self.database.named())
            .bind(scope.business_id.0)
            .bind(i64::from(limit))
            .bind(from)
            .bind(other)
            .fetch_one(&mut *self.tx)
            .await
            .during("take the receipts of a batch")?;
        self.held = held;
        self.hold_late(scope, pointed).await?;
        Ok(Taken { ids, live })
    }

    async fn needless(&mut self, scope: &Scope<'_>, gone: &[i64]) -> Result<Needless, Fault> {
        let mut found = Needless::default();
        if gone.is_empty() {
            return Ok(found);
        }
        if !self.held.is_empty() {
            let (held, named) = (self.held.as_slice(), self.database.named());
            let batch = References { tenant: scope.business_id, held, gone, named };
            found = self.database.references.needless(&mut self.tx, &batch).await?;
        }
        if self.not_shown > 0 {
            *found.withheld.entry(NOT_TO_BE_LOCKED.to_owned()).or_default() += self.not_shown;
        }
        Ok(found)
    }

    async fn still_live(&mut self, scope: &Scope<'_>, ids: &[i64]) -> Result<Vec<i64>, Fault> {
        let query = scalar(STILL_LIVE).bind(scope.business_id.0).bind(ids);
        query.fetch_all(&mut *self.tx).await.during("look at receipts that could not be locked")
    }

    async fn change(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault> {
        let mut rows = match &change.moved {
            Some(moved) if !change.receipts.is_empty() => self.change_at_once(scope, change, moved).await?,
            _ => self.change_plainly(scope, change).await?,
        };
        if change.moved.as_ref().is_some_and(|moved| moved.recovered) {
            let recovered = query(RECOVERED).bind(scope.job.0).bind(scope.now.naive_utc());
            recovered.execute(&mut *self.tx).await.during("note that a deletion has recovered")?;
        }
        self.stands(scope, change).await?;
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
    /// All of a batch in one statement.
    async fn change_at_once(
        &mut self,
        scope: &Scope<'_>,
        change: &Change<'_>,
        moved: &Moved<'_>,
    ) -> Result<Vec<(i64, String)>, StepFault> {
        tuples(CHANGE)
            .persistent(self.database.named())
            .bind(scope.now.naive_utc())
            .bind(scope.business_id.0)
            .bind(change.receipts)
            .bind(change.attachments)
            .bind(scope.job.0)
            .bind(&scope.target.driver)
            .bind(&scope.target.bucket)
            .bind((scope.now + CLEANUP_HOLD).naive_utc())
            .bind(moved.cursor.to_string())
            .bind(moved.progress.total)
            .bind(moved.progress.processed)
            .bind(moved.progress.succeeded)
            .bind(moved.progress.failed)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, CHANGING))
    }

    /// The same in plain statements.
    async fn change_plainly(
        &mut self,
        scope: &Scope<'_>,
        change: &Change<'_>,
    ) -> Result<Vec<(i64, String)>, StepFault> {
        let refused = |error| refused_or_fault(error, CHANGING);
        let (now, tenant) = (scope.now.naive_utc(), scope.business_id.0);
        if !change.receipts.is_empty() {
            let mark = query(MARK).bind(now).bind(change.receipts).bind(tenant);
            mark.execute(&mut *self.tx).await.map_err(refused)?;
        }
        let mut objects = Vec::new();
        if !change.attachments.is_empty() {
            let write = tuples(WRITE_OUTBOX)
                .bind(scope.job.0)
                .bind(tenant)
                .bind(&scope.target.driver)
                .bind(&scope.target.bucket)
                .bind(now)
                .bind((scope.now + CLEANUP_HOLD).naive_utc())
                .bind(change.attachments);
            objects = write.fetch_all(&mut *self.tx).await.map_err(refused)?;
            let drop = query(DROP_ATTACHMENTS).bind(change.attachments).bind(tenant);
            drop.execute(&mut *self.tx).await.map_err(refused)?;
        }
        if let Some(moved) = &change.moved {
            let move_cursor = query(MOVE_CURSOR)
                .bind(scope.job.0)
                .bind(moved.cursor.to_string())
                .bind(moved.progress.total)
                .bind(moved.progress.processed)
                .bind(moved.progress.succeeded)
                .bind(moved.progress.failed)
                .bind(now);
            move_cursor.execute(&mut *self.tx).await.during(CHANGING)?;
        }
        Ok(objects)
    }

    /// Whether the rows are as they were to become, each.
    async fn stands(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<(), StepFault> {
        let processed = change.moved.as_ref().map(|moved| moved.progress.processed);
        let (deleted, there, moved): (i64, i64, bool) = tuples(STANDING)
            .persistent(self.database.named())
            .bind(scope.business_id.0)
            .bind(change.receipts)
            .bind(change.attachments)
            .bind(scope.job.0)
            .bind(processed)
            .fetch_one(&mut *self.tx)
            .await
            .during("look at what a batch has changed")?;
        if usize::try_from(deleted) != Ok(change.receipts.len()) || there != 0 {
            return Err(StepFault::Refused(LEFT_AS_IT_WAS.to_owned()));
        }
        if processed.is_some() && !moved {
            let text = format!("move the cursor of background job {}: {LEFT_AS_IT_WAS}", scope.job);
            return Err(Fault::new(FaultKind::Permanent, text).into());
        }
        Ok(())
    }

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
        pointed.retain(|id| !late.contains(id));
        self.held.extend(late);
        if !pointed.is_empty() {
            let count = scalar(NOT_SHOWN).bind(&pointed).bind(scope.business_id.0);
            let count: i64 =
                count.fetch_one(&mut *self.tx).await.during("look for attachments of a batch")?;
            self.not_shown = u32::try_from(count).unwrap_or(u32::MAX);
        }
        Ok(())
    }

    async fn plain(&mut self, statement: &'static str) -> Result<(), Fault> {
        sqlx::raw_sql(statement).execute(&mut *self.tx).await.during(statement)?;
        Ok(())
    }
}
