//! Looks after jobs that workers of others left behind, from time to time: how they fare is the queue's own rule, and
//! whoever is to be called after a failure is called here. A crash in between leaves that call out.

use std::time::Duration;

use tokio::time::Instant;

use super::RescuerPorts;
use super::callback::{Called, Ended};
use super::deadline::answer_in;
use crate::fault::Fault;
use crate::job::{Callbacks, JobError};
use crate::measure::list::JOBS_ABANDONED;
use crate::queue::{Abandoned, Fate};

/// Time between two looks. RQ's own workers look every ten minutes.
const EVERY: Duration = Duration::from_secs(10);

/// The most jobs of each sort in one look: bounds the size of one transaction.
const AT_ONCE: u32 = 200;

/// When it last looked.
#[derive(Debug, Default)]
pub(super) struct Tending(Option<Instant>);

impl Tending {
    /// Looks, if it is time; again at once as long as there is very much.
    pub(super) async fn tend(&mut self, ports: &RescuerPorts, deadline: Duration) -> Result<(), Fault> {
        if self.0.is_some_and(|last| last.elapsed() < EVERY) {
            return Ok(());
        }
        let until = Instant::now() + deadline;
        loop {
            let found = ports.broker.tend(AT_ONCE);
            let found = answer_in(deadline, "look after what others left behind", found).await?;
            for one in &found {
                ports.turn.beat();
                tell(one);
                call_back(ports, one, deadline).await;
            }
            if found.len() < AT_ONCE as usize || Instant::now() >= until {
                self.0 = Some(Instant::now());
                return Ok(());
            }
        }
    }
}

fn tell(one: &Abandoned) {
    let (outcome, fate) = match one.fate {
        Fate::Returned => ("returned", "waits in its queue again"),
        Fate::Retried => ("retried", "is tried again"),
        Fate::Failed => ("failed", "failed"),
    };
    JOBS_ABANDONED.counter(&[outcome]).increment(1);
    tracing::warn!(job.id = %one.job, queue.name = %one.queue, fate,
        "a worker that is none of ours died and left a job behind");
}

/// A callback that fails changes nothing any more; that it did is logged.
async fn call_back(ports: &RescuerPorts, one: &Abandoned, deadline: Duration) {
    if one.fate == Fate::Returned || one.on_failure.is_none() {
        return;
    }
    let callbacks = Callbacks { failure: one.on_failure.clone(), ..Callbacks::default() };
    let ended = Ended { id: &one.job, queue: &one.queue, attempt: 1 };
    // The type of RQ's error, which is all that RQ tells.
    let error = JobError::permanent("AbandonedJobError");
    let called = Called::after_error(&ports.registry, &callbacks, ended, &error);
    if tokio::time::timeout(deadline, called).await.is_err() {
        tracing::warn!(job.id = %one.job, "the failure callback of an abandoned job did not end in time");
    }
}
