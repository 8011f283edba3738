//! Foreign keys that lead to `attachments` from tables we do not know, and the queries that heed them.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::AssertSqlSafe;

use super::connection::Tx;
use super::fault::{During, kind, names_something_gone};
use super::statement::{query, scalar, tuples};
use crate::fault::{Fault, FaultKind};
use crate::job::BusinessId;
use crate::store::keep_rules::{all_hold, first_broken, text};

/// Each foreign key onto attachments but the two of receipts, with names as SQL writes them and as people
/// do. Of a key over several columns the one onto `id` stands for all; of a partitioned table its root.
const LIST: &str = "
    select distinct on (c.oid) c.conrelid::regclass::text, quote_ident(child.attname),
           quote_ident(parent.attname), t.relname || '.' || child.attname
    from pg_constraint c
    join pg_class t on t.oid = c.conrelid
    cross join lateral unnest(c.conkey, c.confkey) as k (child, parent)
    join pg_attribute child on child.attrelid = c.conrelid and child.attnum = k.child
    join pg_attribute parent on parent.attrelid = c.confrelid and parent.attnum = k.parent
    where c.contype = 'f' and c.confrelid = to_regclass('attachments') and c.conparentid = 0
      and not (c.conrelid = to_regclass('receipts') and child.attname in ('attachment_id', 'preview_attachment_id'))
    order by c.oid, parent.attname <> 'id'";

/// The foreign keys onto attachments in one text: another text, other keys.
const FINGERPRINT: &str = "
    select coalesce(string_agg(c.oid::text, ' ' order by c.oid), '')
    from pg_constraint c
    where c.contype = 'f' and c.confrelid = to_regclass('attachments') and c.conparentid = 0";

/// What is tried when the locked attachments are looked at.
const LOOK: &str = "find the attachments of a batch";
/// Looks at the attachments of a batch, each after foreign keys onto them have changed or receipts were locked.
const LOOKS: u32 = 5;

/// Nobody can revive these receipts before our commit. In the order of their ids.
const LOCK_DEAD: &str =
    "select 1 from receipts where id = any((select $1::bigint[])::bigint[]) order by id for no key update";

/// The locked attachments of a batch.
pub(super) struct References<'a> {
    /// Whose.
    pub(super) tenant: BusinessId,
    /// Which.
    pub(super) held: &'a [i64],
    /// The receipts that are to be deleted.
    pub(super) gone: &'a [i64],
    /// Whether the look is a statement with a name.
    pub(super) named: bool,
}

/// An attachment that nothing live needs: its id, what keeps it all the same, the foreign keys as they are now,
/// and all deleted receipts beyond the batch that point to one of the locked attachments.
type Seen = (i64, Option<String>, String, Vec<i64>);

/// A foreign key onto attachments.
struct Reference {
    child: String,
    child_column: String,
    parent_column: String,
    shown: String,
}

/// The queries that heed foreign keys.
pub(super) struct Queries {
    /// What the foreign keys were when these were made.
    fingerprint: String,
    /// Of the attachments `$2`, locked before, those that nothing live needs once the receipts `$3` are
    /// deleted: rows of [`Seen`].
    candidates: String,
    /// The same look at all receipts of a tenant, in sums: by the first rule that does not hold and by
    /// reference, attachments, objects and bytes.
    pub(super) plan: String,
}

/// The newest queries.
#[derive(Default)]
pub(super) struct ReferenceCache {
    newest: Mutex<Option<Arc<Queries>>>,
}

impl ReferenceCache {
    /// Which of the locked attachments nothing live needs, each with the name of a reference that keeps it: by a
    /// statement of its own, which sees all that was committed before the locks were held. Where deleted
    /// receipts point to them, too, those are locked, and it looks again.
    pub(super) async fn needless(
        &self,
        tx: &mut Tx,
        batch: &References<'_>,
    ) -> Result<Vec<(i64, Option<String>)>, Fault> {
        let mut queries = self.known(tx).await?;
        let mut locked = Vec::new();
        for _ in 0..LOOKS {
            let look = tuples(AssertSqlSafe(queries.candidates.as_str())).persistent(batch.named);
            let look = look.bind(batch.tenant.0).bind(batch.held).bind(batch.gone);
            let rows: Result<Vec<Seen>, _> = look.fetch_all(&mut **tx).await;
            let rows = rows.map_err(|error| self.unseen(error))?;
            if rows.iter().any(|(_, _, fingerprint, _)| *fingerprint != queries.fingerprint) {
                queries = self.learn(tx).await?;
                continue;
            }
            let dead = rows.first().map(|(.., dead)| dead.as_slice()).unwrap_or_default();
            if dead.iter().all(|id| locked.contains(id)) {
                return Ok(rows.into_iter().map(|(id, kept, ..)| (id, kept)).collect());
            }
            locked = dead.to_vec();
            query(LOCK_DEAD).bind(dead).execute(&mut **tx).await.during(LOOK)?;
        }
        let text = format!("{LOOK}: what refers to them changes all the time");
        Err(Fault::new(FaultKind::Retryable, text))
    }

