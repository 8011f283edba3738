//! What a fetch is asked and answered.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::job::{ExecutionId, QueueName};
use crate::queue::delivery::RawHash;

/// The time of the fetch, the names of fields, the ids of jobs in the order of the slots, the fields of each, the ids
/// that stood for nothing that can be run, those that were dropped, each with the reason, and the whole hash of each job
/// where that is asked for: then its fields are those alone that count otherwise than they stand there; and the size of
/// the first job if it was left because it is too large for an answer.
pub(super) type Taken = (
    String,
    Vec<String>,
    Vec<String>,
    Vec<Vec<Option<Vec<u8>>>>,
    Vec<String>,
    Vec<(String, String)>,
    Vec<Vec<Vec<u8>>>,
    usize,
);

/// A job that was taken: the fields that are known of it, and its whole hash.
pub(super) struct TakenJob {
    pub(super) fields: HashMap<String, Vec<u8>>,
    pub(super) hash: Option<Arc<RawHash>>,
}

impl TakenJob {
    /// Of fields by the places of their `names`, and of a hash as the server answers it,
    /// fields and values in turn, beside the name of the worker that has it.
    pub(super) fn new(
        names: &[String],
        values: Vec<Option<Vec<u8>>>,
        whole: Option<(String, Vec<Vec<u8>>)>,
    ) -> Self {
        let hash = whole.map(|(worker, flat)| {
            let mut flat = flat.into_iter();
            RawHash { worker, fields: std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect() }
        });
        // What is not text is no name that we know.
        let known = |(field, value): &(Vec<u8>, Vec<u8>)| {
            Some((std::str::from_utf8(field).ok()?.to_owned(), value.clone()))
        };
        let mut fields: HashMap<_, _> = hash.iter().flat_map(|hash| &hash.fields).filter_map(known).collect();
        fields.extend(names.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?))));
        Self { fields, hash: hash.map(Arc::new) }
    }
}

/// The size of the first job of each queue where it was left because it is too large for an answer.
#[derive(Default)]
pub(super) struct TooLarge(Mutex<HashMap<QueueName, usize>>);

impl TooLarge {
    /// The bytes that the next fetch from a queue waits for at least.
    pub(super) fn of(&self, queue: &QueueName) -> usize {
        self.0.lock().get(queue).copied().unwrap_or(0)
    }

    /// Of a fetch that was answered; 0 if its first job was not too large.
    pub(super) fn note(&self, queue: &QueueName, size: usize) {
        let mut sizes = self.0.lock();
        match size {
            0 => sizes.remove(queue),
            size => sizes.insert(queue.clone(), size),
        };
    }
}

/// New unique ids: one random number and those that follow it.
pub(super) fn new_executions(count: u32) -> Vec<ExecutionId> {
    let first = uuid::Uuid::new_v4().as_u128();
    let id = |place: u32| ExecutionId::from(format!("{:032x}", first.wrapping_add(u128::from(place))));
    (0..count).map(id).collect()
}
