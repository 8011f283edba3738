//! Jobs of dead processes: each is settled by the policy of its kind, then its failure callback is called.
//!
//! The kind itself is notified before the settlement, at least once, so that its own records are up to date.
//! The enqueuer's callback is called afterwards, at most once, by the process whose settlement counted; if
//! that process dies in between, the call is skipped. The same holds for webhooks.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt as _;

use super::rescuer_ports::RescuerPorts;
use crate::deadline::{answer_in, time_for};
use crate::failpoint;
use crate::fault::Fault;
use crate::job::{
    AbandonedJob, Args, BoxedJob, Callback, Callbacks, JobContext, JobError, JobId, JobRecord, JobSettings,
    QueueName, Registry,
};
use crate::measure::list::JOBS_RESCUED;
use crate::queue::{Disposition, Orphan, Settled, Settlement, webhook_requests};
use crate::supervision::catch;
use crate::worker::NotRunning;
use crate::worker::after_death;
use crate::worker::{AT_ONCE, COMES_BACK, Isolated, IsolatedThreads};
use crate::worker::{Called, Ended};

/// The most orphans per check; it limits the size of a transaction.
const ORPHANS: u32 = 200;

/// A failure whose callback is to be called, if it has one.
pub(super) struct Failure {
    pub(super) job: JobId,
    pub(super) queue: QueueName,
    pub(super) attempt: u32,
    pub(super) callbacks: Callbacks,
    pub(super) error: JobError,
}

/// Settles the deliveries of dead processes. Large ones come one by one, so it looks again while it gets further.
/// `left`: how many were left to others by the last look, which the next one looks past.
pub(super) async fn rescue(
    (ports, left): (&RescuerPorts, &mut u32),
    isolated_threads: &IsolatedThreads,
    deadline: Duration,
) -> Result<(), Fault> {
    loop {
        let asked = ports.broker.left(None);
        let any = rescue_some((ports, left), isolated_threads, deadline).await?;
        if ports.broker.left(None) == 0 || asked > 0 && !any {
            return Ok(());
        }
    }
}

/// Finds deliveries of dead processes, and settles each; whether it got further. Deliveries of this process are left
/// alone, even if its lease has run out: its completer writes their ends, and its reclaimer gives back what no task here
/// holds. So are those of functions that are not known here, in queues that are not served here: whoever serves them
/// knows what a death means for them.
async fn rescue_some(
    (ports, left): (&RescuerPorts, &mut u32),
    isolated_threads: &IsolatedThreads,
    deadline: Duration,
) -> Result<bool, Fault> {
    let found = ports.broker.orphans(ORPHANS.saturating_add(*left));
    let until = deadline + time_for(ports.broker.left(None));
    let mut orphans = ports.turn.beating(answer_in(until, "look for orphans", found)).await?;
    let others = orphans.extract_if(.., |orphan| !is_settled_here(ports, orphan));
    let others: Vec<_> = others.map(|orphan| orphan.delivery.execution).collect();
    *left = u32::try_from(others.len()).unwrap_or(u32::MAX);
    let any = !others.is_empty();
    ports.broker.leave_orphans(others);
    if orphans.is_empty() {
        return Ok(any);
    }
    ports.turn.beat();
    let mut decided = decide((ports, isolated_threads), orphans, deadline).await;
    ports.turn.beat();
    failpoint::reach("rescuer.decided");
    let settlements: Vec<_> = decided.iter().map(|(_, settlement)| settlement.clone()).collect();
    let settled = answer_in(deadline, "settle orphans", ports.broker.settle(&settlements)).await?;
    let mut counted = settled.into_iter().map(|settled| settled == Settled::Done);
    decided.retain(|_| counted.next().unwrap_or(false));
    let any = any || !decided.is_empty();
    for (_, settlement) in &decided {
        JOBS_RESCUED.counter(&[outcome(&settlement.verdict)]).increment(1);
        tracing::warn!(
            job.id = %settlement.job, queue.name = %settlement.queue,
            verdict = verdict_word(&settlement.verdict),
            "rescued a job whose process died"
        );
    }
    for (job, settlement) in &decided {
        if let Some(job) = job.webhook_job() {
            ports.webhooks.send(webhook_requests(&job, settlement, Utc::now()));
        }
    }
    tell_enqueuers((ports, isolated_threads), decided.into_iter().filter_map(failure).collect(), deadline);
    Ok(any)
}

