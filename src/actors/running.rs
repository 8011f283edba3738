//! What runs in this process at this moment, for those who look at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::Serialize;

use super::attempt_control::AttemptControl;
use crate::job::{ExecutionId, JobId, KindName, Progress, QueueName};
use crate::queue::Delivery;

/// The jobs in hand. Clones show the same.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<BTreeMap<ExecutionId, Entry>>>);

struct Entry {
    job: JobId,
    kind: KindName,
    queue: QueueName,
    attempt: u32,
    since: DateTime<Utc>,
    control: Arc<AttemptControl>,
}

/// One job in hand.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunningJob {
    /// The queue's id of the job.
    pub job_id: JobId,
    /// Its function.
    pub function: KindName,
    /// Its queue.
    pub queue: QueueName,
    /// Which attempt.
    pub attempt: u32,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What the job itself told last.
    pub progress: Option<Progress>,
}

/// Takes the job off the list when dropped.
pub(super) struct InHand {
    running: Running,
    execution: ExecutionId,
}

impl Running {
    /// The jobs in hand, in no order that means anything.
    #[must_use]
    pub fn list(&self) -> Vec<RunningJob> {
        let entries = self.0.lock();
        let view = |entry: &Entry| RunningJob {
            job_id: entry.job.clone(),
            function: entry.kind.clone(),
            queue: entry.queue.clone(),
            attempt: entry.attempt,
            since: entry.since,
            progress: entry.control.progress(),
        };
        entries.values().map(view).collect()
    }

    pub(super) fn take_in_hand(&self, delivery: &Delivery, control: &Arc<AttemptControl>) -> InHand {
        let job = &delivery.job;
        let entry = Entry {
            job: job.id.clone(),
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            attempt: job.attempt,
            since: Utc::now(),
            control: Arc::clone(control),
        };
        self.0.lock().insert(delivery.execution.clone(), entry);
        InHand { running: self.clone(), execution: delivery.execution.clone() }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.running.0.lock().remove(&self.execution);
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
