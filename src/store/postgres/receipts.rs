//! The port onto `receipts` and `attachments`, on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;

use super::connection::Database;
use super::fault::During;
use super::plan;
use super::statement::{scalar, tuples};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::{BackgroundJobId, BusinessId, ReceiptId};
use crate::store::batch::run_batch;
use crate::store::{BatchOrder, BatchOutcome, DeletionPlan, Receipts, SetAside};

/// Live receipts, from their partial index alone.
pub(super) const COUNT_LIVE: &str =
    "select count(*) from receipts where business_id = $1 and is_deleted is not true";

/// What a job set aside, by id.
const LIST_SET_ASIDE: &str = "
    select s.receipt_id, s.reason from tikkun_set_aside s join receipts r on r.id = s.receipt_id
    where s.background_job_id = $1 and r.is_deleted is not true
    order by s.receipt_id limit $2";

/// Receipts in one database.
pub(super) struct PostgresReceipts {
    database: Arc<Database>,
}

impl PostgresReceipts {
    /// On open connections.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Receipts for PostgresReceipts {
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
        run_batch(&self.database, order).await
    }

    async fn count_live(&self, business_id: BusinessId) -> Result<i64, Fault> {
        let what = format!("count receipts of business {business_id}");
        let mut tx = self.database.read(&what).await?;
        scalar(COUNT_LIVE).bind(business_id.0).fetch_one(&mut *tx).await.during(&what)
    }

    async fn set_aside(&self, job: BackgroundJobId, max: u32) -> Result<Vec<SetAside>, Fault> {
        let what = format!("read what background job {job} set aside");
        let mut tx = self.database.read(&what).await?;
        let query = tuples(LIST_SET_ASIDE).bind(job.0).bind(i64::from(max));
        let rows: Vec<(i64, String)> = query.fetch_all(&mut *tx).await.during(&what)?;
        Ok(rows.into_iter().map(|(id, reason)| SetAside { receipt: ReceiptId(id), reason }).collect())
    }

    async fn plan(&self, business_id: BusinessId, target: &BlobTarget) -> Result<DeletionPlan, Fault> {
        plan::look(&self.database, business_id, target).await
    }
}
