//! The statements of a deletion batch: seven on the usual way, whatever the size of the batch.
//!
//! Lists of ids travel as one JSON parameter.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::connection::Database;
use super::fault::{During, refused_or_fault};
use super::{list, moment};
use crate::fault::Fault;
use crate::job::{BackgroundJobId, BusinessId};
use crate::sqlite::WriteTransaction;
use crate::store::deletion::{
    CLEANUP_HOLD, Change, DeletionTx, Deletions, LockedJob, Moved, Needless, Scope, StepFault, Taken,
};
use crate::store::row::{self, Cells as _};
use crate::store::{Condemned, Pass, SetAside};

/// The row as it is until the commit: the transaction is the only writer.
const LOCK_JOB: &str = "
    select j.business_id, j.status, j.cursor, coalesce(j.total, 0) as total,
           coalesce(j.processed, 0) as processed, coalesce(j.succeeded, 0) as succeeded,
           coalesce(j.failed_count, 0) as failed_count, coalesce(n.attempt, 0) as attempt,
           coalesce(n.revived or n.barren_attempts > 0, 0) as recovering,
           (select schema_version from pragma_schema_version) as schema_version
    from background_jobs j left join tikkun_background_jobs n on n.background_job_id = j.id
    where j.id = ?1";

/// The next live receipts behind the cursor, each once.
const SELECT_FORWARD: &str = "
    select id from receipts
    where business_id = ?1 and is_deleted is not true and id > ?2 and id <= ?3
    order by id limit ?4";

/// Live receipts of the request wherever they are, but for those set aside.
const SELECT_SWEEP: &str = "
    select id from receipts
    where business_id = ?1 and is_deleted is not true and id <= ?2
      and not exists (select 1 from tikkun_set_aside s where s.background_job_id = ?3 and s.receipt_id = receipts.id)
    order by id limit ?4";

/// What an earlier row of the tenant set aside and is live, behind the cursor.
const SELECT_SET_ASIDE: &str = "
    select r.id from tikkun_set_aside s cross join receipts r on r.id = s.receipt_id
    where s.background_job_id = ?1 and s.receipt_id > ?2
      and +r.business_id = ?3 and r.is_deleted is not true
    order by s.receipt_id limit ?4";

/// Marks live receipts of the tenant only, whatever the list says.
const MARK: &str = "
    update receipts set is_deleted = 1, deleted_at = ?1, updated_at = ?1
    where id in (select value from json_each(?2)) and +business_id = ?3 and is_deleted is not true";

/// Every object is in the outbox before its attachment is gone: same transaction.
const WRITE_OUTBOX: &str = "
    insert into tikkun_cleanup_outbox
        (background_job_id, business_id, driver, bucket, key, bytes, condemned_at, next_try_at)
    select ?1, a.business_id, ?2, ?3, a.storage_path, a.file_size, ?4, ?5
    from json_each(?6) gone cross join attachments a on a.id = gone.value
    where coalesce(a.storage_path, '') <> ''
    returning id, key";

/// Drops condemned rows; receipts that pointed to them are set to null by their foreign keys.
const DROP_ATTACHMENTS: &str = "delete from attachments where id in (select value from json_each(?1))";

/// A receipt is set aside once a job; the newest reason stands.
const SET_ASIDE: &str = "
    insert into tikkun_set_aside (background_job_id, receipt_id, reason, created_at)
    select ?1, value ->> 0, value ->> 1, ?2 from json_each(?3) where true
    on conflict (background_job_id, receipt_id) do update set reason = excluded.reason";

/// Moves what the locked row held, only while it is running.
const MOVE_CURSOR: &str = "
    update background_jobs
    set cursor = ?2, total = ?3, processed = ?4, succeeded = ?5, failed_count = ?6,
        updated_at = ?7, heartbeat_at = ?7
    where id = ?1 and status = 'running'";

/// A good batch ends the count of barren attempts and allows another revival.
const RECOVERED: &str = "
    update tikkun_background_jobs set revived = 0, barren_attempts = 0, updated_at = ?2
    where background_job_id = ?1";

