//! What PostgreSQL tells of its tables to the described deletions.

use async_trait::async_trait;

use super::connection::Database;
use super::reference_sql::hides_some;
use super::statement::Tx;
use crate::fault::Fault;
use crate::store::described::dialect::Dialect;
use crate::store::sql::described_schema::DescribedSql;
use crate::store::sql::engine::Sql;

#[async_trait]
impl DescribedSql for Database {
    const DIALECT: Dialect = Dialect::Postgres;
    const HANDLE: &'static str = "ctid";

    const TABLES: Sql = concat!(
        "
    select t.name,
           case c.relkind when 'r' then null when 'p' then null when 'v' then 'view'
                when 'm' then 'materialized view' when 'f' then 'foreign table' else 'relation of another kind' end as other,
           (",
        hides_some!("c.oid"),
        ") as hides, c.relkind = 'r' as handle
    from unnest($1::text[]) as t (name) join pg_class c on c.oid = to_regclass(quote_ident(t.name))"
    );

    const COLUMNS: Sql = "
    select t.name, a.attname::text as column_name, format_type(a.atttypid, null) as column_type,
           a.attnotnull as is_never_null
    from unnest($1::text[]) as t (name)
    join pg_attribute a on a.attrelid = to_regclass(quote_ident(t.name)) and a.attnum > 0 and not a.attisdropped";

    // An index of the rows that have a value serves a search for one.
    const INDEXES: Sql = "
    select t.name, i.indisunique as is_unique, i.indisprimary as is_primary,
           coalesce(pg_get_expr(i.indpred, i.indrelid), 'IS NOT NULL') like '%IS NOT NULL%' as is_whole,
           array_to_json(array(
               select coalesce(a.attname::text, '')
               from unnest(i.indkey::smallint[]) with ordinality as k (attnum, at)
               left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
               where k.at <= i.indnkeyatts order by k.at))::text as columns
    from unnest($1::text[]) as t (name)
    join pg_index i on i.indrelid = to_regclass(quote_ident(t.name)) and i.indisvalid";

    const TRIGGERS: Sql = "
    select t.name, 'trigger ' || g.tgname as what
    from unnest($1::text[]) as t (name)
    join pg_trigger g on g.tgrelid = to_regclass(quote_ident(t.name))
         and not g.tgisinternal and g.tgenabled <> 'D' and g.tgtype & 24 > 0
    union all
    select t.name, 'rule ' || r.rulename
    from unnest($1::text[]) as t (name)
    join pg_rewrite r on r.ev_class = to_regclass(quote_ident(t.name)) and r.ev_type in ('2', '4') and r.ev_enabled <> 'D'
    order by 1, 2";

    const FOREIGN_KEYS: Sql = "
    select case when pg_table_is_visible(r.oid) then r.relname::text else r.relnamespace::regnamespace || '.' || r.relname end
               as from_table,
           c.conrelid::regclass::text as from_sql, t.name as to_table, c.confdeltype::text as action,
           array_to_json(array(
               select a.attname::text from unnest(c.conkey) with ordinality as k (attnum, at)
               join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum order by k.at))::text as from_columns,
           array_to_json(array(
               select a.attname::text from unnest(c.confkey) with ordinality as k (attnum, at)
               join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.attnum order by k.at))::text as to_columns,
           exists (select 1 from pg_index i
                   where i.indrelid = c.conrelid and i.indisvalid and i.indkey[0] = c.conkey[1]) as is_indexed
    from unnest($1::text[]) as t (name)
    join pg_constraint c on c.contype = 'f' and c.confrelid = to_regclass(quote_ident(t.name)) and c.conparentid = 0
    join pg_class r on r.oid = c.conrelid
    order by 1, 3, c.conname";

    async fn batch(&self, what: &str) -> Result<Tx, Fault> {
        Self::batch(self, what).await
    }
}
