//! Jobs of dead processes: each is settled by the policy of its kind, and then its callbacks are called.
//!
//! A kind is called before the settlement, once or more: what it has on record must not be lost. The function that an
//! enqueuer named is called after that and at most once, by the one whose settlement counted: a process that dies in
//! between leaves the call out.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::rescuer_ports::RescuerPorts;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::Fault;
use crate::job::{Args, BoxedJob, Callbacks, JobContext, JobError, JobId, JobRecord, QueueName, Registry};
use crate::measure::list::JOBS_RESCUED;
use crate::queue::{Disposition, Orphan, Settled, Settlement};
use crate::supervision::catch;
use crate::worker::NotRunning;
use crate::worker::after_death;
use crate::worker::{AT_ONCE, COMES_BACK, Isolated, IsolatedThreads};
use crate::worker::{Called, Ended};

/// The most orphans in one look: bounds the size of one transaction.
const ORPHANS: u32 = 200;

/// A failure for which an enqueuer named a callback.
pub(super) struct Failure {
    pub(super) job: JobId,
    pub(super) queue: QueueName,
    pub(super) attempt: u32,
    pub(super) callbacks: Callbacks,
    pub(super) error: JobError,
}

/// Looks for deliveries of dead processes, and settles each. This process is not dead, whatever became of its lease: it
/// writes the ends of what it runs, and gives back what nobody here carries.
pub(super) async fn rescue(
    ports: &RescuerPorts,
    isolated_threads: &IsolatedThreads,
    deadline: Duration,
) -> Result<(), Fault> {
    let mut orphans = answer_in(deadline, "look for orphans", ports.broker.orphans(ORPHANS)).await?;
    orphans.retain(|orphan| orphan.process != ports.process);
    if orphans.is_empty() {
        return Ok(());
    }
    ports.turn.beat();
    let mut decided = decide((ports, isolated_threads), orphans, deadline).await;
    ports.turn.beat();
    failpoint::reach("rescuer.decided");
    let settlements: Vec<_> = decided.iter().map(|(_, settlement)| settlement.clone()).collect();
    let settled = answer_in(deadline, "settle orphans", ports.broker.settle(&settlements)).await?;
    let mut counted = settled.into_iter().map(|settled| settled == Settled::Done);
    decided.retain(|_| counted.next().unwrap_or(false));
    for (_, settlement) in &decided {
        JOBS_RESCUED.counter(&[outcome(&settlement.verdict)]).increment(1);
        tracing::warn!(
            job.id = %settlement.job, queue.name = %settlement.queue,
            verdict = verdict_word(&settlement.verdict),
            "rescued a job whose process died"
        );
    }
    tell_enqueuers(
        (&ports.registry, isolated_threads),
        decided.into_iter().filter_map(failure).collect(),
        deadline,
    );
    Ok(())
}

/// What becomes of each. One whose kind cannot be told in time that it failed is left out: the next look finds it
/// again.
async fn decide(
    (ports, isolated_threads): (&RescuerPorts, &IsolatedThreads),
    orphans: Vec<Orphan>,
    deadline: Duration,
) -> Vec<(JobRecord, Settlement)> {
    let (mut decided, mut failed) = (Vec::with_capacity(orphans.len()), Vec::new());
    for orphan in orphans {
        let settlement = settlement(&ports.registry, &orphan);
        match ports.registry.find(&orphan.delivery.job.kind) {
            Ok(kind) if matches!(settlement.verdict, Disposition::Discard { .. }) => {
                failed.push((Arc::clone(kind), orphan.delivery, settlement));
            }
            _ => decided.push((orphan.delivery.job, settlement)),
        }
    }
    // Whoever does not come to the end this time may be among the first the next time.
    fastrand::shuffle(&mut failed);
    // Of heavy arguments those of one job at a time.
    let heavy = &tokio::sync::Mutex::new(());
    let told = futures::stream::iter(failed).map(|(kind, delivery, settlement)| async move {
        let Disposition::Discard { error, .. } = &settlement.verdict else { return None };
        let (args, _alone) = match &delivery.job.args {
            Err(error) if error.weight_folded().is_some() => {
                let alone = heavy.lock().await;
                (ports.broker.unfold(&delivery).await.ok()?, Some(alone))
            }
            light => (light.clone(), None),
        };
        let told = match args {
            Ok(args) => tell_kind(kind, &delivery.job, (args, error), (isolated_threads, deadline)).await,
            Err(_) => true,
        };
        told.then_some((delivery.job, settlement))
    });
    let told = told.buffer_unordered(AT_ONCE).filter_map(std::future::ready);
    let overall = tokio::time::sleep(deadline * 2 + COMES_BACK);
    decided.extend(told.take_until(overall).collect::<Vec<_>>().await);
    decided
}

