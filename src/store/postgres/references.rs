//! Foreign keys to `attachments` from unknown tables, and the queries that respect them.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::{AssertSqlSafe, PgConnection};

use super::fault::{BoundAnew, During, fault, names_something_gone};
use super::reference_sql::{BOUND_BY, FINGERPRINT, HIDDEN, HIDES, HOLD, LIST, LOCK_DEAD};
use super::statement::{Tx, query, scalar, tuples};
use crate::fault::{Fault, FaultKind};
use crate::job::BusinessId;
use crate::store::deletion::Unreferenced;
use crate::store::keep_rules::{SUMS, Tie, all_hold, before_ties, first_broken, heeded, text};

/// The action named in errors when the locked attachments are checked.
const LOOK: &str = "find the attachments of a batch";
/// The most queries per batch. A repetition follows changed foreign keys or newly locked rows.
const LOOKS: u32 = 5;

/// The locked attachments of a batch.
pub(super) struct References<'a> {
    /// The tenant.
    pub(super) tenant: BusinessId,
    /// Their ids.
    pub(super) held: &'a [i64],
    /// The receipts that are to be deleted.
    pub(super) gone: &'a [i64],
    /// Attachments that nothing needed before these were marked.
    pub(super) earlier: &'a [i64],
    /// The policies that bound us when the batch began.
    pub(super) bound_by: &'a str,
    /// Whether the query is a named statement.
    pub(super) named: bool,
}

/// The result of one query: the attachments that nothing live needs; those of the rest that a reference
/// keeps, and by which; the foreign keys now; all deleted receipts beyond the batch that point to one of the
/// attachments; the attachments that share a path with one of them, and are deleted with it or keep it; those
/// that nothing needs but others of the tenant that share their path; whether row security hides rows, and the policies
/// that bind us now.
type Seen = (Vec<i64>, Vec<i64>, Vec<String>, String, Vec<i64>, Vec<i64>, Vec<i64>, bool, String);

/// A foreign key to attachments.
struct Reference {
    child: String,
    child_column: String,
    parent_column: String,
    shown: String,
    /// Whether it deletes receipts with their attachment. They must stay, with a cleared pointer.
    drops_receipts: bool,
    /// It leads from one attachment to another.
    ties: bool,
}

/// The row of a foreign key.
type Listed = (String, String, String, String, bool, bool);

impl From<Listed> for Reference {
    fn from((child, child_column, parent_column, shown, drops_receipts, ties): Listed) -> Self {
        Self { child, child_column, parent_column, shown, drops_receipts, ties }
    }
}

/// The queries that respect foreign keys.
pub(super) struct Queries {
    /// The foreign keys for which these were built.
    fingerprint: String,
    /// Finds those of the locked attachments `$2` that nothing live needs after the receipts `$3` are
    /// deleted, as [`Seen`]. Nothing needed `$4` before these were marked.
    candidates: String,
    /// The same for all receipts of a tenant, as sums: attachments, objects and bytes by the first condition
    /// that does not hold and by reference.
    pub(super) plan: String,
}

/// The newest queries.
#[derive(Default)]
pub(super) struct ReferenceCache {
    newest: Mutex<Option<Arc<Queries>>>,
}

