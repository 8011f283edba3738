//! The statements for `receipts` and `attachments` that are specific to PostgreSQL.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection};

use super::beneath_sql::{beneath, unlockable, wider};
use super::connection::Database;
use super::fault::During;
use super::reference_sql::{bound, hides, holders, policy_of_b, read};
use super::statement::query;
use crate::fault::Fault;
use crate::job::BusinessId;
use crate::store::sql::engine::Sql;
use crate::store::sql::receipts::ReceiptsSql;

/// The application's relations that a deletion reads and changes.
macro_rules! ours {
    () => {
        "select to_regclass(name)::oid from unnest(array['background_jobs', 'receipts', 'attachments']) as name"
    };
}

#[async_trait]
impl ReceiptsSql for Database {
    const SET_ASIDE: Sql = "
    select s.receipt_id, s.reason from tikkun_set_aside s join receipts r on r.id = s.receipt_id
    where s.background_job_id = $1 and r.is_deleted is not true
    order by s.receipt_id limit $2";

    // A table with row security but no policy shows nothing. Triggers on columns that we do not write do not
    // fire, and those of a partition that are its parent's are named once. Without active foreign keys, nothing clears an
    // attachment's id in receipts that were deleted before.
    const HINDRANCES: Sql = concat!(
        "
    with ours as (
        select '{status,cursor,total,processed,succeeded,failed_count,last_error,updated_at,started_at,finished_at,
                 heartbeat_at}'::text[] as columns, 16 as event, id from ",
        holders!("background_jobs"),
        " h
        union all
        select '{is_deleted,deleted_at,updated_at,attachment_id,preview_attachment_id}', 16, id from ",
        holders!("receipts"),
        " h
        union all
        select '{}', 8, id from ",
        holders!("attachments"),
        " h)
    select found from (
        select format('trigger %s on %s', g.tgname, c.relname) as found
        from ours o join pg_class c on c.oid = o.id join pg_trigger g on g.tgrelid = o.id
        where not g.tgisinternal and g.tgenabled in ('O', 'A') and g.tgtype::integer & o.event <> 0
          and (coalesce(g.tgattr::text, '') = '' or exists (
              select 1 from pg_attribute a
              where a.attrelid = o.id and a.attnum = any(g.tgattr::smallint[]) and a.attname = any(o.columns)))
          and not exists (
              select 1 from pg_inherits i join pg_trigger above on above.tgrelid = i.inhparent
              where i.inhrelid = o.id and above.tgname = g.tgname)
        union
        select format('rule %s on %s', r.rulename, c.relname)
        from ",
        read!(ours!()),
        " o join pg_class c on c.oid = o.id join pg_rewrite r on r.ev_class = o.id
        union
        select coalesce('policy ' || p.polname, 'row security without a policy') || ' on ' || b.relname
        from ",
        bound!(ours!()),
        " b left join pg_policy p on p.polrelid = b.oid
        union
        select format('table %s (%s is only a part of it%s)', w.relname, w.named, case when w.fits and w.open then '' else
                      ', and the rest cannot be looked at, so that attachments stay' end)
        from (select *, bool_or(fits) over (partition by named) as any_fits from ",
        wider!(),
        " wider) w
        where w.fits or (w.viewed and not w.any_fits)
        union
        select format('view %s (rows of %s cannot be locked through it, so that nothing is deleted)', u.relname, u.named) from ",
        unlockable!(),
        " u
        union
        select 'session_replication_role is replica, so that no foreign key is at work'
        where current_setting('session_replication_role') = 'replica') as hindrances
    order by found"
    );

    const HIDES: Option<Sql> =
        Some(concat!("select (", hides!("select to_regclass('receipts')::oid"), ") as hides"));

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
