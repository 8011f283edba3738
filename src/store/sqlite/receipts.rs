//! The port onto `receipts` and `attachments`, on SQLite.

use std::sync::Arc;

use async_trait::async_trait;

use super::connection::Database;
use super::fault::During;
use super::plan::{self, COUNT_LIVE};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::{BackgroundJobId, BusinessId, ReceiptId};
use crate::store::batch::run_batch;
use crate::store::{BatchOrder, BatchOutcome, DeletionPlan, Receipts, SetAside};

/// What a job set aside and is live, by id.
const LIST_SET_ASIDE: &str = "
    select s.receipt_id, s.reason from tikkun_set_aside s cross join receipts r on r.id = s.receipt_id
    where s.background_job_id = ?1 and r.is_deleted is not true
    order by s.receipt_id limit ?2";

/// Triggers on what we change; one that only speaks of insertions does not fire then.
const HINDRANCES: &str = "
    select 'trigger ' || name || ' on ' || tbl_name as found from sqlite_master
    where type = 'trigger' and lower(tbl_name) in ('background_jobs', 'receipts', 'attachments')
      and (sql like '%update%' or sql like '%delete%')
    order by found";

/// Receipts in one file.
pub(super) struct SqliteReceipts {
    database: Arc<Database>,
}

impl SqliteReceipts {
    /// On an open file.
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Receipts for SqliteReceipts {
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
        run_batch(&self.database, order).await
    }

    async fn count_live(&self, business_id: BusinessId) -> Result<i64, Fault> {
        let what = format!("count receipts of business {business_id}");
        sqlx::query_scalar(COUNT_LIVE).bind(business_id.0).fetch_one(self.database.read()).await.during(&what)
    }

    async fn set_aside(&self, job: BackgroundJobId, max: u32) -> Result<Vec<SetAside>, Fault> {
        let rows: Vec<(i64, String)> = sqlx::query_as(LIST_SET_ASIDE)
            .bind(job.0)
            .bind(max)
            .fetch_all(self.database.read())
            .await
            .during(&format!("read what background job {job} set aside"))?;
        Ok(rows.into_iter().map(|(id, reason)| SetAside { receipt: ReceiptId(id), reason }).collect())
    }

    async fn hindrances(&self) -> Result<Vec<String>, Fault> {
        let rows = sqlx::query_scalar(HINDRANCES).fetch_all(self.database.read()).await;
        rows.during("look for triggers")
    }

    async fn may_be_hidden(&self) -> Result<bool, Fault> {
        // SQLite has no row security.
        Ok(false)
    }

    async fn plan(&self, business_id: BusinessId, target: &BlobTarget) -> Result<DeletionPlan, Fault> {
        plan::look(&self.database, business_id, target).await
    }
}