impl ReferenceCache {
    /// Finds the locked attachments that nothing live needs, in a statement of its own, which sees everything
    /// committed before the locks were held. If other attachments share a path with them, or deleted receipts
    /// point to them, those are locked too and the query is repeated.
    pub(super) async fn needless(&self, tx: &mut Tx, batch: &References<'_>) -> Result<Unreferenced, Fault> {
        let mut queries = self.known(tx).await?;
        let (mut held, mut locked) = (batch.held.to_vec(), batch.gone.to_vec());
        for _ in 0..LOOKS {
            let look = tuples(AssertSqlSafe(queries.candidates.as_str())).persistent(batch.named);
            let look = look.bind(batch.tenant.0).bind(&held).bind(batch.gone).bind(batch.earlier);
            let seen: Result<Seen, _> = look.fetch_one(&mut **tx).await;
            let (free, kept, references, fingerprint, dead, sharing, mut shared, hidden, bound_by) =
                seen.map_err(|error| self.unseen(error))?;
            if bound_by != batch.bound_by {
                return Err(Fault::new(FaultKind::Retryable, LOOK).because(BoundAnew));
            }
            if fingerprint != queries.fingerprint {
                queries = self.learn(tx).await?;
                continue;
            }
            let unknown = |ids: &[i64], known: &[i64]| ids.iter().any(|id| !known.contains(id));
            if unknown(&sharing, &held) {
                query(HOLD).bind(&sharing).bind(batch.tenant.0).execute(&mut **tx).await.during(LOOK)?;
                held.extend(sharing);
            } else if unknown(&dead, &locked) {
                query(LOCK_DEAD).bind(&dead).execute(&mut **tx).await.during(LOOK)?;
                locked.extend(dead);
            } else if hidden && !free.is_empty() {
                let withheld = u32::try_from(free.len()).unwrap_or(u32::MAX);
                return Ok(Unreferenced {
                    withheld: [(HIDDEN.to_owned(), withheld)].into(),
                    ..Unreferenced::default()
                });
            } else {
                shared.retain(|id| batch.held.contains(id));
                let mut found = Unreferenced { condemnable: free, shared, ..Unreferenced::default() };
                let ours = kept.into_iter().zip(references).filter(|(id, _)| batch.held.contains(id));
                ours.for_each(|(_, reference)| *found.kept_for.entry(reference).or_default() += 1);
                return Ok(found);
            }
        }
        let text = format!("{LOOK}: what refers to them changes all the time");
        Err(Fault::new(FaultKind::Retryable, text))
    }

    /// The fault of a failed query. After the rename of a table or column, which changes no fingerprint, the
    /// next query uses the new name.
    fn unseen(&self, error: sqlx::Error) -> Fault {
        if names_something_gone(&error) {
            *self.newest.lock() = None;
            return Fault::new(FaultKind::Retryable, LOOK).because(error);
        }
        fault(error, LOOK)
    }

    /// The queries as last built.
    async fn known(&self, tx: &mut Tx) -> Result<Arc<Queries>, Fault> {
        let newest = self.newest.lock().clone();
        match newest {
            Some(queries) => Ok(queries),
            None => self.learn(tx).await,
        }
    }

    /// Builds the queries for the present foreign keys.
    pub(super) async fn learn(&self, tx: &mut PgConnection) -> Result<Arc<Queries>, Fault> {
        let what = "list foreign keys onto attachments";
        let fingerprint: String = scalar(FINGERPRINT).fetch_one(&mut *tx).await.during(what)?;
        let listed: Vec<Listed> = tuples(LIST).fetch_all(&mut *tx).await.during(what)?;
        let queries = Arc::new(queries(fingerprint, listed.into_iter().map(Reference::from).collect()));
        *self.newest.lock() = Some(Arc::clone(&queries));
        Ok(queries)
    }
}

fn queries(fingerprint: String, references: Vec<Reference>) -> Queries {
    let (ties, others) = apart(references);
    let (kept, looked) = (kept(&others), before_ties(&ties));
    Queries { fingerprint, candidates: candidates(&ties, &kept, looked), plan: plan(&ties, &kept, looked) }
}

