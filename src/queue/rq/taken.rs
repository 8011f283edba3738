//! What a fetch is asked and answered.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::job::{ExecutionId, QueueName};
use crate::queue::delivery::RawHash;

/// An id whose entry was dropped, why, and whether that is a loss.
pub(super) type Dropped = (String, String, bool);

/// The time of the fetch, the names of fields, the ids of jobs in the order of the slots, the fields of each, the ids
/// that stood for nothing that can be run, those that were dropped, each with the reason and whether that is a loss, and the
/// whole hash of each job where that is asked for: then its fields are those alone that count otherwise than they stand
/// there; and the weight of the job that is first now, if it was left for that.
pub(super) type Taken = (
    String,
    Vec<String>,
    Vec<String>,
    Vec<Vec<Option<Vec<u8>>>>,
    Vec<String>,
    Vec<Dropped>,
    Vec<Vec<Vec<u8>>>,
    usize,
);

/// The values of a job's hash by their fields: some alone, and where the whole hash came all others in there. Clones
/// share that.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    own: HashMap<String, Vec<u8>>,
    pub(super) whole: Option<Arc<RawHash>>,
}

impl From<HashMap<String, Vec<u8>>> for Values {
    fn from(own: HashMap<String, Vec<u8>>) -> Self {
        Self { own, whole: None }
    }
}

impl Values {
    /// Of a job that was taken: fields by the places of their `names`, and its hash as the server answers it,
    /// fields and values in turn, beside the name of the worker that has it.
    pub(super) fn taken(
        names: &[String],
        values: Vec<Option<Vec<u8>>>,
        whole: Option<(String, Vec<Vec<u8>>)>,
    ) -> Self {
        let whole = whole.map(|(worker, flat)| {
            let mut flat = flat.into_iter();
            RawHash { worker, fields: std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect() }
        });
        let own = names.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?)));
        Self { own: own.collect(), whole: whole.map(Arc::new) }
    }

    pub(super) fn get(&self, field: &str) -> Option<&[u8]> {
        let own = self.own.get(field).map(Vec::as_slice);
        own.or_else(|| {
            let mut all = self.whole.iter().flat_map(|hash| &hash.fields);
            all.find(|(name, _)| name == field.as_bytes()).map(|(_, value)| value.as_slice())
        })
    }

    /// Every field with its value.
    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let own = self.own.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
        let others = self.whole.iter().flat_map(|hash| &hash.fields);
        let others = others.map(|(name, value)| (name.as_slice(), value.as_slice()));
        let is_own = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| self.own.contains_key(name));
        own.chain(others.filter(move |(name, _)| !is_own(name)))
    }
}

/// The weight of the first job of each queue where the last fetch left it for that.
#[derive(Default)]
pub(super) struct Left(Mutex<HashMap<QueueName, usize>>);

impl Left {
    /// That of this queue; 0 if none was left.
    pub(super) fn of(&self, queue: &QueueName) -> usize {
        self.0.lock().get(queue).copied().unwrap_or(0)
    }

    /// As a fetch was answered; 0 also before it is.
    pub(super) fn note(&self, queue: &QueueName, weight: usize) {
        let mut weights = self.0.lock();
        match weight {
            0 => weights.remove(queue),
            weight => weights.insert(queue.clone(), weight),
        };
    }
}

/// Tells of an entry of a queue that is gone.
pub(super) fn tell_of_dropped(queue: &str, (id, reason, is_loss): Dropped) {
    if is_loss {
        tracing::warn!(job.id = id, queue.name = %queue, reason, "a job that was enqueued again is lost");
    } else {
        tracing::info!(job.id = id, queue.name = %queue, reason, "an entry of a queue was dropped");
    }
}

/// New unique ids: one random number and those that follow it.
pub(super) fn new_executions(count: u32) -> Vec<ExecutionId> {
    let first = uuid::Uuid::new_v4().as_u128();
    let id = |place: u32| ExecutionId::from(format!("{:032x}", first.wrapping_add(u128::from(place))));
    (0..count).map(id).collect()
}
