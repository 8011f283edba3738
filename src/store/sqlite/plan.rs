//! Looks at what a deletion would do: five statements over one snapshot.

use sqlx::AssertSqlSafe;

use super::background_jobs::LATEST;
use super::connection::Database;
use super::fault::During;
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::BusinessId;
use crate::job::background::DELETE_RECEIPTS_ALL;
use crate::store::row::readable;
use crate::store::{DeletionPlan, keep_rules};

/// Live receipts, from their partial index alone.
pub(super) const COUNT_LIVE: &str =
    "select count(*) from receipts where business_id = ?1 and is_deleted is not true";

/// Tells whether the known foreign keys are still all there are; the first statement pins the snapshot.
const SCHEMA_VERSION: &str = "select schema_version from pragma_schema_version";

/// How fast the tenant's last completed deletion was, waits and pauses included.
const LAST_RATE: &str = "
    select processed / ((julianday(finished_at) - julianday(started_at)) * 86400.0)
    from background_jobs
    where business_id = ?1 and job_type = ?2 and status = 'completed' and processed > 0
      and julianday(finished_at) > julianday(started_at)
    order by id desc limit 1";

/// The plan as of now.
pub(super) async fn look(
    database: &Database,
    business_id: BusinessId,
    target: &BlobTarget,
) -> Result<DeletionPlan, Fault> {
    let what = format!("plan the deletion of business {business_id}");
    let mut tx = database.read().begin().await.during(&what)?;
    let schema_version: i64 = sqlx::query_scalar(SCHEMA_VERSION).fetch_one(&mut *tx).await.during(&what)?;
    let receipts: i64 =
        sqlx::query_scalar(COUNT_LIVE).bind(business_id.0).fetch_one(&mut *tx).await.during(&what)?;
    let queries = database.references.queries(&mut tx, schema_version).await?;
    let rows = sqlx::query(AssertSqlSafe(queries.plan.as_str()))
        .bind(business_id.0)
        .fetch_all(&mut *tx)
        .await
        .during(&what)?;
    let last_rate: Option<f64> = sqlx::query_scalar(LAST_RATE)
        .bind(business_id.0)
        .bind(DELETE_RECEIPTS_ALL)
        .fetch_optional(&mut *tx)
        .await
        .during(&what)?;
    let newest = sqlx::query(LATEST)
        .bind(business_id.0)
        .bind(DELETE_RECEIPTS_ALL)
        .fetch_optional(&mut *tx)
        .await
        .during(&what)?;
    tx.commit().await.during(&what)?;
    let left_alone = newest.as_ref().and_then(readable).and_then(|job| job.cursor.left);
    Ok(DeletionPlan { left_alone, ..keep_rules::plan(receipts, target, last_rate, &rows)? })
}