fn candidates(ties: &[Tie], kept: &str, looked: &str) -> String {
    format!(
            "
    with recursive gone as materialized (select unnest($3::bigint[]) as id), earlier as materialized (select unnest($4::bigint[]) as id),
    held as materialized (
        select a.id, coalesce(a.storage_path, '') as path from attachments a
        where a.id = any((select $2::bigint[])::bigint[])),
    sharing as materialized (
        select o.id, o.ours, o.path
        from (select distinct path from held where path <> '') p cross join lateral (
            select a.id, a.storage_path as path,
                   a.business_id + 0 = $1 and a.purpose in ('receipt_source', 'receipt_preview') as ours
            from attachments a where a.storage_path = p.path offset 0) o),
    pointing as materialized (
        select r.id, r.attachment_id, r.preview_attachment_id, r.is_deleted from receipts r
        where r.attachment_id = any((select $2::bigint[])::bigint[])
           or r.preview_attachment_id = any((select $2::bigint[])::bigint[])),
    {looked} as materialized (
        select a.id, coalesce(a.storage_path, '') as path, {kept} as reference
        from attachments a
        where a.id = any((select $2::bigint[])::bigint[]) and {}){},
    free as materialized (select id, path from looked where reference is null),
    kept as materialized (select path, ours from sharing where id not in (select id from free))
    select array(select id::bigint from free where path not in (select path from kept) order by id),
           array(select id::bigint from looked where reference is not null order by id),
           array(select reference from looked where reference is not null order by id),
           ({FINGERPRINT}),
           array(select distinct id::bigint from pointing where is_deleted is true order by 1),
           array(select id::bigint from sharing
                 where ours and id not in (select id from held) order by 1),
           array(select id::bigint from free
                 where path in (select path from kept) and path not in (select path from kept where ours is not true)),
           ({HIDES}), ({BOUND_BY})",
            all_hold("pointing"),
            heeded(ties, "", "reference is null")
        )
}

fn plan(ties: &[Tie], kept: &str, looked: &str) -> String {
    let broken = first_broken();
    format!(
        "
    with recursive pointed as materialized (
             select attachment_id as id from receipts
             where business_id = $1 and is_deleted is not true and attachment_id is not null
             union
             select preview_attachment_id from receipts
             where business_id = $1 and is_deleted is not true and preview_attachment_id is not null),
    sharing as materialized (
             select distinct o.id
             from pointed join attachments p on p.id = pointed.id
             join attachments o on o.storage_path = p.storage_path and o.id <> p.id
             where p.storage_path <> '' and o.id not in (select id from pointed)
               and (exists (select 1 from receipts r where r.attachment_id = o.id)
                    or exists (select 1 from receipts r where r.preview_attachment_id = o.id))),
    {looked} as materialized (
             select a.id, w.asked, coalesce(a.storage_path, '') as path, a.file_size,
                    {broken} as broken, {kept} as reference
             from (select id, true as asked from pointed union all select id, false from sharing) w
             join attachments a on a.id = w.id){},{SUMS}",
        heeded(ties, ", s.asked, s.file_size, s.broken", "broken is null and reference is null")
    )
}

/// Those from one attachment to another, and the others.
fn apart(references: Vec<Reference>) -> (Vec<Tie>, Vec<Reference>) {
    let (ties, others): (Vec<_>, Vec<_>) = references.into_iter().partition(|one| one.ties);
    (ties.into_iter().map(Tie::from).collect(), others)
}

impl From<Reference> for Tie {
    fn from(Reference { child, child_column, parent_column, shown, .. }: Reference) -> Self {
        Self { child, child_column, parent_column, shown }
    }
}

/// The name of a reference onto `a`, or null.
fn kept(references: &[Reference]) -> String {
    if references.is_empty() {
        return "null::text".to_owned();
    }
    let cases: String = references
        .iter()
        .map(|Reference { child, child_column, parent_column, shown, drops_receipts, .. }| {
            let which = if *drops_receipts { " and c.is_deleted is true" } else { "" };
            format!(
                "when exists (select 1 from {child} c where c.{child_column} = a.{parent_column}{which}) then {} ",
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
            drops_receipts: false,
            ties: false,
        };
        let expected =
            "when exists (select 1 from app.\"odd 'one\" c where c.\"a b\" = a.id) then 'odd ''one.a b' ";
        let Queries { candidates, plan, .. } = queries(String::new(), vec![odd]);
        assert!(candidates.contains(expected), "{candidates}");
        assert!(plan.contains(expected), "{plan}");
    }
}
