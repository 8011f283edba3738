//! The statements of a deletion batch: normally seven messages, whatever its size. They begin, lock the job,
//! take receipts and attachments, find other references to these, change everything, check the result,
//! commit. Step by step, each change is a plain statement, which rules may rewrite.
//!
//! No attachment is lost to a race. The attachments are locked first, and then a separate statement looks for
//! references to them; it sees everything committed before the locks were held. A process that links one
//! later waits for our commit at the foreign key, and is refused. Deleted receipts that point to an
//! attachment are locked too: whoever revives one waits, and finds it without the pointer.

use std::error::Error as _;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::FromRow;
use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::connection::Database;
use super::deletion_sql::{
    CHANGE, CHANGE_CANCELLED, DROP_ATTACHMENTS, LOCK_JOB, MARK, NOT_SHOWN, NOT_TO_BE_LOCKED, SET_ASIDE,
    STILL_LIVE, STRAYS, TAKE, UNLINK, UNLOCKABLE, WRITE_OUTBOX,
};
use super::engine::bound;
use super::fault::{BoundAnew, During, is_outgrown, refused_or_fault};
use super::reference_queries::Queries;
use super::reference_sql::HOLD;
use super::references::References;
use super::standing::Standing;
use super::statement::{Tx, query, scalar, tuples};
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::BackgroundJobId;
use crate::store::deletion::{
    CLEANUP_HOLD, Change, DeletionTx, Deletions, Kept, LockedJob, Moved, Scope, StepFault, Taken,
    Unreferenced, strays,
};
use crate::store::kept;
use crate::store::row::Cells as _;
use crate::store::sql::deletion_steps::{count_removed, locked_job, move_cursor, note_recovered};
use crate::store::sql::outbox::condemned;
use crate::store::{Condemned, SetAside};

/// The action named in errors when rows are changed.
const CHANGING: &str = "change the rows of a batch";

/// A batch's transaction.
pub(super) struct PostgresDeletionTx {
    tx: Tx,
    database: Arc<Database>,
    /// When its connection was taken.
    taken: Instant,
    /// The policies of row security that bind us.
    bound_by: String,
    /// The relations that the names of the tables mean.
    names: String,
    /// What the attachments were judged by.
    queries: Option<Arc<Queries>>,
    /// The locked attachments.
    held: Vec<i64>,
    /// How many attachments of the receipts row security hides from us.
    not_shown: u32,
}

#[async_trait]
impl Deletions for Arc<Database> {
    type Tx = PostgresDeletionTx;

    async fn begin(&self) -> Result<PostgresDeletionTx, Fault> {
        let taken = Instant::now();
        let tx = self.batch("begin a deletion batch").await?;
        let (database, bound_by, names) = (Self::clone(self), String::new(), String::new());
        let (queries, held) = (None, Vec::new());
        Ok(PostgresDeletionTx { tx, database, taken, bound_by, names, queries, held, not_shown: 0 })
    }

    fn forgets_statements(&self, fault: &Fault) -> bool {
        let outgrown = is_outgrown(fault);
        if outgrown {
            self.forget_statements();
        }
        outgrown || fault.source().is_some_and(|cause| cause.is::<BoundAnew>())
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
        if let Some(relations) = found.text("unlockable")? {
            return Err(Fault::new(FaultKind::Permanent, what).because(format!("{UNLOCKABLE}: {relations}")));
        }
        self.names = found.text("names")?.unwrap_or_default();
        self.bound_by = found.text("bound_by")?.unwrap_or_default();
        if self.database.is_bound_anew(self.taken, &self.bound_by) {
            return Err(Fault::new(FaultKind::Retryable, what).because(BoundAnew));
        }
        let now = found.time("now")?.unwrap_or_default();
        locked_job(&found, job, now).map(Some)
    }

    async fn take(&mut self, scope: &Scope<'_>, limit: u32) -> Result<Taken, Fault> {
        let what = "take the receipts of a batch";
        let (sql, values) = TAKE.choose(scope, limit);
        let take = bound(sql, &values).persistent(self.database.named());
        let taken = take.fetch_one(&mut *self.tx).await.during(what)?;
        let (ids, live, pointed, held) = FromRow::from_row(&taken).during(what)?;
        self.held = held;
        self.hold_late(scope, pointed).await?;
        Ok(Taken { ids, live })
    }

