//! The statements for `receipts` and `attachments` that are specific to PostgreSQL.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection};

use super::connection::Database;
use super::fault::During;
use super::reference_sql::hides;
use super::statement::query;
use crate::fault::Fault;
use crate::job::BusinessId;
use crate::store::sql::engine::Sql;
use crate::store::sql::receipts::ReceiptsSql;

#[async_trait]
impl ReceiptsSql for Database {
    const SET_ASIDE: Sql = "
    select s.receipt_id, s.reason from tikkun_set_aside s join receipts r on r.id = s.receipt_id
    where s.background_job_id = $1 and r.is_deleted is not true
    order by s.receipt_id limit $2";

    // A table with row security but no policy shows nothing. Triggers on columns that we do not write do not
    // fire. Without active foreign keys, nothing clears an attachment's id in receipts that were deleted
    // before.
    const HINDRANCES: Sql = "
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
        where row_security_active(o.id)
        union
        select 'session_replication_role is replica, so that no foreign key is at work'
        where current_setting('session_replication_role') = 'replica') as hindrances
    order by found";

    const HIDES: Option<Sql> =
        Some(concat!("select (", hides!("t.oid = to_regclass('receipts')"), ") as hides"));

    const LAST_RATE: Sql = "
    select (processed / extract(epoch from finished_at - started_at))::double precision as rate
    from background_jobs
    where business_id = $1 and job_type = $2 and status = 'completed' and processed > 0
      and finished_at > started_at
    order by id desc limit 1";

    async fn plan(
        &self,
        tx: &mut PgConnection,
        business_id: BusinessId,
        what: &str,
    ) -> Result<Vec<PgRow>, Fault> {
        let queries = self.references.learn(tx).await?;
        let plan = query(AssertSqlSafe(queries.plan.as_str())).bind(business_id.0);
        plan.fetch_all(tx).await.during(what)
    }
}