/// A batch's transaction.
pub(super) struct SqliteDeletionTx {
    tx: WriteTransaction,
    database: Arc<Database>,
    /// Tells whether the known foreign keys are still all there are.
    schema_version: i64,
}

#[async_trait]
impl Deletions for Arc<Database> {
    type Tx = SqliteDeletionTx;

    async fn begin(&self) -> Result<SqliteDeletionTx, Fault> {
        let tx = self.write("begin a deletion batch").await?;
        Ok(SqliteDeletionTx { tx, database: Self::clone(self), schema_version: 0 })
    }
}

#[async_trait]
impl DeletionTx for SqliteDeletionTx {
    async fn lock_job(&mut self, job: BackgroundJobId) -> Result<Option<LockedJob>, Fault> {
        let what = format!("lock background job {job}");
        let found = sqlx::query(LOCK_JOB).bind(job.0).fetch_optional(&mut *self.tx).await.during(&what)?;
        let Some(found) = found else { return Ok(None) };
        self.schema_version = found.needed("schema_version")?;
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
        let tenant = scope.business_id.0;
        let query = match (scope.only_set_aside_of, scope.pass) {
            (Some(of), _) => sqlx::query_scalar(SELECT_SET_ASIDE).bind(of.0).bind(scope.last_id).bind(tenant),
            (None, Pass::Forward) => {
                sqlx::query_scalar(SELECT_FORWARD).bind(tenant).bind(scope.last_id).bind(scope.upper_id)
            }
            (None, Pass::Sweep) => {
                sqlx::query_scalar(SELECT_SWEEP).bind(tenant).bind(scope.upper_id).bind(scope.job.0)
            }
        };
        let ids: Vec<i64> =
            query.bind(limit).fetch_all(&mut *self.tx).await.during("take the receipts of a batch")?;
        // Nobody else writes before the commit.
        Ok(Taken { live: ids.clone(), ids })
    }

    async fn needless(&mut self, scope: &Scope<'_>, gone: &[i64]) -> Result<Needless, Fault> {
        if gone.is_empty() {
            return Ok(Needless::default());
        }
        let queries = self.database.references.queries(&mut self.tx, self.schema_version).await?;
        let rows: Vec<(i64, Option<String>)> = sqlx::query_as(AssertSqlSafe(queries.candidates.as_str()))
            .bind(scope.business_id.0)
            .bind(list::json(gone)?)
            .fetch_all(&mut *self.tx)
            .await
            .during("find the attachments of a batch")?;
        let mut found = Needless::default();
        for (id, kept) in rows {
            match kept {
                None => found.condemnable.push(id),
                Some(reference) => *found.kept_for.entry(reference).or_default() += 1,
            }
        }
        Ok(found)
    }

    async fn change(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault> {
        if !change.receipts.is_empty() {
            self.mark(scope, change.receipts).await?;
        }
        let condemned = match change.attachments {
            [] => Vec::new(),
            attachments => self.condemn(scope, attachments).await?,
        };
        if let Some(moved) = &change.moved {
            self.move_cursor(scope, moved).await?;
        }
        Ok(condemned)
    }

    async fn set_aside(&mut self, scope: &Scope<'_>, rows: &[SetAside]) -> Result<(), Fault> {
        let pairs: Vec<_> = rows.iter().map(|row| (row.receipt.0, &row.reason)).collect();
        sqlx::query(SET_ASIDE)
            .bind(scope.job.0)
            .bind(moment::to_text(scope.now))
            .bind(list::json(&pairs)?)
            .execute(&mut *self.tx)
            .await
            .during("set receipts aside")?;
        Ok(())
    }

    async fn savepoint(&mut self) -> Result<(), Fault> {
        // Everything after it can be taken back alone.
        self.plain("savepoint step").await
    }

    async fn release(&mut self) -> Result<(), Fault> {
        // Keeps what came after the savepoint.
        self.plain("release step").await
    }

    async fn rollback_to(&mut self) -> Result<(), Fault> {
        // Takes back what came after the savepoint, also what a trigger left half done.
        self.plain("rollback to step").await?;
        // Closes the savepoint, so that the next has its name to itself.
        self.plain("release step").await
    }

    async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.during("commit a deletion batch")
    }

