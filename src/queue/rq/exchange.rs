//! Settlements and fetches, each alone or both in one call.

use super::ends::ending;
use super::server::{Server, told};
use super::taken::{Taken, Values, new_executions, tell_of_dropped};
use super::wire;
use crate::fault::Fault;
use crate::job::{ExecutionId, JobState, ProcessId, QueueName};
use crate::queue::delivery::{Delivery, Settled, Settlement};
use crate::queue::lost_answers::Asking;

/// The script's answer to a settlement: it counts.
const COUNTS: u8 = 1;
/// Its delivery has already ended in the same way.
const ENDED_SO: u8 = 2;
/// Its delivery has ended, and the job is gone.
const GONE: u8 = 3;

/// Jobs to take: up to `max` from the head of `queue`.
#[derive(Clone)]
pub(super) struct Take {
    pub(super) queue: QueueName,
    pub(super) max: u32,
    pub(super) process: ProcessId,
    /// That of the first job, which alone is then taken, and only if it has it; 0 for light ones.
    pub(super) weight: usize,
}

impl Take {
    pub(super) fn light(queue: &QueueName, max: u32, process: &ProcessId) -> Self {
        Self { queue: queue.clone(), max, process: process.clone(), weight: 0 }
    }
}

/// Settlements in the form for the server's script.
#[derive(Default)]
pub(super) struct Ends {
    args: Vec<Vec<u8>>,
    /// The bytes of their ends and outcomes.
    size: usize,
    executions: Vec<ExecutionId>,
}

/// The result of settlements.
pub(super) struct Ended {
    pub(super) settled: Vec<Settled>,
    /// Whether dependents remain, to be released in further steps.
    pub(super) more_to_release: bool,
}

/// The workers of a fetch that is under way; without an answer they are free again.
struct Fetch<'a> {
    server: &'a Server,
    take: &'a Take,
    executions: Vec<ExecutionId>,
    workers: Vec<String>,
}

impl Server {
    /// Settles deliveries, which stay remembered.
    pub(super) async fn settle(&self, settlements: &[Settlement]) -> Result<Ended, Fault> {
        if settlements.is_empty() {
            return Ok(Ended { settled: Vec::new(), more_to_release: false });
        }
        let asking = self.lost_answers.ask(settlements);
        let (answers, _) = self.exchange(&self.ends(settlements, &asking.again)?, None).await?;
        Ok(ended(settlements, asking, answers))
    }

    /// In the form for the script; `again` says which have been asked for before.
    pub(super) fn ends(&self, settlements: &[Settlement], again: &[bool]) -> Result<Ends, Fault> {
        let mut ends = Ends::default();
        for (one, again) in settlements.iter().zip(again) {
            let lent = self.lent.lock();
            let out = lent.get(&one.execution);
            let (mut how, outcome) = ending(one, out.map(|out| out.serializer).unwrap_or_default());
            if *again && one.verdict.drops() {
                how.created_at = out.and_then(|out| out.hash.text("created_at")).map(str::to_owned);
            }
            drop(lent);
            let how = told(&how)?.into_bytes();
            ends.size += how.len() + outcome.len();
            ends.executions.push(one.execution.clone());
            ends.args.extend([one.job.as_str().into(), one.execution.as_str().into(), how, outcome]);
        }
        Ok(ends)
    }

    /// Settles first, and then takes; if the settlements are refused, nothing is taken. Run it as its own task if it takes
    /// jobs, because it must not be cancelled half-way.
    pub(super) async fn exchange(
        &self,
        ends: &Ends,
        take: Option<&Take>,
    ) -> Result<(Vec<u8>, Vec<Delivery>), Fault> {
        let mut call = self.prepare(&self.scripts.exchange);
        call.arg(ends.args.len()).arg(&ends.args);
        let mut size = ends.size;
        let fetch = take.map(|take| Fetch::new(self, take, &ends.executions));
        if let Some(Fetch { take, executions, workers, .. }) = &fetch {
            self.left.note(&take.queue, 0);
            size += take.weight;
            call.arg(take.queue.as_str()).arg(take.process.as_str());
            call.arg(u8::from(self.whole_hashes.contains(&take.queue))).arg(take.weight);
            for (execution, name) in executions.iter().zip(workers) {
                call.arg(execution.as_str()).arg(name);
            }
        }
        let (settled, taken): (Vec<u8>, Option<Taken>) =
            self.link.invoke_heavy(&call, size, || name_of(ends, take)).await?;
        let deliveries = fetch.zip(taken).map(|(fetch, taken)| fetch.answered(taken)).unwrap_or_default();
        Ok((settled, deliveries))
    }
}

pub(super) fn name_of(ends: &Ends, take: Option<&Take>) -> String {
    match take {
        None => format!("settle {} deliveries", ends.executions.len()),
        Some(take) if ends.executions.is_empty() => format!("fetch from `{}`", take.queue),
        Some(take) => format!("settle {} deliveries and fetch from `{}`", ends.executions.len(), take.queue),
    }
}

impl<'a> Fetch<'a> {
    fn new(server: &'a Server, take: &'a Take, ending: &[ExecutionId]) -> Self {
        let executions = new_executions(take.max);
        let workers = server.workers.assign(&executions, ending);
        Self { server, take, executions, workers }
    }

    fn answered(mut self, (now, names, taken, known, broken, dropped, whole, left): Taken) -> Vec<Delivery> {
        let (server, queue) = (self.server, &self.take.queue);
        server.left.note(queue, left);
        for id in broken {
            tracing::error!(job.id = id, queue.name = %queue,
                "an entry of a queue was no job: its key is missing fields or holds no hash; the entry is gone, the key \
                 is as it was");
        }
        for entry in dropped {
            tell_of_dropped(queue.as_str(), entry);
        }
        let used: Vec<_> = self.executions.drain(..taken.len().min(self.executions.len())).collect();
        let started_at = wire::time(&now);
        let mut whole = std::mem::take(&mut self.workers).into_iter().zip(whole);
        let delivery = |((execution, id), values): ((ExecutionId, String), Vec<Option<Vec<u8>>>)| {
            let values = Values::taken(&names, values, whole.next());
            let mut delivery = server.delivery(execution, queue, &id, values);
            delivery.job.state = JobState::Started;
            delivery.job.attempt = delivery.job.attempt.saturating_add(1);
            delivery.job.started_at = started_at;
            delivery
        };
        used.into_iter().zip(taken).zip(known).map(delivery).collect()
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.server.workers.release(&self.executions);
    }
}

/// What the answers to these settlements mean.
pub(super) fn ended(settlements: &[Settlement], asking: Asking<'_>, mut answers: Vec<u8>) -> Ended {
    let more_to_release = answers.pop() == Some(1);
    let settled = answers.into_iter().zip(settlements).zip(&asking.again);
    let settled = settled.map(|((answer, one), again)| match answer {
        COUNTS => Settled::Done,
        // It counted the first time and the answer was lost, or others ended it in the same way.
        ENDED_SO if *again => Settled::Done,
        GONE if *again && one.verdict.drops() => Settled::Done,
        _ => Settled::NotOurs,
    });
    let settled = settled.collect();
    asking.answered();
    Ended { settled, more_to_release }
}
