//! Deletes condemned objects and updates the outbox. Never inside a transaction; safe to repeat.

use std::collections::HashSet;
use std::time::Duration;

use crate::blob::{BlobStore, KeyFault};
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::Backoff;
use crate::measure::list::OBJECTS;
use crate::store::{CleanupOutbox, Condemned, StillThere};

/// The result of a clean-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanedUp {
    /// Objects that were deleted.
    pub deleted: u32,
    /// Objects that still exist and will be tried again.
    pub failed: u32,
}

/// The time limits of a clean-up.
#[derive(Clone, Copy, Debug)]
pub struct CleanUpLimits {
    /// The time limit of one call.
    pub deadline: Duration,
    /// The delays between attempts to delete an object.
    pub backoff: Backoff,
}

/// The result of one call.
#[derive(Debug)]
pub(super) struct Called {
    /// The counts.
    pub(super) cleaned: CleanedUp,
    /// The error, if the storage rejected the whole call.
    pub(super) refused: Option<Fault>,
}

/// Deletes the objects in as few calls as the store allows. If the store cannot be reached, each key counts
/// as failed.
///
/// If dropped at an await, objects may be gone while their rows remain; the next attempt confirms them.
///
/// # Errors
/// Only a fault of the outbox itself.
pub async fn delete_objects(
    blobs: &dyn BlobStore,
    outbox: &dyn CleanupOutbox,
    condemned: &[Condemned],
    limits: &CleanUpLimits,
) -> Result<CleanedUp, Fault> {
    let mut done = CleanedUp::default();
    let mut rest = condemned;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(blobs.max_keys().clamp(1, rest.len()));
        let Called { cleaned, .. } = delete_in_one_call(blobs, outbox, chunk, limits).await?;
        done.deleted += cleaned.deleted;
        done.failed += cleaned.failed;
        rest = later;
    }
    Ok(done)
}

/// The same for at most as many objects as one call takes.
pub(super) async fn delete_in_one_call(
    blobs: &dyn BlobStore,
    outbox: &dyn CleanupOutbox,
    chunk: &[Condemned],
    limits: &CleanUpLimits,
) -> Result<Called, Fault> {
    let keys: Vec<String> = chunk.iter().map(|object| object.key.clone()).collect();
    let deleted = answer_in(limits.deadline, "delete objects", blobs.delete(&keys)).await;
    failpoint::reach("deletion.after_storage");
    let (gone, left) = sort_out(chunk, &deleted);
    OBJECTS.counter(&["deleted"]).increment(gone.len() as u64);
    OBJECTS.counter(&["failed"]).increment(left.len() as u64);
    if !gone.is_empty() {
        answer_in(limits.deadline, "confirm deleted objects", outbox.confirm(&gone)).await?;
    }
    give_back(outbox, &left, limits).await?;
    let cleaned = CleanedUp {
        deleted: u32::try_from(gone.len()).unwrap_or(u32::MAX),
        failed: u32::try_from(left.len()).unwrap_or(u32::MAX),
    };
    Ok(Called { cleaned, refused: deleted.err() })
}

/// Returns objects that still exist to the outbox, each with its error, for a later attempt.
pub(super) async fn give_back(
    outbox: &dyn CleanupOutbox,
    left: &[StillThere],
    limits: &CleanUpLimits,
) -> Result<(), Fault> {
    if left.is_empty() {
        return Ok(());
    }
    answer_in(limits.deadline, "postpone objects", outbox.postpone(left, &limits.backoff)).await
}

/// Splits the objects into deleted ones, whose outbox rows are done, and failed ones with their errors.
fn sort_out(chunk: &[Condemned], deleted: &Result<Vec<KeyFault>, Fault>) -> (Vec<i64>, Vec<StillThere>) {
    let still_there = |object: &Condemned, fault: &Fault| StillThere {
        id: object.id,
        error: fault.chain(),
        refused: fault.kind() == FaultKind::Permanent,
    };
    match deleted {
        Ok(faults) => {
            let left: Vec<StillThere> = faults
                .iter()
                .filter_map(|fault| Some(still_there(chunk.get(fault.index)?, &fault.fault)))
                .collect();
            let kept: HashSet<i64> = left.iter().map(|object| object.id).collect();
            (chunk.iter().map(|object| object.id).filter(|id| !kept.contains(id)).collect(), left)
        }
        Err(fault) => (Vec::new(), chunk.iter().map(|object| still_there(object, fault)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;

    fn chunk() -> Vec<Condemned> {
        (1..=3).map(|id| Condemned { id, key: format!("1/receipt_source/2026/01/{id}.pdf") }).collect()
    }

    #[test]
    fn only_keys_without_an_error_are_confirmed() {
        let fault = Fault::new(FaultKind::Permanent, "access denied");
        let (gone, left) = sort_out(&chunk(), &Ok(vec![KeyFault { index: 1, fault }]));
        assert_eq!(gone, [1, 3]);
        assert_eq!(left, [StillThere { id: 2, error: "access denied".to_owned(), refused: true }]);
    }

    #[test]
    fn a_store_out_of_reach_confirms_nothing() {
        let (gone, left) = sort_out(&chunk(), &Err(Fault::new(FaultKind::Unavailable, "no answer")));
        assert!(gone.is_empty());
        assert_eq!(left.len(), 3);
        assert!(left.iter().all(|object| !object.refused), "it says nothing about any of them");
    }
}
