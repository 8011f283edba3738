//! Looks at what a deletion would do, at one moment.

use sqlx::AssertSqlSafe;

use super::background_jobs::LATEST;
use super::connection::Database;
use super::fault::During;
use super::statement::{query, scalar};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::BusinessId;
use crate::job::background::DELETE_RECEIPTS_ALL;
use crate::store::row::readable;
use crate::store::{DeletionPlan, keep_rules};

/// Live receipts, from their partial index alone.
pub(super) const COUNT_LIVE: &str =
    "select count(*) from receipts where business_id = $1 and is_deleted is not true";

/// How fast the tenant's last completed deletion was, waits and pauses included.
const LAST_RATE: &str = "
    select (processed / extract(epoch from finished_at - started_at))::double precision
    from background_jobs
    where business_id = $1 and job_type = $2 and status = 'completed' and processed > 0
      and finished_at > started_at
    order by id desc limit 1";

/// The plan as of now.
pub(super) async fn look(
    database: &Database,
    business_id: BusinessId,
    target: &BlobTarget,
) -> Result<DeletionPlan, Fault> {
    let what = format!("plan the deletion of business {business_id}");
    let mut tx = database.read(&what).await?;
    let receipts: i64 = scalar(COUNT_LIVE).bind(business_id.0).fetch_one(&mut *tx).await.during(&what)?;
    let queries = database.references.learn(&mut tx).await?;
    let sums = query(AssertSqlSafe(queries.plan.as_str()))
        .bind(business_id.0)
        .fetch_all(&mut *tx)
        .await
        .during(&what)?;
    let last_rate: Option<f64> = scalar(LAST_RATE)
        .bind(business_id.0)
        .bind(DELETE_RECEIPTS_ALL)
        .fetch_optional(&mut *tx)
        .await
        .during(&what)?;
    let newest = query(LATEST)
        .bind(business_id.0)
        .bind(DELETE_RECEIPTS_ALL)
        .fetch_optional(&mut *tx)
        .await
        .during(&what)?;
    let left_alone = newest.as_ref().and_then(readable).and_then(|job| job.cursor.left);
    Ok(DeletionPlan { left_alone, ..keep_rules::plan(receipts, target, last_rate, &sums)? })
}
