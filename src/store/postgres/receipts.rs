//! The port onto `receipts` and `attachments`, on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;

use super::connection::Database;
use super::fault::During;
use super::plan::{self, COUNT_LIVE};
use super::reference_sql::hides;
use super::statement::{scalar, tuples};
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::{BackgroundJobId, BusinessId, ReceiptId};
use crate::store::batch::run_batch;
use crate::store::{BatchOrder, BatchOutcome, DeletionPlan, Receipts, SetAside};

/// What a job set aside, by id.
const LIST_SET_ASIDE: &str = "
    select s.receipt_id, s.reason from tikkun_set_aside s join receipts r on r.id = s.receipt_id
    where s.background_job_id = $1 and r.is_deleted is not true
    order by s.receipt_id limit $2";

/// Triggers of changes that we make, rules, and policies of row security that hold for us. A table whose row security
/// has no policy shows nothing. Triggers on other columns than ours do not fire.
const HINDRANCES: &str = "
    with ours as (
        select t.name, t.columns, c.oid as id from (values
            ('background_jobs', '{status,cursor,total,processed,succeeded,failed_count,last_error,updated_at,
                started_at,finished_at,heartbeat_at}'::text[]),
            ('receipts', '{is_deleted,deleted_at,updated_at,attachment_id,preview_attachment_id}'),
            ('attachments', '{}')) as t (name, columns)
        join pg_class c on c.oid = to_regclass(t.name))
    select found from (
        select format('trigger %s on %s', g.tgname, o.name) as found from ours o join pg_trigger g on g.tgrelid = o.id
        where not g.tgisinternal and g.tgenabled in ('O', 'A')
          and g.tgtype::integer & (case when o.name = 'attachments' then 8 else 16 end) <> 0
          and (coalesce(g.tgattr::text, '') = '' or exists (
              select 1 from pg_attribute a
              where a.attrelid = o.id and a.attnum = any(g.tgattr::smallint[]) and a.attname = any(o.columns)))
        union
        select format('rule %s on %s', r.rulename, o.name) from ours o join pg_rewrite r on r.ev_class = o.id
        union
        select coalesce('policy ' || p.polname, 'row security without a policy') || ' on ' || o.name
        from ours o left join pg_policy p on p.polrelid = o.id
        where row_security_active(o.id)) as hindrances
    order by found";

/// Whether a policy of row security may hide receipts from us.
const HIDES: &str = hides!("t.oid = to_regclass('receipts')");

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

    async fn hindrances(&self) -> Result<Vec<String>, Fault> {
        let what = "look for triggers, rules and policies";
        let mut tx = self.database.read(what).await?;
        scalar(HINDRANCES).fetch_all(&mut *tx).await.during(what)
    }

    async fn may_be_hidden(&self) -> Result<bool, Fault> {
        let what = "look for policies that hide receipts";
        let mut tx = self.database.read(what).await?;
        scalar(HIDES).fetch_one(&mut *tx).await.during(what)
    }

    async fn plan(&self, business_id: BusinessId, target: &BlobTarget) -> Result<DeletionPlan, Fault> {
        plan::look(&self.database, business_id, target).await
    }
}
