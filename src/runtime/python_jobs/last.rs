//! When a worker leaves by itself: after so many jobs, when its queues are empty, or when it had nothing to do for so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::job::QueueName;
use crate::python::Hello;
use crate::queue::Broker;
use crate::worker::Running;

/// The most due jobs that are enqueued in one call.
const BATCH: u32 = 1000;
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// What makes a worker leave by itself.
#[derive(Clone, Debug)]
pub struct Last {
    /// As soon as nothing is left to do.
    burst: bool,
    /// Jobs that are due are left to do, too.
    with_scheduler: bool,
    most_jobs: Option<u64>,
    longest_idle: Option<Duration>,
    queues: Arc<[QueueName]>,
    begun: Arc<AtomicU64>,
    /// Told when there have been as many jobs as there may be.
    full: Arc<Notify>,
}

impl Last {
    pub(super) fn new(hello: &Hello) -> Self {
        let work = &hello.work;
        let idle = work.max_idle_time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            burst: work.burst,
            with_scheduler: hello.schedules(),
            most_jobs: work.max_jobs,
            longest_idle: idle,
            queues: hello.queues.iter().map(Into::into).collect(),
            begun: Arc::default(),
            full: Arc::default(),
        }
    }

    /// Counts a job that is about to begin; `false` when there have been as many as there may be.
    pub(super) fn one_more(&self) -> bool {
        let before = self.begun.fetch_add(1, Ordering::AcqRel);
        if self.most_jobs.is_some_and(|most| before.saturating_add(1) >= most) {
            self.full.notify_one();
        }
        self.most_jobs.is_none_or(|most| before < most)
    }

    /// Completes when the worker should leave. `take_no_more` is called when the last job that it may run has begun: others
    /// would be taken only to be given back, as often as they come, until that job has ended. Cancel safe.
    pub async fn ended(self, broker: Arc<dyn Broker>, running: Running, take_no_more: impl Fn()) {
        let mut busy_until = Instant::now();
        let mut looks_empty = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.full.notified() => take_no_more(),
            }
            let is_idle = running.list().is_empty();
            if !is_idle {
                busy_until = Instant::now();
            }
            let begun = self.begun.load(Ordering::Acquire);
            if is_idle && self.most_jobs.is_some_and(|most| begun >= most) {
                tracing::info!(jobs = begun, "all jobs are done that this worker was to do");
                return;
            }
            if self.longest_idle.is_some_and(|longest| busy_until.elapsed() >= longest) {
                if self.nothing_waits(&*broker).await {
                    tracing::info!("this worker had nothing to do for as long as it may");
                    return;
                }
                // There is work: it has not begun yet, or its queue is paused.
                busy_until = Instant::now();
            }
            if self.burst {
                let nothing_waits = is_idle && self.nothing_waits(&*broker).await;
                looks_empty = if nothing_waits { looks_empty + 1 } else { 0 };
                // A job that is on its way from its queue to its process is seen in neither place.
                if looks_empty == 2 {
                    tracing::info!("the queues are empty");
                    return;
                }
            }
        }
    }

    async fn nothing_waits(&self, broker: &dyn Broker) -> bool {
        if self.with_scheduler && !matches!(broker.promote_due(BATCH).await, Ok(0)) {
            return false;
        }
        match broker.counts().await {
            Ok(counts) => {
                self.queues.iter().all(|queue| counts.get(queue).is_none_or(|counts| counts.queued == 0))
            }
            Err(_) => false,
        }
    }
}