    async fn needless(
        &mut self,
        scope: &Scope<'_>,
        gone: &[i64],
        earlier: &[i64],
    ) -> Result<Unreferenced, Fault> {
        let mut found = Unreferenced::default();
        if gone.is_empty() {
            return Ok(found);
        }
        if !self.held.is_empty() {
            let (tenant, held, named) = (scope.business_id, self.held.as_slice(), self.database.named());
            let (bound_by, names) = (self.bound_by.as_str(), self.names.as_str());
            let batch = References { tenant, held, gone, earlier, bound_by, names, named };
            let (needless, queries) = self.database.references.needless(&mut self.tx, &batch).await?;
            (found, self.queries) = (needless, Some(queries));
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

    async fn strays(&mut self, condemn: &[i64], shared: &[i64]) -> Result<Kept, Fault> {
        let counts = tuples(STRAYS).bind(condemn).bind(shared).fetch_one(&mut *self.tx).await;
        let (missing, unlinked) = counts.during("look for attachments of a batch")?;
        Ok(strays(missing, unlinked))
    }

    async fn change(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault> {
        let rows = match &change.moved {
            Some(moved) if !change.receipts.is_empty() => self.change_at_once(scope, change, moved).await?,
            _ => self.change_plainly(scope, change).await?,
        };
        let objects = condemned(&rows)?;
        let beneath = self.queries.as_ref().map(|queries| &queries.beneath);
        let standing = Standing { names: &self.names, beneath, named: self.database.named() };
        standing.check(&mut self.tx, scope, change, &objects).await?;
        if let Some(moved) = &change.moved {
            note_recovered(&mut *self.tx, scope, moved).await?;
        }
        Ok(objects)
    }

    async fn set_aside(&mut self, scope: &Scope<'_>, rows: &[SetAside]) -> Result<(), Fault> {
        let ids: Vec<i64> = rows.iter().map(|row| row.receipt.0).collect();
        let reasons: Vec<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
        let query = query(SET_ASIDE).bind(scope.job.0).bind(scope.now.naive_utc()).bind(&ids).bind(&reasons);
        query.execute(&mut *self.tx).await.during("set receipts aside")?;
        Ok(())
    }

    async fn plain(&mut self, statement: &'static str) -> Result<(), Fault> {
        sqlx::raw_sql(statement).execute(&mut *self.tx).await.during(statement)?;
        Ok(())
    }

    async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.during("commit a deletion batch")?;
        self.database.went_well();
        Ok(())
    }

    async fn rollback(self) {
        // If this fails, the connection will not pass the pool's test.
        let _ = self.tx.rollback().await;
    }
}

impl PostgresDeletionTx {
    /// Makes all changes of a batch in one statement.
    async fn change_at_once(
        &mut self,
        scope: &Scope<'_>,
        change: &Change<'_>,
        moved: &Moved<'_>,
    ) -> Result<Vec<PgRow>, StepFault> {
        let sql = if failpoint::is_off("check.cancel") { CHANGE_CANCELLED } else { CHANGE };
        let kept = kept::text(moved.cursor, moved.progress)?;
        query(sql)
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
            .bind(i64::from(moved.counts.receipts))
            .bind(i64::from(moved.counts.referenced))
            .bind(kept)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, CHANGING))
    }

    /// Makes the same changes in plain statements.
    async fn change_plainly(
        &mut self,
        scope: &Scope<'_>,
        change: &Change<'_>,
    ) -> Result<Vec<PgRow>, StepFault> {
        let refused = |error| refused_or_fault(error, CHANGING);
        let (now, tenant) = (scope.now.naive_utc(), scope.business_id.0);
        if !change.receipts.is_empty() {
            let mark = query(MARK).bind(now).bind(change.receipts).bind(tenant);
            mark.execute(&mut *self.tx).await.map_err(refused)?;
        }
        let mut objects = Vec::new();
        if !change.attachments.is_empty() {
            let write = query(WRITE_OUTBOX)
                .bind(scope.job.0)
                .bind(tenant)
                .bind(&scope.target.driver)
                .bind(&scope.target.bucket)
                .bind(now)
                .bind((scope.now + CLEANUP_HOLD).naive_utc())
                .bind(change.attachments);
            objects = write.fetch_all(&mut *self.tx).await.map_err(refused)?;
            let unlink = query(UNLINK).bind(change.marked).bind(change.attachments).bind(tenant);
            unlink.execute(&mut *self.tx).await.map_err(refused)?;
            let drop = query(DROP_ATTACHMENTS).bind(change.attachments).bind(tenant);
            drop.execute(&mut *self.tx).await.map_err(refused)?;
        }
        if let Some(moved) = &change.moved {
            move_cursor(&mut *self.tx, scope, moved, CHANGING).await?;
            count_removed(&mut *self.tx, scope, moved.counts, objects.len()).await?;
        }
        Ok(objects)
    }

    /// A receipt that somebody changed while we waited for its lock may point to attachments that the
    /// statement which took it could not see.
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
}
