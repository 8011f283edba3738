//! The statements for `receipts` and `attachments` that are specific to SQLite.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::connection::Database;
use super::fault::During;
use crate::fault::Fault;
use crate::job::BusinessId;
use crate::store::sql::engine::Sql;
use crate::store::sql::receipts::ReceiptsSql;

/// The schema version, to detect new foreign keys.
const SCHEMA_VERSION: &str = "select schema_version from pragma_schema_version";

#[async_trait]
impl ReceiptsSql for Database {
    const SET_ASIDE: Sql = "
    select s.receipt_id, s.reason from tikkun_set_aside s cross join receipts r on r.id = s.receipt_id
    where s.background_job_id = $1 and r.is_deleted is not true
    order by s.receipt_id limit $2";

    // A trigger on insertions only does not fire.
    const HINDRANCES: Sql = "
    select 'trigger ' || name || ' on ' || tbl_name as found from sqlite_master
    where type = 'trigger' and lower(tbl_name) in ('background_jobs', 'receipts', 'attachments')
      and (sql like '%update%' or sql like '%delete%')
    order by found";

    const HIDES: Option<Sql> = None;

    const LAST_RATE: Sql = "
    select processed / ((julianday(finished_at) - julianday(started_at)) * 86400.0) as rate
    from background_jobs
    where business_id = $1 and job_type = $2 and status = 'completed' and processed > 0
      and julianday(finished_at) > julianday(started_at)
    order by id desc limit 1";

    async fn plan(
        &self,
        tx: &mut SqliteConnection,
        business_id: BusinessId,
        what: &str,
    ) -> Result<Vec<SqliteRow>, Fault> {
        let version: i64 = sqlx::query_scalar(SCHEMA_VERSION).fetch_one(&mut *tx).await.during(what)?;
        let queries = self.references.queries(tx, version).await?;
        let plan = sqlx::query(AssertSqlSafe(queries.plan.as_str())).bind(business_id.0);
        plan.fetch_all(tx).await.during(what)
    }
}
