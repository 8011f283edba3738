//! When a worker leaves by itself: after so many jobs, when its queues are empty, or when it had nothing to do for so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::job::QueueName;
use crate::python::Hello;
use crate::queue::Broker;
use crate::worker::SlotPool;

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

    /// Completes when the worker should leave. A job whose end is not written is not over: the end may put it, or what
    /// depends on it, into a queue. When the last job that it may run has begun, every slot is retired: others would be
    /// taken only to be given back, as often as they come, until that job has ended. Cancel safe.
    pub async fn ended(self, broker: Arc<dyn Broker>, slots: Vec<Arc<SlotPool>>) {
        let mut busy_until = Instant::now();
        let mut looks_empty = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.full.notified() => while SlotPool::retire_one_of(&slots) > 0 {},
            }
            let is_idle = slots.iter().all(|pool| pool.is_idle());
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
                // A job that is taken between the two questions is seen in neither place.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::python::WorkArguments;
    use crate::queue::open_embedded;

    /// Longer than any of them has to be idle.
    const LONG: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_worker_does_not_leave_by_itself_while_a_job_is_in_hand() {
        let folder = tempfile::tempdir().unwrap();
        let broker = open_embedded(folder.path()).await.unwrap();
        for work in [
            WorkArguments { burst: true, ..WorkArguments::default() },
            WorkArguments { max_idle_time: Some(0.3), ..WorkArguments::default() },
            WorkArguments { max_jobs: Some(0), ..WorkArguments::default() },
        ] {
            let told = format!("{work:?}");
            let last = Last::new(&Hello { queues: vec!["q".to_owned()], work, ..Hello::default() });
            let slots = SlotPool::new(Vec::new(), BTreeMap::new(), 0);
            let delivery = slots.take_in_hand();
            let mut ended = Box::pin(last.ended(Arc::clone(&broker), vec![slots]));
            assert!(tokio::time::timeout(LONG, &mut ended).await.is_err(), "{told}");
            drop(delivery);
            assert!(tokio::time::timeout(10 * LONG, ended).await.is_ok(), "{told}");
        }
    }
}