fn settlement(registry: &Registry, Orphan { delivery, process }: &Orphan) -> Settlement {
    let job = &delivery.job;
    let died = format!("process {process} died while it ran this job (attempt {})", job.attempt);
    let verdict = match registry.find(&job.kind) {
        Ok(kind) => {
            let settings = catch(|| kind.settings()).unwrap_or_default();
            after_death(job, &settings, &died, fastrand::f64())
        }
        // Whoever fetches it next says what is registered there.
        Err(_) => Disposition::Rescue,
    };
    let fails = matches!(&verdict, Disposition::Discard { .. } | Disposition::RetryAt { .. });
    let callback = job.callbacks.failure.as_ref().filter(|_| fails);
    Settlement {
        job: job.id.clone(),
        queue: job.queue.clone(),
        execution: delivery.execution.clone(),
        verdict,
        remark: callback.and_then(|callback| Called::unregistered(registry, callback)),
    }
}

/// Gives the kind a chance to bring its own records in line; `false` when it did not come to its end in time. One
/// that holds its thread is not asked again: it would hold the next one, too.
async fn tell_kind(
    kind: Arc<dyn BoxedJob>,
    job: &JobRecord,
    (args, error): (Args, &str),
    (isolated_threads, time): (&IsolatedThreads, Duration),
) -> bool {
    let (id, queue) = (job.id.clone(), job.queue.clone());
    let ctx = JobContext::new(id, queue, job.kind.clone(), job.attempt, Arc::new(NotRunning));
    let error = JobError::permanent(error);
    let told = isolated_threads.run(time, async move { kind.failed(&args, &error, &ctx).await }).await;
    match told {
        Isolated::Ended(()) => {}
        Isolated::Panicked(panic) => {
            tracing::error!(job.id = %job.id, panic, "the job's own clean-up after its failure panicked");
        }
        Isolated::NeverYields => {
            tracing::error!(job.id = %job.id,
                "the job's own clean-up after its failure never yields; its thread is left to itself");
        }
        Isolated::TooLong => return false,
    }
    true
}

fn failure((job, settlement): (JobRecord, Settlement)) -> Option<Failure> {
    let (Disposition::Discard { error, .. } | Disposition::RetryAt { error, .. }) = settlement.verdict else {
        return None;
    };
    let error = JobError::permanent(error);
    Some(Failure { job: job.id, queue: job.queue, attempt: job.attempt, callbacks: job.callbacks, error })
}

/// Calls what the enqueuers of failed jobs named, and does not wait for it. That one fails in turn, or takes too
/// long, is logged and changes nothing.
pub(super) fn tell_enqueuers(
    (registry, isolated_threads): (&Arc<Registry>, &IsolatedThreads),
    failures: Vec<Failure>,
    time: Duration,
) {
    let named = failures.into_iter().filter(|failure| failure.callbacks.failure.is_some());
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return;
    }
    let (registry, isolated_threads) = (Arc::clone(registry), isolated_threads.clone());
    actix_rt::spawn(async move {
        let call = |failure| tell_enqueuer(Arc::clone(&registry), failure, (&isolated_threads, time));
        futures::stream::iter(named).for_each_concurrent(AT_ONCE, call).await;
    });
}

async fn tell_enqueuer(
    registry: Arc<Registry>,
    failure: Failure,
    (isolated_threads, time): (&IsolatedThreads, Duration),
) {
    let job = failure.job.clone();
    let call = async move {
        let Failure { job, queue, attempt, callbacks, error } = &failure;
        let ended = Ended { id: job, queue, attempt: *attempt };
        Called::after_error(&registry, callbacks, ended, error).await
    };
    match isolated_threads.run(time, call).await {
        Isolated::Ended(_) => {}
        Isolated::Panicked(panic) => {
            tracing::warn!(job.id = %job, panic, "the failure callback of a job without a worker panicked");
        }
        Isolated::TooLong => {
            tracing::warn!(job.id = %job, "the failure callback of a job without a worker did not end in time");
        }
        Isolated::NeverYields => {
            tracing::error!(job.id = %job,
                "the failure callback of a job without a worker never yields; its thread is left to itself");
        }
    }
}

/// What counts of a verdict: only these three come from a death.
fn outcome(verdict: &Disposition) -> &'static str {
    match verdict {
        Disposition::Discard { .. } => "failed",
        Disposition::RetryAt { .. } => "retried",
        _ => "returned",
    }
}

fn verdict_word(verdict: &Disposition) -> &'static str {
    match verdict {
        Disposition::Rescue | Disposition::Release { .. } => "runs again",
        Disposition::RetryAt { .. } => "is tried again",
        Disposition::Discard { .. } | Disposition::Stop { .. } => "failed",
        Disposition::Forward { .. } => "waits in another queue",
        Disposition::Ack { .. } => "finished",
    }
}