    /// What a look ran into. A table or column that was renamed, which changes no fingerprint, is found by its
    /// new name next time.
    fn unseen(&self, error: sqlx::Error) -> Fault {
        if names_something_gone(&error) {
            *self.newest.lock() = None;
            return Fault::new(FaultKind::Retryable, LOOK).because(error);
        }
        Fault::new(kind(&error), LOOK).because(error)
    }

    /// The queries as last made.
    async fn known(&self, tx: &mut Tx) -> Result<Arc<Queries>, Fault> {
        let newest = self.newest.lock().clone();
        match newest {
            Some(queries) => Ok(queries),
            None => self.learn(tx).await,
        }
    }

    /// The queries for the foreign keys that there are.
    pub(super) async fn learn(&self, tx: &mut Tx) -> Result<Arc<Queries>, Fault> {
        let what = "list foreign keys onto attachments";
        let fingerprint: String = scalar(FINGERPRINT).fetch_one(&mut **tx).await.during(what)?;
        let rows: Vec<(String, String, String, String)> =
            tuples(LIST).fetch_all(&mut **tx).await.during(what)?;
        let references: Vec<Reference> = rows
            .into_iter()
            .map(|(child, child_column, parent_column, shown)| Reference {
                child,
                child_column,
                parent_column,
                shown,
            })
            .collect();
        let queries = Arc::new(queries(fingerprint, &references));
        *self.newest.lock() = Some(Arc::clone(&queries));
        Ok(queries)
    }
}

fn queries(fingerprint: String, references: &[Reference]) -> Queries {
    let (kept, broken) = (kept(references), first_broken());
    Queries {
        fingerprint,
        candidates: format!(
            "
    with gone as materialized (select unnest($3::bigint[]) as id),
    pointing as materialized (
        select r.id, r.attachment_id, r.preview_attachment_id, r.is_deleted from receipts r
        where (r.attachment_id = any((select $2::bigint[])::bigint[])
               or r.preview_attachment_id = any((select $2::bigint[])::bigint[]))
          and r.id not in (select id from gone))
    select a.id::bigint, {kept} as kept, ({FINGERPRINT}) as fingerprint,
           array(select id::bigint from pointing where is_deleted is true order by id) as dead
    from attachments a
    where a.id = any((select $2::bigint[])::bigint[]) and {}
    order by a.id",
            all_hold("pointing")
        ),
        plan: format!(
            "
    with pointed as materialized (
             select attachment_id as id from receipts
             where business_id = $1 and is_deleted is not true and attachment_id is not null
             union
             select preview_attachment_id from receipts
             where business_id = $1 and is_deleted is not true and preview_attachment_id is not null)
    select broken, case when broken is null then kept end as reference, count(*) as attachments,
           count(*) filter (where keyed) as objects,
           coalesce(sum(file_size) filter (where keyed), 0)::bigint as bytes
    from (select {broken} as broken, {kept} as kept, coalesce(a.storage_path, '') <> '' as keyed, a.file_size
          from pointed join attachments a on a.id = pointed.id) looked
    group by 1, 2"
        ),
    }
}

/// The name of a reference onto `a`, or null.
fn kept(references: &[Reference]) -> String {
    if references.is_empty() {
        return "null::text".to_owned();
    }
    let cases: String = references
        .iter()
        .map(|Reference { child, child_column, parent_column, shown }| {
            format!(
                "when exists (select 1 from {child} c where c.{child_column} = a.{parent_column}) then {} ",
                text(shown)
            )
        })
        .collect();
    format!("case {cases}end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reference_that_holds_names_what_keeps_an_attachment() {
        let odd = Reference {
            child: "app.\"odd 'one\"".into(),
            child_column: "\"a b\"".into(),
            parent_column: "id".into(),
            shown: "odd 'one.a b".into(),
        };
        let expected =
            "when exists (select 1 from app.\"odd 'one\" c where c.\"a b\" = a.id) then 'odd ''one.a b' ";
        let Queries { candidates, plan, .. } = queries(String::new(), &[odd]);
        assert!(candidates.contains(expected), "{candidates}");
        assert!(plan.contains(expected), "{plan}");
    }
}
