//! Foreign keys to `attachments` from unknown tables, and the queries that respect them.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::SqliteConnection;

use super::fault::During;
use crate::fault::Fault;
use crate::store::keep_rules::{SUMS, Tie, all_hold, before_ties, first_broken, heeded, text};

/// Lists each foreign key onto attachments but the two of receipts; the schema cannot change under
/// the transaction's lock. Of a key over several columns the one onto `id` stands for all. Whether it leads from
/// attachments themselves, and lets both rows go at once.
const LIST: &str = "
    select t.name as child, f.\"from\" as child_column, coalesce(f.\"to\", 'id') as parent_column,
           lower(t.name) = 'attachments' and lower(f.on_delete) <> 'restrict' as ties
    from sqlite_master t, pragma_foreign_key_list(t.name) f
    where t.type = 'table' and lower(f.\"table\") = 'attachments'
      and not (lower(t.name) = 'receipts' and lower(f.\"from\") in ('attachment_id', 'preview_attachment_id'))
      and (lower(coalesce(f.\"to\", 'id')) = 'id' or not exists (
          select 1 from pragma_foreign_key_list(t.name) g
          where g.id = f.id and lower(coalesce(g.\"to\", 'id')) = 'id'))
    order by 1, 2";

/// The receipts of a batch, listed in ?2.
const OF_BATCH: &str = "select value from json_each(?2)";
/// The receipts of a deletion of all receipts; none is marked yet.
const OF_TENANT: &str = "select id from receipts where business_id = ?1 and is_deleted is not true";
/// What nothing needed before the receipts of a batch were marked, listed in ?3.
const OF_EARLIER: &str = "select value from json_each(?3)";
const NONE_EARLIER: &str = "select 0 where false";
/// SQL for the attachments that the given receipts point to, named `pointed`, or did `earlier`.
fn pointed(receipts: &str, earlier: &str) -> String {
    format!(
        "
    with recursive gone(id) as materialized ({receipts}),
         earlier(id) as materialized ({earlier}),
         pointed(id) as materialized (
             select r.attachment_id from gone cross join receipts r on r.id = gone.id
             where r.attachment_id is not null
             union
             select r.preview_attachment_id from gone cross join receipts r on r.id = gone.id
             where r.preview_attachment_id is not null
             union
             select id from earlier)"
    )
}

/// A foreign key to attachments.
struct Reference {
    child: String,
    child_column: String,
    parent_column: String,
    /// It leads from one attachment to another.
    ties: bool,
}

/// The row of a foreign key.
type Listed = (String, String, String, bool);

impl From<Listed> for Reference {
    fn from((child, child_column, parent_column, ties): Listed) -> Self {
        Self { child, child_column, parent_column, ties }
    }
}

/// The queries that respect foreign keys.
pub(super) struct Queries {
    /// The attachments of a batch that no live receipt needs, each with the name of a reference that keeps
    /// it, and with whether others of the tenant do that share its path.
    pub(super) candidates: String,
    /// The same for all receipts of a tenant, as sums: attachments, objects and bytes by the first condition
    /// that does not hold and by reference.
    pub(super) plan: String,
}

/// The queries, built again when the schema has changed.
#[derive(Default)]
pub(super) struct ReferenceCache {
    newest: Mutex<Option<(i64, Arc<Queries>)>>,
}

impl ReferenceCache {
    /// The queries for the schema of this version.
    pub(super) async fn queries(
        &self,
        tx: &mut SqliteConnection,
        schema_version: i64,
    ) -> Result<Arc<Queries>, Fault> {
        if let Some((version, queries)) = &*self.newest.lock()
            && *version == schema_version
        {
            return Ok(Arc::clone(queries));
        }
        let listed: Vec<Listed> =
            sqlx::query_as(LIST).fetch_all(tx).await.during("list foreign keys onto attachments")?;
        let queries = Arc::new(queries(listed.into_iter().map(Reference::from).collect()));
        *self.newest.lock() = Some((schema_version, Arc::clone(&queries)));
        Ok(queries)
    }
}

fn queries(references: Vec<Reference>) -> Queries {
    let (ties, others): (Vec<Reference>, Vec<Reference>) = references.into_iter().partition(|one| one.ties);
    let ties: Vec<Tie> = ties.iter().map(Tie::from).collect();
    let (kept, broken, looked) = (kept(&others), first_broken(), before_ties(&ties));
    Queries {
        candidates: format!(
            "{},
    paths(path) as materialized (
        select distinct a.storage_path from pointed cross join attachments a on a.id = pointed.id
        where a.storage_path <> ''),
    sharing(id, path, ours) as materialized (
        select o.id, o.storage_path, +o.business_id = ?1 and o.purpose in ('receipt_source', 'receipt_preview')
        from paths cross join attachments o on o.storage_path = paths.path),
    wanted(id) as materialized (select id from pointed union select id from sharing),
    {looked}(id, path, reference) as materialized (
        select a.id, coalesce(a.storage_path, ''), {kept}
        from wanted cross join attachments a on a.id = wanted.id
        where {}){},
    free(id) as materialized (select id from looked where reference is null),
    kept(path, ours) as materialized (select path, ours from sharing where id not in (select id from free))
    select id, reference, path in (select path from kept) as shared from looked
    where case when reference is not null then id in (select id from pointed)
          else path not in (select path from kept)
               or (id in (select id from pointed) and path not in (select path from kept where ours is not true)) end
    order by id",
            pointed(OF_BATCH, OF_EARLIER),
            all_hold("receipts"),
            heeded(&ties, "", "reference is null")
        ),
        plan: format!(
            "{},
    sharing(id) as materialized (
        select distinct o.id
        from pointed cross join attachments p on p.id = pointed.id
        cross join attachments o on o.storage_path = p.storage_path and o.id <> p.id
        where p.storage_path <> '' and o.id not in (select id from pointed)
          and (exists (select 1 from receipts r where r.attachment_id = o.id)
               or exists (select 1 from receipts r where r.preview_attachment_id = o.id))),
    {looked} as materialized (
        select a.id as id, w.asked as asked, coalesce(a.storage_path, '') as path, a.file_size as file_size,
               {broken} as broken, {kept} as reference
        from (select id, true as asked from pointed union all select id, false from sharing) w
        cross join attachments a on a.id = w.id){},{SUMS}",
            pointed(OF_TENANT, NONE_EARLIER),
            heeded(&ties, ", s.asked, s.file_size, s.broken", "broken is null and reference is null")
        ),
    }
}

impl From<&Reference> for Tie {
    fn from(Reference { child, child_column, parent_column, .. }: &Reference) -> Self {
        Self {
            child: name(child),
            child_column: name(child_column),
            parent_column: name(parent_column),
            shown: format!("{child}.{child_column}"),
        }
    }
}

/// The name of a reference onto `a`, or null. `in (select column from table)` without a condition:
/// SQLite looks it up in the column's index, or reads the table once for all where there is none.
fn kept(references: &[Reference]) -> String {
    if references.is_empty() {
        return "null".to_owned();
    }
    let cases: String = references
        .iter()
        .map(|Reference { child, child_column, parent_column, .. }| {
            format!(
                "when a.{} in (select {} from {}) then {} ",
                name(parent_column),
                name(child_column),
                name(child),
                text(&format!("{child}.{child_column}"))
            )
        })
        .collect();
    format!("case {cases}end")
}

fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
pub(super) fn queries_without_references() -> Queries {
    queries(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_query() {
        let odd = Reference {
            child: "a\"b".into(),
            child_column: "c'd".into(),
            parent_column: "id".into(),
            ties: false,
        };
        let Queries { candidates: query, plan } = queries(vec![odd]);
        assert!(query.contains(r#"when a."id" in (select "c'd" from "a""b") then 'a"b.c''d' "#), "{query}");
        assert!(plan.contains(r#"from "a""b") then"#), "{plan}");
    }
}
