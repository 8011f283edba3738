//! The judgement of a batch's attachments, with the queries that are built for the present foreign keys and tables.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::{AssertSqlSafe, PgConnection};

use super::beneath::{Beneath, UNSEEN};
use super::fault::{BoundAnew, During, fault, lacks_a_right, names_something_gone};
use super::reference_queries::{Listed, Queries, fingerprint_now};
use super::reference_sql::{HIDDEN, HOLD, LIST, LOCK_DEAD};
use super::standing::LED_ELSEWHERE;
use super::statement::{Tx, query, scalar, tuples};
use crate::fault::{Fault, FaultKind};
use crate::job::BusinessId;
use crate::store::deletion::Unreferenced;

/// The action named in errors when the locked attachments are checked.
const LOOK: &str = "find the attachments of a batch";
/// The most queries per batch. A repetition follows changed foreign keys or newly locked rows.
const LOOKS: u32 = 6;

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
    /// The relations that the names of the tables meant then.
    pub(super) names: &'a str,
    /// Whether the query is a named statement.
    pub(super) named: bool,
}

/// The result of one query: the attachments that nothing live needs; those of the rest that a reference
/// keeps, and by which; the foreign keys now; all deleted receipts beyond the batch that point to one of the
/// attachments; the attachments that share a path with one of them, and are deleted with it or keep it; those
/// that nothing needs but others of the tenant that share their path; those to which deleted rows of a wider table point;
/// whether row security hides rows, the policies that bind us, and the relations that the names mean now.
type Seen =
    (Vec<i64>, Vec<i64>, Vec<String>, String, Vec<i64>, Vec<i64>, Vec<i64>, Vec<i64>, bool, String, String);

/// The newest queries.
#[derive(Default)]
pub(super) struct ReferenceCache {
    newest: Mutex<Option<Arc<Queries>>>,
}

impl ReferenceCache {
    /// Finds the locked attachments that nothing live needs, in a statement of its own, which sees everything
    /// committed before the locks were held. If other attachments share a path with them, or deleted receipts
    /// point to them, those are locked too and the query is repeated. With the queries that found them.
    pub(super) async fn needless(
        &self,
        tx: &mut Tx,
        batch: &References<'_>,
    ) -> Result<(Unreferenced, Arc<Queries>), Fault> {
        let mut queries = self.known(tx).await?;
        let (mut held, mut locked, mut quiet) = (batch.held.to_vec(), batch.gone.to_vec(), Vec::new());
        for _ in 0..LOOKS {
            let look = tuples(AssertSqlSafe(queries.candidates.as_str())).persistent(batch.named);
            let look = look.bind(batch.tenant.0).bind(&held).bind(batch.gone).bind(batch.earlier);
            let seen: Result<Seen, _> = look.fetch_one(&mut **tx).await;
            let (
                free,
                kept,
                references,
                fingerprint,
                dead,
                sharing,
                shared,
                revivable,
                hidden,
                bound_by,
                names,
            ) = seen.map_err(|error| self.unseen(error))?;
            if names != batch.names {
                return Err(Fault::new(FaultKind::Permanent, LOOK).because(LED_ELSEWHERE));
            }
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
            } else if unknown(&revivable, &quiet) {
                queries.beneath.lock_dead(tx, &revivable).await?;
                quiet.extend(revivable);
            } else {
                let withheld = queries.beneath.unseen.is_some().then_some(UNSEEN);
                let judged = match Some(HIDDEN).filter(|_| hidden).or(withheld) {
                    Some(reason) if !free.is_empty() => withheld_for(reason, &free),
                    _ => found(batch, free, shared, kept.into_iter().zip(references)),
                };
                return Ok((judged, queries));
            }
        }
        let text = format!("{LOOK}: what refers to them changes all the time");
        Err(Fault::new(FaultKind::Retryable, text))
    }

    /// The fault of a failed query. After the rename of a table or column, which changes no fingerprint, or the loss of
    /// a right, the next query is built anew.
    fn unseen(&self, error: sqlx::Error) -> Fault {
        let gone = names_something_gone(&error);
        if gone || lacks_a_right(&error) {
            *self.newest.lock() = None;
        }
        if gone {
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
        let fingerprint = AssertSqlSafe(format!("select {}", fingerprint_now()));
        let fingerprint: String = scalar(fingerprint).fetch_one(&mut *tx).await.during(what)?;
        let listed: Vec<Listed> = tuples(LIST).fetch_all(&mut *tx).await.during(what)?;
        let beneath = Beneath::look(tx).await?;
        let queries = Arc::new(Queries::new(fingerprint, listed, beneath));
        *self.newest.lock() = Some(Arc::clone(&queries));
        Ok(queries)
    }
}

/// The result without those that are withheld for a reason.
fn withheld_for(reason: &str, free: &[i64]) -> Unreferenced {
    let withheld = u32::try_from(free.len()).unwrap_or(u32::MAX);
    Unreferenced { withheld: [(reason.to_owned(), withheld)].into(), ..Unreferenced::default() }
}

/// The result, with what is kept of the batch's own attachments.
fn found(
    batch: &References<'_>,
    free: Vec<i64>,
    mut shared: Vec<i64>,
    kept: impl Iterator<Item = (i64, String)>,
) -> Unreferenced {
    shared.retain(|id| batch.held.contains(id));
    let mut found = Unreferenced { condemnable: free, shared, ..Unreferenced::default() };
    let ours = kept.filter(|(id, _)| batch.held.contains(id));
    ours.for_each(|(_, reference)| *found.kept_for.entry(reference).or_default() += 1);
    found
}
