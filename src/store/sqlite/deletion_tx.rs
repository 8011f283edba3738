//! The statements of a deletion batch: normally a dozen, whatever its size.
//!
//! Lists of ids are passed as one JSON parameter.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::connection::Database;
use super::deletion_sql::{
    DROP_ATTACHMENTS, LEFT, LINKED, LOCK_JOB, MARK, MOVED, SET_ASIDE, STILL_LIVE, STRAYS, TAKE, THERE,
    WRITE_OUTBOX,
};
use super::fault::{During, refused_or_fault};
use super::{list, moment};
use crate::failpoint;
use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::sqlite::Transaction;
use crate::store::deletion::{
    CLEANUP_HOLD, Change, DeletionTx, Deletions, Kept, LEFT_AS_IT_WAS, LockedJob, Moved, Scope, StepFault,
    Taken, Unreferenced, strays,
};
use crate::store::row::Cells as _;
use crate::store::sql::deletion_steps::{count_removed, locked_job, move_cursor, not_moved, note_recovered};
use crate::store::sql::engine::{Connection as _, Value};
use crate::store::sql::outbox::condemned;
use crate::store::{Condemned, SetAside};

/// The action named in errors when attachments are condemned.
const CONDEMNING: &str = "condemn the attachments of a batch";

/// A batch's transaction.
pub(super) struct SqliteDeletionTx {
    tx: Transaction,
    database: Arc<Database>,
    /// The schema version, to detect new foreign keys.
    schema_version: i64,
}

#[async_trait]
impl Deletions for Arc<Database> {
    type Tx = SqliteDeletionTx;

    async fn begin(&self) -> Result<SqliteDeletionTx, Fault> {
        let tx = self.write("begin a deletion batch").await?;
        Ok(SqliteDeletionTx { tx, database: Self::clone(self), schema_version: 0 })
    }

    /// SQLite re-prepares such a statement by itself.
    fn forgets_statements(&self, _: &Fault) -> bool {
        false
    }
}

#[async_trait]
impl DeletionTx for SqliteDeletionTx {
    async fn lock_job(&mut self, job: BackgroundJobId) -> Result<Option<LockedJob>, Fault> {
        let what = format!("lock background job {job}");
        let found = sqlx::query(LOCK_JOB).bind(job.0).fetch_optional(&mut *self.tx).await.during(&what)?;
        let Some(found) = found else { return Ok(None) };
        self.schema_version = found.needed("schema_version")?;
        locked_job(&found, job, chrono::Utc::now()).map(Some)
    }

    async fn take(&mut self, scope: &Scope<'_>, limit: u32) -> Result<Taken, Fault> {
        let (sql, values) = TAKE.choose(scope, limit);
        let rows = self.tx.rows(sql, &values, "take the receipts of a batch").await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.needed("id")).collect::<Result<_, _>>()?;
        // There is no other writer before the commit.
        Ok(Taken { live: ids.clone(), ids })
    }

    async fn needless(
        &mut self,
        scope: &Scope<'_>,
        gone: &[i64],
        earlier: &[i64],
    ) -> Result<Unreferenced, Fault> {
        if gone.is_empty() {
            return Ok(Unreferenced::default());
        }
        let queries = self.database.references.queries(&mut self.tx, self.schema_version).await?;
        let rows: Vec<(i64, Option<String>, bool)> =
            sqlx::query_as(AssertSqlSafe(queries.candidates.as_str()))
                .bind(scope.business_id.0)
                .bind(list::json(gone)?)
                .bind(list::json(earlier)?)
                .fetch_all(&mut *self.tx)
                .await
                .during("find the attachments of a batch")?;
        let mut found = Unreferenced::default();
        for (id, kept, shared) in rows {
            match kept {
                None if shared => found.shared.push(id),
                None => found.condemnable.push(id),
                Some(reference) => *found.kept_for.entry(reference).or_default() += 1,
            }
        }
        Ok(found)
    }

    async fn still_live(&mut self, scope: &Scope<'_>, ids: &[i64]) -> Result<Vec<i64>, Fault> {
        let values = [Value::Ids(ids), scope.business_id.0.into()];
        let live = self.tx.rows(STILL_LIVE, &values, "look at receipts of a batch").await?;
        live.iter().map(|row| row.needed("id")).collect()
    }

    async fn strays(&mut self, condemn: &[i64], shared: &[i64]) -> Result<Kept, Fault> {
        let counts = sqlx::query_as(STRAYS).bind(list::json(condemn)?).bind(list::json(shared)?);
        let counts = counts.fetch_one(&mut *self.tx).await;
        let (missing, unlinked) = counts.during("look for attachments of a batch")?;
        Ok(strays(missing, unlinked))
    }

    async fn change(&mut self, scope: &Scope<'_>, change: &Change<'_>) -> Result<Vec<Condemned>, StepFault> {
        // Objects are written first: a trigger may delete attachments when their receipts are marked.
        let condemned = self.note_objects(scope, change.attachments).await?;
        if !change.receipts.is_empty() {
            self.mark(scope, change.receipts).await?;
        }
        self.drop_attachments(change.attachments, &condemned).await?;
        if let Some(moved) = &change.moved {
            self.move_cursor(scope, moved).await?;
            count_removed(&mut *self.tx, scope, moved.counts, condemned.len()).await?;
        }
        self.are_deleted(&[change.marked, change.receipts].concat()).await?;
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

    async fn plain(&mut self, statement: &'static str) -> Result<(), Fault> {
        sqlx::raw_sql(statement).execute(&mut *self.tx).await.during(statement)?;
        Ok(())
    }

    async fn commit(self) -> Result<(), Fault> {
        self.tx.commit().await.during("commit a deletion batch")
    }

    async fn rollback(self) {
        // After a failure the connection is still in its transaction, and the pool closes it.
        let _ = self.tx.rollback().await;
    }
}

