//! The parts of a batch's transaction that are the same on every engine.

use chrono::{DateTime, Utc};

use super::engine::{Connection, Sql, Value};
use crate::fault::{Fault, FaultKind};
use crate::job::{BackgroundJobId, BusinessId};
use crate::store::Pass;
use crate::store::deletion::{BatchCounts, LEFT_AS_IT_WAS, LockedJob, Moved, Scope};
use crate::store::kept;
use crate::store::row::{self, Cells};

/// Moves the locked cursor and counters, only while the row is running.
pub const MOVE_CURSOR: &str = "
    update background_jobs
    set cursor = $2, total = $3, processed = $4, succeeded = $5, failed_count = $6,
        updated_at = $7, heartbeat_at = $7
    where id = $1 and status = 'running'";

/// Writes our own copy of cursor and counters.
pub const KEEP: &str = "update tikkun_background_jobs set kept = $2 where background_job_id = $1";

/// Resets the count of attempts without progress, and allows another revival, after a successful batch.
pub const RECOVERED: &str = "
    update tikkun_background_jobs set revived = false, barren_attempts = 0, updated_at = $2
    where background_job_id = $1";

/// Adds to the counts of the certificate.
pub const COUNT: &str = "
    update tikkun_background_jobs
    set receipts_counted = receipts_counted + $2, attachments_removed = attachments_removed + $3,
        attachments_referenced = attachments_referenced + $4, objects_condemned = objects_condemned + $5
    where background_job_id = $1";

/// The statements that take at most `$2` receipts of the tenant `$1`, each once and ascending. `$5` are the ranges of
/// ids that were there at the request, if they are known. If creation times restrict the request, `$6` is the latest
/// one, `$7` says whether receipts without one are included, and receipts with one after `$8`, if it is not null, are.
pub struct TakeSql {
    /// Live receipts after `$3`, up to `$4`.
    pub forward: Sql,
    /// The same, restricted by creation times.
    pub dated_forward: Sql,
    /// Live receipts up to `$3`, wherever the cursor is, except those that the row `$4` set aside.
    pub sweep: Sql,
    /// The same, restricted by creation times.
    pub dated_sweep: Sql,
    /// Live receipts after `$3` that the earlier row `$4` of the tenant set aside.
    pub set_aside: Sql,
}

impl TakeSql {
    /// The statement for a batch, and its values.
    pub fn choose<'a>(&self, scope: &Scope<'a>, limit: u32) -> (Sql, Vec<Value<'a>>) {
        let dated = scope.dated.filter(|_| scope.only_set_aside_of.is_none());
        let (sql, from, other) = match (scope.only_set_aside_of, scope.pass, dated) {
            (Some(of), ..) => (self.set_aside, scope.last_id, of.0),
            (None, Pass::Forward, None) => (self.forward, scope.last_id, scope.upper_id),
            (None, Pass::Forward, Some(_)) => (self.dated_forward, scope.last_id, scope.upper_id),
            (None, Pass::Sweep, None) => (self.sweep, scope.upper_id, scope.job.0),
            (None, Pass::Sweep, Some(_)) => (self.dated_sweep, scope.upper_id, scope.job.0),
        };
        let mut values = vec![scope.business_id.0.into(), limit.into(), from.into(), other.into()];
        if scope.only_set_aside_of.is_none() {
            values.push(Value::Ids(scope.there));
        }
        if let Some(dated) = dated {
            values.extend([Value::from(dated.until), dated.undated.into(), dated.beyond.into()]);
        }
        (sql, values)
    }
}

/// The locked row of the job, at the database's time.
pub fn locked_job(found: &impl Cells, job: BackgroundJobId, now: DateTime<Utc>) -> Result<LockedJob, Fault> {
    let (cursor, progress) = (row::cursor(found, job)?, row::progress(found)?);
    let (cursor, progress) = match kept::parse(found.text("kept")?.as_deref()) {
        Some(kept) => kept.over(cursor, progress),
        None => (cursor, progress),
    };
    Ok(LockedJob {
        business_id: BusinessId(found.needed("business_id")?),
        status: row::status(found, job)?,
        attempt: row::count(found, "attempt")?,
        progress,
        cursor,
        recovering: found.flag("recovering")?,
        now,
    })
}

/// Moves cursor and counters, and our own copy of them.
pub async fn move_cursor(
    tx: &mut impl Connection,
    scope: &Scope<'_>,
    moved: &Moved<'_>,
    what: &str,
) -> Result<(), Fault> {
    let cursor = moved.cursor.to_string();
    let values = [
        scope.job.0.into(),
        cursor.as_str().into(),
        moved.progress.total.into(),
        moved.progress.processed.into(),
        moved.progress.succeeded.into(),
        moved.progress.failed.into(),
        scope.now.into(),
    ];
    tx.run(MOVE_CURSOR, &values, what).await?;
    let kept = kept::text(moved.cursor, moved.progress)?;
    tx.run(KEEP, &[scope.job.0.into(), kept.as_str().into()], what).await?;
    Ok(())
}

/// Counts what a batch did, for the certificate of its deletion; `objects` are those of its last step.
pub async fn count_removed(
    tx: &mut impl Connection,
    scope: &Scope<'_>,
    counts: BatchCounts,
    objects: usize,
) -> Result<(), Fault> {
    let objects = i64::from(counts.objects).saturating_add(i64::try_from(objects).unwrap_or(i64::MAX));
    let counted = [counts.receipts, counts.attachments, counts.referenced].map(i64::from);
    let values = [scope.job.0].into_iter().chain(counted).chain([objects]).map(Value::from);
    let values: Vec<_> = values.collect();
    tx.run(COUNT, &values, "count what a batch has removed").await?;
    Ok(())
}

/// Resets the noted count of attempts without progress and the revival, if set.
pub async fn note_recovered(
    tx: &mut impl Connection,
    scope: &Scope<'_>,
    moved: &Moved<'_>,
) -> Result<(), Fault> {
    if moved.recovered {
        let values = [scope.job.0.into(), scope.now.into()];
        tx.run(RECOVERED, &values, "note that a deletion has recovered").await?;
    }
    Ok(())
}

/// The fault for a cursor that did not move.
pub fn not_moved(scope: &Scope<'_>) -> Fault {
    let text = format!("move the cursor of background job {}: {LEFT_AS_IT_WAS}", scope.job);
    Fault::new(FaultKind::Permanent, text)
}
