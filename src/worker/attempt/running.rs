//! The jobs that run in this process, for the API and for stop requests.

use std::collections::{BTreeMap, VecDeque};
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

/// The most requests that are kept for executions that have not begun. Most begin soon; a few never do.
const EARLY: usize = 256;

/// The running jobs. Clones share the list.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: BTreeMap<ExecutionId, Entry>,
    /// Requests for executions that are lent but not started here, oldest first. Others see them as running.
    early: VecDeque<Early>,
}

/// A request that arrived before its execution.
struct Early {
    execution: ExecutionId,
    /// The job that it must be; `None`: any job of the execution.
    job: Option<JobId>,
    reason: StopReason,
}

impl State {
    /// Asks one execution to stop, now or when it begins; returns whether it runs here.
    fn ask(&mut self, execution: &ExecutionId, job: Option<&JobId>, reason: StopReason) -> bool {
        if let Some(entry) = self.entries.get(execution) {
            let is_meant = job.is_none_or(|job| entry.job == *job);
            if is_meant {
                entry.control.request_stop(reason);
            }
            return is_meant;
        }
        if self.early.len() >= EARLY {
            self.early.pop_front();
        }
        self.early.push_back(Early { execution: execution.clone(), job: job.cloned(), reason });
        false
    }
}

struct Entry {
    job: JobId,
    kind: KindName,
    queue: QueueName,
    attempt: u32,
    since: DateTime<Utc>,
    control: Arc<AttemptControl>,
    fence: Fence,
}

/// A blocked thread, and the executions whose code blocks it.
pub(crate) struct LostThread {
    pub(crate) fence: Fence,
    pub(crate) blamed: Blamed,
}

/// A running job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunningJob {
    /// The queue's id of the job.
    pub job_id: JobId,
    /// Its function.
    pub function: KindName,
    /// Its queue.
    pub queue: QueueName,
    /// The number of the attempt.
    pub attempt: u32,
    /// When it began.
    pub since: DateTime<Utc>,
    /// The job's latest progress report.
    pub progress: Option<Progress>,
}

/// Removes the job from the list when dropped.
pub(crate) struct InHand {
    running: Running,
    execution: ExecutionId,
    control: Arc<AttemptControl>,
}

impl Running {
    /// The running jobs, in no particular order.
    #[must_use]
    pub fn list(&self) -> Vec<RunningJob> {
        let state = self.0.lock();
        let view = |entry: &Entry| RunningJob {
            job_id: entry.job.clone(),
            function: entry.kind.clone(),
            queue: entry.queue.clone(),
            attempt: entry.attempt,
            since: entry.since,
            progress: entry.control.progress(),
        };
        state.entries.values().map(view).collect()
    }

    /// Threads blocked by a job's code that has exceeded its time by more than `grace` and never yields.
    pub(crate) fn lost_threads(&self, now: Instant, grace: Duration) -> Vec<LostThread> {
        let mut lost: Vec<LostThread> = Vec::new();
        for (execution, entry) in &self.0.lock().entries {
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

    /// Asks all executions of this job except `others` to stop for good, and those `lent` when they begin;
    /// `false` if none runs here yet.
    pub(crate) fn stop(&self, job: &JobId, lent: &[ExecutionId], others: &[ExecutionId]) -> bool {
        let mut state = self.0.lock();
        let is_meant =
            |(execution, entry): &(&ExecutionId, &Entry)| entry.job == *job && !others.contains(execution);
        let runs: Vec<ExecutionId> =
            state.entries.iter().filter(is_meant).map(|(execution, _)| execution.clone()).collect();
        for execution in runs.iter().chain(lent.iter().filter(|lent| !runs.contains(lent))) {
            state.ask(execution, Some(job), StopReason::Stopped);
        }
        !runs.is_empty()
    }

    /// Asks one execution of a job to stop for good, now or when it begins; `false` if it does not run here
    /// yet, or has another job.
    pub(crate) fn stop_execution(&self, job: &JobId, execution: &ExecutionId) -> bool {
        self.0.lock().ask(execution, Some(job), StopReason::Stopped)
    }

    /// Asks this execution to end as a failed attempt, now or when it begins; `false` if it does not run here
    /// yet.
    pub(crate) fn kill(&self, execution: &ExecutionId) -> bool {
        self.0.lock().ask(execution, None, StopReason::Killed)
    }

    /// Removes all jobs of a lost thread from the list.
    pub(crate) fn forget(&self, fence: &Fence) {
        self.0.lock().entries.retain(|_, entry| !entry.fence.is(fence));
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
        let mut state = self.0.lock();
        while let Some(place) = state.early.iter().position(|early| early.execution == delivery.execution) {
            let Some(early) = state.early.remove(place) else { break };
            if early.job.is_none_or(|meant| meant == job.id) {
                control.request_stop(early.reason);
            }
        }
        state.entries.insert(delivery.execution.clone(), entry);
        drop(state);
        let (execution, control) = (delivery.execution.clone(), Arc::clone(control));
        InHand { running: self.clone(), execution, control }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let entries = &mut self.running.0.lock().entries;
        // Another runner may have the same execution by now.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Args, Control as _, JobRecord, Limit, NewJob};

    /// The request that an execution of job `a` gets when it begins.
    fn asked(running: &Running, execution: &str) -> Option<StopReason> {
        let control = Arc::new(AttemptControl::new(Limit::Never));
        let job = JobRecord::of(NewJob::new("a", "q", "k", Args::default()), DateTime::UNIX_EPOCH);
        let delivery = Delivery { job, execution: execution.into(), hash: None };
        drop(running.take_in_hand(&delivery, &control, &Fence::default()));
        control.stop_requested()
    }

    #[test]
    fn an_order_that_comes_before_its_run_has_begun_reaches_that_run_and_no_other() {
        let running = Running::default();
        let lent: [ExecutionId; 2] = ["1".into(), "2".into()];
        assert!(!running.stop(&"a".into(), &lent[..1], &lent[1..]));
        assert_eq!(asked(&running, "2"), None, "it is another's");
        assert_eq!(asked(&running, "1"), Some(StopReason::Stopped));
        assert_eq!(asked(&running, "1"), None, "it was told");

        assert!(!running.stop(&"b".into(), &lent[..1], &[]));
        assert_eq!(asked(&running, "1"), None, "what came with it is another job");
        assert!(!running.stop_execution(&"a".into(), &lent[1]));
        assert!(!running.kill(&lent[0]));
        assert_eq!(asked(&running, "2"), Some(StopReason::Stopped));
        assert_eq!(asked(&running, "1"), Some(StopReason::Killed));
    }

    #[test]
    fn orders_for_what_never_begins_are_not_kept_for_ever() {
        let running = Running::default();
        for execution in 0..=EARLY {
            running.kill(&execution.to_string().as_str().into());
        }
        assert_eq!(running.0.lock().early.len(), EARLY);
        assert_eq!((asked(&running, "0"), asked(&running, "1")), (None, Some(StopReason::Killed)));
    }
}
