//! Who knows the jobs of which queue, where several serve the queues of one process.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{QueueName, Registry};

/// A registry for each queue: one for most of them, and others for some.
#[derive(Clone, Debug)]
pub struct Registries {
    usual: Arc<Registry>,
    others: BTreeMap<QueueName, Arc<Registry>>,
}

impl Registries {
    /// The registry of all queues but those of which another one is [added](Self::add).
    #[must_use]
    pub fn new(usual: Arc<Registry>) -> Self {
        Self { usual, others: BTreeMap::new() }
    }

    /// Adds the registry of these queues.
    pub fn add(&mut self, queues: &[QueueName], registry: &Arc<Registry>) {
        self.others.extend(queues.iter().map(|queue| (queue.clone(), Arc::clone(registry))));
    }

    /// The registry of this queue.
    #[must_use]
    pub fn of(&self, queue: &QueueName) -> &Arc<Registry> {
        self.others.get(queue).unwrap_or(&self.usual)
    }
}
