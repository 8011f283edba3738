//! Deletes condemned objects and tells the outbox: never inside a transaction, safe to repeat.

use std::time::Duration;

use super::deadline::answer_in;
use crate::blob::{BlobStore, KeyFault};
use crate::failpoint;
use crate::fault::Fault;
use crate::job::Backoff;
use crate::store::{CleanupOutbox, Condemned};

/// How a clean-up went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanedUp {
    /// Objects that are gone.
    pub deleted: u32,
    /// Objects that are still there, to be tried again.
    pub failed: u32,
}

/// Waits of a clean-up.
#[derive(Clone, Copy, Debug)]
pub struct CleanUpLimits {
    /// Longest wait for one answer.
    pub deadline: Duration,
    /// Waits between tries for one object.
    pub backoff: Backoff,
}

/// Deletes the objects in as few calls as the store allows. A store that is out of reach counts as a
/// failure of each key.
///
/// Dropped at an await, objects may be gone whose rows are still there; the next try confirms them.
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
    for chunk in condemned.chunks(blobs.max_keys().max(1)) {
        let keys: Vec<String> = chunk.iter().map(|object| object.key.clone()).collect();
        let deleted = answer_in(limits.deadline, "delete objects", blobs.delete(&keys)).await;
        failpoint::reach("deletion.after_storage");
        let (gone, left) = sort_out(chunk, deleted);
        answer_in(limits.deadline, "confirm deleted objects", outbox.confirm(&gone)).await?;
        if !left.is_empty() {
            answer_in(limits.deadline, "postpone objects", outbox.postpone(&left, &limits.backoff)).await?;
        }
        done.deleted += u32::try_from(gone.len()).unwrap_or(u32::MAX);
        done.failed += u32::try_from(left.len()).unwrap_or(u32::MAX);
    }
    Ok(done)
}

/// Which rows of the outbox are done, and which stay with what error.
fn sort_out(chunk: &[Condemned], deleted: Result<Vec<KeyFault>, Fault>) -> (Vec<i64>, Vec<(i64, String)>) {
    match deleted {
        Ok(faults) => {
            let left: Vec<(i64, String)> = faults
                .iter()
                .filter_map(|fault| chunk.get(fault.index).map(|object| (object.id, fault.fault.chain())))
                .collect();
            let gone = chunk.iter().map(|object| object.id).filter(|id| left.iter().all(|(l, _)| l != id));
            (gone.collect(), left)
        }
        Err(fault) => {
            let error = fault.chain();
            (Vec::new(), chunk.iter().map(|object| (object.id, error.clone())).collect())
        }
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
        let (gone, left) = sort_out(&chunk(), Ok(vec![KeyFault { index: 1, fault }]));
        assert_eq!(gone, [1, 3]);
        assert_eq!(left, [(2, "access denied".to_owned())]);
    }

    #[test]
    fn a_store_out_of_reach_confirms_nothing() {
        let (gone, left) = sort_out(&chunk(), Err(Fault::new(FaultKind::Unavailable, "no answer")));
        assert!(gone.is_empty());
        assert_eq!(left.len(), 3);
    }
}