    async fn rollback(self) {
        // A failure leaves the connection in its transaction, and the pool closes such a one.
        let _ = self.tx.rollback().await;
    }
}

impl SqliteDeletionTx {
    async fn mark(&mut self, scope: &Scope<'_>, receipts: &[i64]) -> Result<(), StepFault> {
        sqlx::query(MARK)
            .bind(moment::to_text(scope.now))
            .bind(list::json(receipts)?)
            .bind(scope.business_id.0)
            .execute(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, "mark the receipts of a batch"))?;
        Ok(())
    }

    async fn condemn(&mut self, scope: &Scope<'_>, attachments: &[i64]) -> Result<Vec<Condemned>, StepFault> {
        let refused = |error| refused_or_fault(error, "condemn the attachments of a batch");
        let ids = list::json(attachments)?;
        let mut rows: Vec<(i64, String)> = sqlx::query_as(WRITE_OUTBOX)
            .bind(scope.job.0)
            .bind(&scope.target.driver)
            .bind(&scope.target.bucket)
            .bind(moment::to_text(scope.now))
            .bind(moment::to_text(scope.now + CLEANUP_HOLD))
            .bind(&ids)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(refused)?;
        sqlx::query(DROP_ATTACHMENTS).bind(&ids).execute(&mut *self.tx).await.map_err(refused)?;
        rows.sort_unstable();
        Ok(rows.into_iter().map(|(id, key)| Condemned { id, key }).collect())
    }

    async fn move_cursor(&mut self, scope: &Scope<'_>, moved: &Moved<'_>) -> Result<(), Fault> {
        let now = moment::to_text(scope.now);
        let what = format!("move the cursor of background job {}", scope.job);
        sqlx::query(MOVE_CURSOR)
            .bind(scope.job.0)
            .bind(moved.cursor.to_string())
            .bind(moved.progress.total)
            .bind(moved.progress.processed)
            .bind(moved.progress.succeeded)
            .bind(moved.progress.failed)
            .bind(&now)
            .execute(&mut *self.tx)
            .await
            .during(&what)?;
        if moved.recovered {
            sqlx::query(RECOVERED).bind(scope.job.0).bind(&now).execute(&mut *self.tx).await.during(&what)?;
        }
        Ok(())
    }

    async fn plain(&mut self, statement: &'static str) -> Result<(), Fault> {
        sqlx::query(statement).execute(&mut *self.tx).await.during(statement)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::references::queries_without_references;

    /// What may be read from end to end: the batch itself, never a table.
    const SMALL: [&str; 4] = ["json_each", "gone", "pointed", "pragma_schema_version"];

    async fn plan(database: &Database, query: &str) -> Vec<String> {
        let explain = AssertSqlSafe(format!("explain query plan {query}"));
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(database.read()).await.unwrap();
        rows.into_iter().map(|(.., detail)| detail).collect()
    }

    #[tokio::test]
    async fn no_statement_of_a_batch_reads_a_table_from_end_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let database =
            Database::open(&folder.path().join("store.db"), crate::store::Schema::Migrate).await.unwrap();
        let queries = queries_without_references();
        let statements = [
            LOCK_JOB,
            SELECT_FORWARD,
            SELECT_SWEEP,
            SELECT_SET_ASIDE,
            MARK,
            &queries.candidates,
            &queries.plan,
            WRITE_OUTBOX,
            DROP_ATTACHMENTS,
            SET_ASIDE,
            MOVE_CURSOR,
            RECOVERED,
        ];
        for statement in statements {
            for step in plan(&database, statement).await {
                let scanned = step.strip_prefix("SCAN ").map(|rest| rest.split(' ').next().unwrap());
                assert!(scanned.is_none_or(|name| SMALL.contains(&name)), "{step} in {statement}");
                assert!(!step.contains("AUTOMATIC"), "{step} in {statement}");
            }
        }
        let forward = plan(&database, SELECT_FORWARD).await.join("; ");
        assert!(forward.contains("idx_receipts_live (business_id=? AND id>? AND id<?)"), "{forward}");
        let mark = plan(&database, MARK).await.join("; ");
        assert!(mark.contains("INTEGER PRIMARY KEY"), "{mark}");
    }
}
