//! The check of what a batch has changed, before its commit.

use super::beneath::Beneath;
use super::deletion_sql::STANDING;
use super::fault::{fault, names_something_gone};
use super::statement::{Tx, tuples};
use crate::store::Condemned;
use crate::store::deletion::{Change, LEFT_AS_IT_WAS, Scope, StepFault};
use crate::store::sql::deletion_steps::not_moved;

/// The action named in errors.
const LOOK: &str = "look at what a batch has changed";
/// The reason why a row stays whose change would have led the batch to other tables.
pub(super) const LED_ELSEWHERE: &str = "a trigger or a function changed search_path in the middle of a batch, so that the names of its tables led to \
    others; let it put back what it changes";

/// What a batch relies on, from its start.
pub(super) struct Standing<'a> {
    /// The relations that the names of the tables mean.
    pub(super) names: &'a str,
    /// What lies beneath them.
    pub(super) beneath: Option<&'a Beneath>,
    /// Whether the query is a named statement.
    pub(super) named: bool,
}

impl Standing<'_> {
    /// Fails unless every row is as intended after the change.
    pub(super) async fn check(
        &self,
        tx: &mut Tx,
        scope: &Scope<'_>,
        change: &Change<'_>,
        objects: &[Condemned],
    ) -> Result<(), StepFault> {
        let moved_to = change.moved.as_ref();
        let processed = moved_to.map(|moved| moved.progress.processed);
        let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        let marked = [change.marked, change.receipts].concat();
        let look = tuples(STANDING)
            .persistent(self.named)
            .bind(scope.business_id.0)
            .bind(&marked)
            .bind(change.attachments)
            .bind(scope.job.0)
            .bind(processed)
            .bind(&keys)
            .bind(moved_to.map(|moved| moved.cursor.to_string()));
        let (deleted, there, moved, names): (bool, i64, bool, String) =
            look.fetch_one(&mut **tx).await.map_err(astray)?;
        if names != self.names {
            return Err(StepFault::Refused(LED_ELSEWHERE.to_owned()));
        }
        if !deleted || there != 0 {
            return Err(StepFault::Refused(LEFT_AS_IT_WAS.to_owned()));
        }
        if processed.is_some() && !moved {
            return Err(not_moved(scope).into());
        }
        match self.beneath {
            Some(beneath) => beneath.let_go(tx, &keys, change.attachments).await,
            None => Ok(()),
        }
    }
}

/// The names of a batch may lead to tables that are not there.
fn astray(error: sqlx::Error) -> StepFault {
    if names_something_gone(&error) {
        return StepFault::Refused(LED_ELSEWHERE.to_owned());
    }
    fault(error, LOOK).into()
}