impl SqliteDeletionTx {
    async fn mark(&mut self, scope: &Scope<'_>, receipts: &[i64]) -> Result<(), StepFault> {
        let (ids, what) = (list::json(receipts)?, "mark the receipts of a batch");
        sqlx::query(MARK)
            .bind(moment::to_text(scope.now))
            .bind(&ids)
            .bind(scope.business_id.0)
            .execute(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, what))?;
        Ok(())
    }

    /// Fails unless each of these receipts is deleted or out of the table, whatever triggers did.
    async fn are_deleted(&mut self, receipts: &[i64]) -> Result<(), StepFault> {
        if receipts.is_empty() {
            return Ok(());
        }
        let left = sqlx::query_scalar(LEFT).bind(list::json(receipts)?);
        let left: i64 = left.fetch_one(&mut *self.tx).await.during("look at the receipts of a batch")?;
        all_done(left == 0)
    }

    async fn note_objects(
        &mut self,
        scope: &Scope<'_>,
        attachments: &[i64],
    ) -> Result<Vec<Condemned>, StepFault> {
        if attachments.is_empty() || failpoint::is_off("check.outbox") {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(WRITE_OUTBOX)
            .bind(scope.job.0)
            .bind(&scope.target.driver)
            .bind(&scope.target.bucket)
            .bind(moment::to_text(scope.now))
            .bind(moment::to_text(scope.now + CLEANUP_HOLD))
            .bind(list::json(attachments)?)
            .fetch_all(&mut *self.tx)
            .await
            .map_err(|error| refused_or_fault(error, CONDEMNING))?;
        Ok(condemned(&rows)?)
    }

    async fn drop_attachments(
        &mut self,
        attachments: &[i64],
        condemned: &[Condemned],
    ) -> Result<(), StepFault> {
        if attachments.is_empty() {
            return Ok(());
        }
        let refused = |error| refused_or_fault(error, CONDEMNING);
        let ids = list::json(attachments)?;
        let linked: i64 =
            sqlx::query_scalar(LINKED).bind(&ids).fetch_one(&mut *self.tx).await.map_err(refused)?;
        all_done(linked == 0)?;
        sqlx::query(DROP_ATTACHMENTS).bind(&ids).execute(&mut *self.tx).await.map_err(refused)?;
        let keys: Vec<&str> = condemned.iter().map(|object| object.key.as_str()).collect();
        let there = sqlx::query_scalar(THERE).bind(&ids).bind(list::json(&keys)?);
        let there: i64 = there.fetch_one(&mut *self.tx).await.map_err(refused)?;
        all_done(there == 0)
    }

    async fn move_cursor(&mut self, scope: &Scope<'_>, moved: &Moved<'_>) -> Result<(), Fault> {
        let what = format!("move the cursor of background job {}", scope.job);
        move_cursor(&mut *self.tx, scope, moved, &what).await?;
        let cursor = moved.cursor.to_string();
        let values = [scope.job.0.into(), cursor.as_str().into(), moved.progress.processed.into()];
        if !self.tx.one(MOVED, &values, &what).await?.flag("moved")? {
            return Err(not_moved(scope));
        }
        note_recovered(&mut *self.tx, scope, moved).await
    }
}

/// The result of a step whose statement succeeded.
fn all_done(done: bool) -> Result<(), StepFault> {
    if done { Ok(()) } else { Err(StepFault::Refused(LEFT_AS_IT_WAS.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::deletion_steps::{COUNT, MOVE_CURSOR, RECOVERED};
    use crate::store::sqlite::references::queries_without_references;

    /// What may be scanned completely: the batch itself, never a table.
    const SMALL: [&str; 16] = [
        "CONSTANT",
        "earlier",
        "kept",
        "json_each",
        "one",
        "gone",
        "pointed",
        "pragma_schema_version",
        "paths",
        "sharing",
        "wanted",
        "w",
        "looked",
        "free",
        "judged",
        "summed",
    ];

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
            TAKE.forward,
            TAKE.sweep,
            TAKE.set_aside,
            MARK,
            STILL_LIVE,
            LEFT,
            STRAYS,
            LINKED,
            THERE,
            &queries.candidates,
            &queries.plan,
            WRITE_OUTBOX,
            DROP_ATTACHMENTS,
            SET_ASIDE,
            MOVE_CURSOR,
            MOVED,
            COUNT,
            RECOVERED,
        ];
        for statement in statements {
            for step in plan(&database, statement).await {
                let scanned = step.strip_prefix("SCAN ").map(|rest| rest.split(' ').next().unwrap());
                assert!(scanned.is_none_or(|name| SMALL.contains(&name)), "{step} in {statement}");
                assert!(!step.contains("AUTOMATIC"), "{step} in {statement}");
            }
        }
        let forward = plan(&database, TAKE.forward).await.join("; ");
        assert!(forward.contains("idx_receipts_live (business_id=? AND id>? AND id<?)"), "{forward}");
        let mark = plan(&database, MARK).await.join("; ");
        assert!(mark.contains("INTEGER PRIMARY KEY"), "{mark}");
    }
}
