//! The port for `receipts` and `attachments`, on any SQL engine.

use std::sync::Arc;

use async_trait::async_trait;

use super::background_jobs::LATEST;
use super::engine::{Connection as _, Engine, RowOf, Sql};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::DELETE_RECEIPTS_ALL;
use crate::job::{BackgroundJobId, BusinessId, ReceiptId};
use crate::store::batch::run_batch;
use crate::store::deletion::Deletions;
use crate::store::keep_rules;
use crate::store::row::{Cells, readable};
use crate::store::{BatchOrder, BatchOutcome, DeletionPlan, Receipts, SetAside};

/// Live receipts, read from their partial index alone.
const COUNT_LIVE: &str =
    "select count(*) as live from receipts where business_id = $1 and is_deleted is not true";

/// Among the newest attachments alone, since many may have no key.
const NEWEST_KEYS: &str = "select storage_path from
    (select id, storage_path from attachments order by id desc limit 200) newest
    where coalesce(storage_path, '') <> '' order by id desc limit $1";

/// The statements that differ between engines.
#[async_trait]
pub trait ReceiptsSql: Engine {
    /// Receipts that a job set aside and that are live, by id.
    const SET_ASIDE: Sql;
    /// Triggers on our changes, rules, policies of row security that apply to us, and what beneath a view keeps rows.
    const HINDRANCES: Sql;
    /// Whether a policy of row security may hide receipts from us; `None`: the engine has no row security.
    const HIDES: Option<Sql>;
    /// The rate of the tenant's last completed deletion, including waits and pauses.
    const LAST_RATE: Sql;

    /// What a deletion would do to the attachments of a tenant's live receipts, as sums.
    async fn plan(
        &self,
        tx: &mut Self::Connection,
        business_id: BusinessId,
        what: &str,
    ) -> Result<Vec<RowOf<Self>>, Fault>;
}

/// Receipts in one database.
pub(super) struct SqlReceipts<E>(pub(super) Arc<E>);

#[async_trait]
impl<E: ReceiptsSql> Receipts for SqlReceipts<E>
where
    Arc<E>: Deletions,
{
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
        run_batch(&self.0, order).await
    }

    async fn count_live(&self, business_id: BusinessId) -> Result<i64, Fault> {
        let what = format!("count receipts of business {business_id}");
        let counted = self.0.read_rows(COUNT_LIVE, &[business_id.0.into()], &what).await?;
        counted.first().map_or(Ok(0), |row| row.needed("live"))
    }

    async fn set_aside(&self, job: BackgroundJobId, max: u32) -> Result<Vec<SetAside>, Fault> {
        let what = format!("read what background job {job} set aside");
        let rows = self.0.read_rows(E::SET_ASIDE, &[job.0.into(), max.into()], &what).await?;
        let set_aside = |row: &RowOf<E>| {
            let receipt = ReceiptId(row.needed("receipt_id")?);
            Ok(SetAside { receipt, reason: row.text("reason")?.unwrap_or_default() })
        };
        rows.iter().map(set_aside).collect()
    }

    async fn hindrances(&self) -> Result<Vec<String>, Fault> {
        let found = self.0.read_rows(E::HINDRANCES, &[], "look for triggers, rules and policies").await?;
        found.iter().map(|row| Ok(row.text("found")?.unwrap_or_default())).collect()
    }

    async fn may_be_hidden(&self) -> Result<bool, Fault> {
        let Some(sql) = E::HIDES else { return Ok(false) };
        let found = self.0.read_rows(sql, &[], "look for policies that hide receipts").await?;
        found.first().map_or(Ok(false), |row| row.flag("hides"))
    }

    async fn newest_keys(&self, max: u32) -> Result<Vec<String>, Fault> {
        let found = self.0.read_rows(NEWEST_KEYS, &[max.into()], "look at the newest attachments").await?;
        found.iter().map(|row| Ok(row.text("storage_path")?.unwrap_or_default())).collect()
    }

    async fn plan(&self, business_id: BusinessId, target: &BlobTarget) -> Result<DeletionPlan, Fault> {
        let what = format!("plan the deletion of business {business_id}");
        let (tenant, deletions) = (business_id.0.into(), [business_id.0.into(), DELETE_RECEIPTS_ALL.into()]);
        let mut tx = self.0.reading(&what).await?;
        let receipts = tx.one(COUNT_LIVE, &[tenant], &what).await?.needed("live")?;
        let sums = self.0.plan(&mut tx, business_id, &what).await?;
        let last_rate = tx.first(E::LAST_RATE, &deletions, &what).await?;
        let last_rate = last_rate.map(|row| row.real("rate")).transpose()?.flatten();
        let newest = tx.first(LATEST, &deletions, &what).await?;
        E::end(tx, &what).await?;
        let left_alone = newest.as_ref().and_then(readable).and_then(|job| job.cursor.left);
        Ok(DeletionPlan { left_alone, ..keep_rules::plan(receipts, target, last_rate, &sums)? })
    }
}
