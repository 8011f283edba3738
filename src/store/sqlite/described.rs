//! What SQLite tells of its tables to the described deletions.

use async_trait::async_trait;

use super::connection::Database;
use crate::fault::Fault;
use crate::sqlite::Transaction;
use crate::store::described::dialect::Dialect;
use crate::store::sql::described_schema::DescribedSql;
use crate::store::sql::engine::Sql;

#[async_trait]
impl DescribedSql for Database {
    const DIALECT: Dialect = Dialect::Sqlite;
    const HANDLE: &'static str = "rowid";

    const TABLES: Sql = "
    select t.value as name, nullif(l.type, 'table') as other, false as hides, not l.wr as handle
    from json_each($1) t join pragma_table_list l on l.schema = 'main' and l.name = t.value";

    const COLUMNS: Sql = "
    select t.value as name, c.name as column_name, c.type as column_type, c.\"notnull\" as is_never_null
    from json_each($1) t join pragma_table_info(t.value) c";

    // The primary key may have no index of its own.
    const INDEXES: Sql = "
    select t.value as name,
           (select json_group_array(p.name)
            from (select c.name from pragma_table_info(t.value) c where c.pk > 0 order by c.pk) p) as columns,
           true as is_unique, true as is_primary, true as is_whole
    from json_each($1) t
    union all
    select t.value,
           (select json_group_array(coalesce(p.name, ''))
            from (select x.name from pragma_index_info(i.name) x order by x.seqno) p),
           i.\"unique\", false, not i.partial
    from json_each($1) t join pragma_index_list(t.value) i
    where i.origin <> 'pk'";

    const TRIGGERS: Sql = "
    select t.value as name, 'trigger ' || m.name as what
    from json_each($1) t join sqlite_master m on m.type = 'trigger' and m.tbl_name = t.value
    where lower(m.sql) not like '%insert on%'
    order by 2";

    // A reference without columns is to the primary key.
    const FOREIGN_KEYS: Sql = "
    select m.name as from_table, '\"' || replace(m.name, '\"', '\"\"') || '\"' as from_sql, t.value as to_table,
           (select json_group_array(p.column_name)
            from (select g.\"from\" as column_name from pragma_foreign_key_list(m.name) g
                  where g.id = f.id order by g.seq) p) as from_columns,
           (select json_group_array(p.column_name)
            from (select coalesce(g.\"to\", (select c.name from pragma_table_info(t.value) c where c.pk = g.seq + 1))
                         as column_name
                  from pragma_foreign_key_list(m.name) g where g.id = f.id order by g.seq) p) as to_columns,
           lower(f.on_delete) as action,
           (exists (select 1 from pragma_index_list(m.name) i join pragma_index_info(i.name) x
                    where x.seqno = 0 and lower(x.name) = lower(f.\"from\"))
            or exists (select 1 from pragma_table_info(m.name) c
                       where c.pk = 1 and lower(c.name) = lower(f.\"from\"))) as is_indexed
    from json_each($1) t join sqlite_master m on m.type = 'table'
         join pragma_foreign_key_list(m.name) f on lower(f.\"table\") = lower(t.value) and f.seq = 0
    order by 1, 3, f.id";

    async fn batch(&self, what: &str) -> Result<Transaction, Fault> {
        self.write(what).await
    }
}
