//! What runs in this process at this moment, for those who look at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::control::AttemptControl;
use super::fence::{Blamed, Fence};
use crate::job::{ExecutionId, JobId, KindName, Progress, QueueName, StopReason};
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
    fence: Fence,
}

/// A thread that does not come back, and the executions whose code has it.
pub(crate) struct LostThread {
    pub(crate) fence: Fence,
    pub(crate) blamed: Blamed,
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
pub(crate) struct InHand {
    running: Running,
    execution: ExecutionId,
    control: Arc<AttemptControl>,
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

    /// Threads on which a job's code is out of time by more than `grace` and never yields.
    pub(crate) fn lost_threads(&self, now: Instant, grace: Duration) -> Vec<LostThread> {
        let mut lost: Vec<LostThread> = Vec::new();
        for (execution, entry) in self.0.lock().iter() {
            if !entry.control.never_yields(now, grace) {
                continue;
            }
            match lost.iter_mut().find(|lost| lost.fence.is(&entry.fence)) {
                Some(lost) => {
                    lost.blamed.insert(execution.clone());
                }
                None => lost.push(LostThread {
                    fence: entry.fence.clone(),
                    blamed: Blamed::from([execution.clone()]),
                }),
            }
        }
        lost
    }

    /// Asks all runs of the job of this id but `others` to stop for good; `false` when there is none here.
    pub(crate) fn stop(&self, job: &JobId, others: &[ExecutionId]) -> bool {
        let entries = self.0.lock();
        let is_meant =
            |(execution, entry): &(&ExecutionId, &Entry)| entry.job == *job && !others.contains(execution);
        let mut found = entries.iter().filter(is_meant).peekable();
        let runs = found.peek().is_some();
        found.for_each(|(_, entry)| entry.control.request_stop(StopReason::Stopped));
        runs
    }

    /// Asks one run of a job to stop for good; `false` when it is not here, or is one of another job.
    pub(crate) fn stop_execution(&self, job: &JobId, execution: &ExecutionId) -> bool {
        let entries = self.0.lock();
        let found = entries.get(execution).filter(|entry| entry.job == *job);
        found.inspect(|entry| entry.control.request_stop(StopReason::Stopped)).is_some()
    }

    /// Asks this execution to end as a failed attempt; `false` when it does not run here.
    pub(crate) fn kill(&self, execution: &ExecutionId) -> bool {
        let entries = self.0.lock();
        let found = entries.get(execution);
        found.inspect(|entry| entry.control.request_stop(StopReason::Killed)).is_some()
    }

    /// Takes everything on a lost thread off the list.
    pub(crate) fn forget(&self, fence: &Fence) {
        self.0.lock().retain(|_, entry| !entry.fence.is(fence));
    }

    pub(crate) fn take_in_hand(
        &self,
        delivery: &Delivery,
        control: &Arc<AttemptControl>,
        fence: &Fence,
    ) -> InHand {
        let job = &delivery.job;
        let entry = Entry {
            job: job.id.clone(),
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            attempt: job.attempt,
            since: Utc::now(),
            control: Arc::clone(control),
            fence: fence.clone(),
        };
        self.0.lock().insert(delivery.execution.clone(), entry);
        let (execution, control) = (delivery.execution.clone(), Arc::clone(control));
        InHand { running: self.clone(), execution, control }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut entries = self.running.0.lock();
        // The same execution may be in other hands by now.
        if entries.get(&self.execution).is_some_and(|entry| Arc::ptr_eq(&entry.control, &self.control)) {
            entries.remove(&self.execution);
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