fn is_settled_here(ports: &RescuerPorts, Orphan { delivery, process }: &Orphan) -> bool {
    let job = &delivery.job;
    let is_judged =
        ports.queues.contains(&job.queue) || ports.registries.of(&job.queue).find(&job.kind).is_ok();
    is_judged && *process != ports.process
}

/// Decides how each orphan is settled. If its kind cannot be notified of a failure in time, it is left out,
/// and the next check finds it again.
async fn decide(
    (ports, isolated_threads): (&RescuerPorts, &IsolatedThreads),
    orphans: Vec<Orphan>,
    deadline: Duration,
) -> Vec<(JobRecord, Settlement)> {
    let (mut decided, mut failed) = (Vec::with_capacity(orphans.len()), Vec::new());
    for orphan in orphans {
        let registry = ports.registries.of(&orphan.delivery.job.queue);
        let settlement = settlement(registry, &orphan);
        match registry.find(&orphan.delivery.job.kind) {
            Ok(kind) if matches!(settlement.verdict, Disposition::Discard { .. }) => {
                failed.push((Arc::clone(kind), orphan.delivery, settlement));
            }
            _ => decided.push((orphan.delivery.job, settlement)),
        }
    }
    // In random order, so that those for which time runs out may be first in the next check.
    fastrand::shuffle(&mut failed);
    // Heavy arguments are loaded for one job at a time.
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
    let verdict =
        match catch(|| registry.settings_of(&job.kind)).unwrap_or_else(|_| Ok(JobSettings::default())) {
            Ok(settings) => after_death(job, &settings, &died, fastrand::f64()),
            // The next process that fetches it reports the unregistered function.
            Err(_) => Disposition::Rescue,
        };
    let fails = matches!(&verdict, Disposition::Discard { .. } | Disposition::RetryAt { .. });
    let callback = job.callbacks.failure.as_ref().filter(|_| fails && registry.foreign().is_none());
    Settlement {
        job: job.id.clone(),
        queue: job.queue.clone(),
        execution: delivery.execution.clone(),
        verdict,
        remark: callback.and_then(|callback| Called::unregistered(registry, callback)),
        verbatim: None,
    }
}

/// Notifies the kind of the failure, so that it can update its own records; `false` if it did not end in
/// time. If it never yields, it counts as done, because the next attempt would block a thread, too.
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

/// Calls the failure callbacks of these jobs in the background. An error or a timeout in a callback is logged
/// and has no other effect.
pub(super) fn tell_enqueuers(
    (ports, isolated_threads): (&RescuerPorts, &IsolatedThreads),
    failures: Vec<Failure>,
    time: Duration,
) {
    let (registries, isolated_threads) = (ports.registries.clone(), isolated_threads.clone());
    let queues = ports.queues.clone();
    actix_rt::spawn(async move {
        let call = async |failure: Failure| {
            let callback = failure.callbacks.failure.as_ref();
            let registry = registries.of(&failure.queue);
            match registry.foreign().filter(|_| !is_known(registry, callback)) {
                Some(foreign) if queues.contains(&failure.queue) => {
                    let Failure { job: id, queue, .. } = &failure;
                    foreign.abandoned(AbandonedJob { id, queue, on_failure: callback }).await;
                }
                _ if callback.is_some() => tell_enqueuer(registry, failure, (&isolated_threads, time)).await,
                _ => {}
            }
        };
        futures::stream::iter(failures).for_each_concurrent(AT_ONCE, call).await;
    });
}

fn is_known(registry: &Registry, callback: Option<&Callback>) -> bool {
    callback.is_some_and(|callback| registry.find(&callback.function).is_ok())
}

async fn tell_enqueuer(
    registry: &Arc<Registry>,
    failure: Failure,
    (isolated_threads, time): (&IsolatedThreads, Duration),
) {
    let (job, registry) = (failure.job.clone(), Arc::clone(registry));
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

/// The outcome for the metric; a death leads only to these three.
fn outcome(verdict: &Disposition) -> &'static str {
    match verdict {
        Disposition::Discard { .. } => "failed",
        Disposition::RetryAt { .. } => "retried",
        _ => "returned",
    }
}

fn verdict_word(verdict: &Disposition) -> &'static str {
    match verdict {
        Disposition::Rescue | Disposition::Release { .. } | Disposition::RunAgain { .. } => "runs again",
        Disposition::RetryAt { .. } => "is tried again",
        Disposition::Discard { .. } | Disposition::Exhaust { .. } | Disposition::Stop { .. } => "failed",
        Disposition::Forward { .. } => "waits in another queue",
        Disposition::Ack { .. } => "finished",
    }
}
