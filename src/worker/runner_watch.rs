//! Looks for jobs whose code never yields, and has their threads replaced. Nothing survives a restart, and
//! nothing needs to: what it judges is in the list of running jobs.
//!
//! It is on the control plane's thread: a blocked thread cannot tell.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::attempt::{Fence, Running};
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::Fault;
use crate::supervision::Turn;

/// Bounds of the time between two looks; within them, a quarter of the grace period.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The threads of the runners, for the one who has to replace them.
#[async_trait]
pub trait RunnerThreads: Send + Sync + 'static {
    /// Starts a thread with runners in place of the one behind `fence`, and publishes them at the places of
    /// the old ones, which are abandoned. Does nothing when that has happened. The fence still stands.
    async fn replace(&self, fence: &Fence) -> Result<(), Fault>;
}

/// The loop.
#[derive(Clone)]
pub struct RunnerWatch {
    /// What runs.
    pub running: Running,
    /// Who replaces a thread.
    pub threads: Arc<dyn RunnerThreads>,
    /// How long a job that ran out of time may hold its thread.
    pub grace: Duration,
    /// Longest wait for a new thread.
    pub deadline: Duration,
    /// Told at each turn.
    pub turn: Turn,
}

impl RunnerWatch {
    /// Runs for as long as the process lives.
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

    /// The successor stands before the fence falls: whoever is told finds it at once.
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

    /// Replaces threads by a script, and notes whether the fence still stood.
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
        Delivery { job, execution: execution.into() }
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
