//! Finds jobs whose code never yields, and replaces their threads. No state is kept across restarts: it only
//! reads the list of running jobs.
//!
//! It runs on the control plane's thread, because a blocked thread cannot report itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::attempt::{Fence, Running};
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::Fault;
use crate::supervision::Turn;

/// The shortest and the longest time between two checks; within them, a quarter of the grace period.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Replaces the threads of the runners.
#[async_trait]
pub trait RunnerThreads: Send + Sync + 'static {
    /// Starts a thread with runners to replace the one of `fence`, publishes them in place of the old ones,
    /// and abandons those. Does nothing if that has been done. The fence falls later.
    async fn replace(&self, fence: &Fence) -> Result<(), Fault>;
}

/// The loop that finds blocked threads.
#[derive(Clone)]
pub struct RunnerWatch {
    /// The running jobs.
    pub running: Running,
    /// Replaces threads.
    pub threads: Arc<dyn RunnerThreads>,
    /// How long a job that exceeded its time may block its thread.
    pub grace: Duration,
    /// The time limit for starting a new thread.
    pub deadline: Duration,
    /// Its sign of life, in each iteration.
    pub turn: Turn,
}

impl RunnerWatch {
    /// Runs as long as the process.
    pub async fn watch(self) {
        failpoint::reach("runner_watch.started");
        let interval = (self.grace / 4).clamp(LOOK_EVERY.0, LOOK_EVERY.1);
        loop {
            self.turn.beat();
            failpoint::reach("runner_watch.look");
            self.look().await;
            tokio::time::sleep(interval).await;
        }
    }

    /// Replaces lost threads. The successor is published before the fence falls, so that it is found at once.
    async fn look(&self) {
        for lost in self.running.lost_threads(Instant::now(), self.grace) {
            self.turn.beat();
            let replaced = answer_in(self.deadline, "replace a thread", self.threads.replace(&lost.fence));
            match replaced.await {
                Ok(()) => {
                    lost.fence.fall(lost.blamed);
                    self.running.forget(&lost.fence);
                }
                Err(fault) => {
                    tracing::error!(
                        error = fault.chain(),
                        "a thread that does not come back cannot be replaced; trying again"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use parking_lot::Mutex;

    use super::super::attempt::AttemptControl;
    use super::*;
    use crate::fault::FaultKind;
    use crate::job::{Args, JobRecord, Limit, NewJob};
    use crate::queue::Delivery;
    use crate::supervision::Turns;

    /// Replaces threads by a script, and records whether the fence had not fallen yet.
    #[derive(Default)]
    struct Script {
        answers: Mutex<VecDeque<Result<(), Fault>>>,
        stood: Mutex<Vec<bool>>,
    }

    #[async_trait]
    impl RunnerThreads for Script {
        async fn replace(&self, fence: &Fence) -> Result<(), Fault> {
            self.stood.lock().push(!fence.has_fallen());
            self.answers.lock().pop_front().expect("one answer more in the script")
        }
    }

    fn delivery(execution: &str) -> Delivery {
        let job =
            JobRecord::of(NewJob::new(execution, "q", "k", Args::default()), chrono::DateTime::UNIX_EPOCH);
        Delivery { job, execution: execution.into(), hash: None }
    }

    #[actix_rt::test]
    async fn fence_falls_only_once_the_successor_stands_and_names_only_the_culprit() {
        let (running, script, fence) = (Running::default(), Arc::new(Script::default()), Fence::default());
        let refused = Err(Fault::new(FaultKind::Retryable, "no thread"));
        script.answers.lock().extend([refused, Ok(())]);
        let watch = RunnerWatch {
            running: running.clone(),
            threads: Arc::clone(&script) as _,
            grace: Duration::ZERO,
            deadline: Duration::from_secs(20),
            turn: Turns::default().register("runner_watch"),
        };
        let out_of_time = || Arc::new(AttemptControl::new(Limit::After(Duration::ZERO)));
        let (culprit, neighbour, elsewhere) = (out_of_time(), out_of_time(), out_of_time());
        let _culprit = running.take_in_hand(&delivery("culprit"), &culprit, &fence);
        let _neighbour = running.take_in_hand(&delivery("neighbour"), &neighbour, &fence);
        let _elsewhere = running.take_in_hand(&delivery("elsewhere"), &elsewhere, &Fence::default());
        let _turn = culprit.begin_turn();

        watch.look().await;
        assert!(!fence.has_fallen(), "there is no other thread yet");
        watch.look().await;
        assert_eq!(*fence.fallen().await, ["culprit".into()].into());
        watch.look().await;
        assert_eq!(*script.stood.lock(), [true, true], "what is done is not done again");
        let left: Vec<_> = running.list().into_iter().map(|job| job.job_id).collect();
        assert_eq!(left, ["elsewhere".into()]);
    }
}
