//! Takes care of jobs that foreign workers abandoned. RQ's rules decide what happens to them. Their failure
//! callbacks are called afterwards, at most once: a crash in between skips the call.

use std::time::Duration;

use tokio::time::Instant;

use super::orphans::{Failure, tell_enqueuers};
use super::rescuer_ports::RescuerPorts;
use crate::deadline::answer_in;
use crate::fault::Fault;
use crate::job::{Callbacks, JobError};
use crate::measure::list::JOBS_ABANDONED;
use crate::queue::{Abandoned, Fate};
use crate::worker::IsolatedThreads;

/// The time between two checks. RQ's own workers check every ten minutes.
const EVERY: Duration = Duration::from_secs(10);

/// The most jobs of each kind per check; it limits the size of a transaction.
const AT_ONCE: u32 = 200;

/// The time of the last check.
#[derive(Debug, Default)]
pub(super) struct ForeignWorkers(Option<Instant>);

impl ForeignWorkers {
    /// Makes a check if one is due, and repeats it while there are more jobs and time is left.
    pub(super) async fn tend(
        &mut self,
        ports: &RescuerPorts,
        isolated_threads: &IsolatedThreads,
        deadline: Duration,
    ) -> Result<(), Fault> {
        if self.0.is_some_and(|last| last.elapsed() < EVERY) {
            return Ok(());
        }
        let until = Instant::now() + deadline;
        loop {
            let found = ports.broker.tend(AT_ONCE);
            let found = answer_in(deadline, "look after what others left behind", found).await?;
            let is_all = found.len() < AT_ONCE as usize;
            found.iter().for_each(tell);
            found.iter().for_each(|one| ports.webhooks.send(one.webhooks.clone()));
            tell_enqueuers(
                (ports, isolated_threads),
                found.into_iter().filter_map(failure).collect(),
                deadline,
            );
            ports.turn.beat();
            if is_all || Instant::now() >= until {
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

fn failure(one: Abandoned) -> Option<Failure> {
    if one.fate == Fate::Returned {
        return None;
    }
    let callbacks = Callbacks { failure: one.on_failure, ..Callbacks::default() };
    // The name of RQ's error, which is all that RQ records.
    let error = JobError::permanent("AbandonedJobError");
    Some(Failure { job: one.job, queue: one.queue, attempt: 1, callbacks, error })
}
