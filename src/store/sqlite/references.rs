//! Foreign keys that lead to `attachments` from tables we do not know, and the query that heeds them.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::{Row, Sqlite, Transaction};

use super::fault::During;
use crate::fault::Fault;

/// Lists each foreign key onto attachments but the two of receipts; the schema cannot change under
/// the transaction's lock. Of a key over several columns the one onto `id` stands for all.
const LIST: &str = "
    select t.name as child, f.\"from\" as child_column, coalesce(f.\"to\", 'id') as parent_column
    from sqlite_master t, pragma_foreign_key_list(t.name) f
    where t.type = 'table' and lower(f.\"table\") = 'attachments'
      and not (lower(t.name) = 'receipts' and lower(f.\"from\") in ('attachment_id', 'preview_attachment_id'))
      and (lower(coalesce(f.\"to\", 'id')) = 'id' or not exists (
          select 1 from pragma_foreign_key_list(t.name) g
          where g.id = f.id and lower(coalesce(g.\"to\", 'id')) = 'id'))
    order by 1, 2";

/// The attachments of the receipts in ?1 that nothing live needs, of tenant ?2, each with the name of
/// a reference that keeps it. The column `kept` goes between the two halves.
const CANDIDATES: [&str; 2] = [
    "
    with gone(id) as materialized (select value from json_each(?1)),
         pointed(id) as materialized (
             select r.attachment_id from gone cross join receipts r on r.id = gone.id
             where r.attachment_id is not null
             union
             select r.preview_attachment_id from gone cross join receipts r on r.id = gone.id
             where r.preview_attachment_id is not null)
    select a.id, ",
    " as kept
    from pointed cross join attachments a on a.id = pointed.id
    where a.business_id = ?2 and a.purpose in ('receipt_source', 'receipt_preview')
      and not exists (select 1 from receipts l where l.attachment_id = a.id and l.is_deleted is not true)
      and not exists (select 1 from receipts l where l.preview_attachment_id = a.id and l.is_deleted is not true)
      and (coalesce(a.storage_path, '') = '' or not exists (
          select 1 from attachments o where o.storage_path = a.storage_path and o.id <> a.id))
    order by a.id",
];

/// A foreign key onto attachments.
struct Reference {
    child: String,
    child_column: String,
    parent_column: String,
}

/// The query for candidates, made anew when the schema has changed.
#[derive(Default)]
pub(super) struct ReferenceCache {
    newest: Mutex<Option<(i64, Arc<str>)>>,
}

impl ReferenceCache {
    /// The query for the schema of this version.
    pub(super) async fn candidates_query(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        schema_version: i64,
    ) -> Result<Arc<str>, Fault> {
        if let Some((version, query)) = &*self.newest.lock()
            && *version == schema_version
        {
            return Ok(Arc::clone(query));
        }
        let rows = sqlx::query(LIST).fetch_all(&mut **tx).await;
        let query: Arc<str> =
            candidates_query(&references(rows).during("list foreign keys onto attachments")?).into();
        *self.newest.lock() = Some((schema_version, Arc::clone(&query)));
        Ok(query)
    }
}

fn references(
    rows: Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error>,
) -> Result<Vec<Reference>, sqlx::Error> {
    let read = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Reference {
            child: row.try_get("child")?,
            child_column: row.try_get("child_column")?,
            parent_column: row.try_get("parent_column")?,
        })
    };
    rows?.iter().map(read).collect()
}

/// `in (select column from table)` without a condition: SQLite looks it up in the column's index, or
/// reads the table once for the whole batch where there is none.
fn candidates_query(references: &[Reference]) -> String {
    let [head, tail] = CANDIDATES;
    if references.is_empty() {
        return format!("{head}null{tail}");
    }
    let cases: String = references
        .iter()
        .map(|Reference { child, child_column, parent_column }| {
            format!(
                "when a.{} in (select {} from {}) then {} ",
                name(parent_column),
                name(child_column),
                name(child),
                text(&format!("{child}.{child_column}"))
            )
        })
        .collect();
    format!("{head}case {cases}end{tail}")
}

fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
pub(super) fn query_without_references() -> String {
    candidates_query(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_query() {
        let odd = Reference { child: "a\"b".into(), child_column: "c'd".into(), parent_column: "id".into() };
        let query = candidates_query(&[odd]);
        assert!(query.contains(r#"when a."id" in (select "c'd" from "a""b") then 'a"b.c''d' "#), "{query}");
    }
}
