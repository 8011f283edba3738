//! Runs the steps, one after the other.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::report::{Outcome, Report, Step};
use crate::blob::BlobStore;
use crate::config::{Role, Settings};
use crate::job::background::DELETE_RECEIPTS_ALL;
use crate::job::{Args, BusinessId, JobId, JobState, Limit, NewJob, QueueName};
use crate::kinds::Echo;
use crate::queue::Broker;
use crate::runtime::ports::{open_broker, open_store};
use crate::runtime::{Ports, Service, attachments};
use crate::store::Store;

/// A separate queue that no other process listens to. The name is fixed, because queues are never forgotten.
const QUEUE: &str = "tikkun-selftest";
/// The time between two reads of the canary.
const LOOK: Duration = Duration::from_millis(50);
/// How long the canary's result is kept: long enough to be read.
const KEPT: Duration = Duration::from_secs(1);
/// The most ended jobs that one call drops.
const SWEEP: u32 = 1000;
/// The content of the test object.
const OBJECT: &[u8] = b"tikkun selftest";
/// A tenant that does not exist.
const NOBODY: BusinessId = BusinessId(0);

/// Tests the back ends of `settings`, each step for at most `limit`; `configured` is how long loading the
/// settings took. Must be called inside an actix system.
pub async fn run(settings: Settings, configured: Duration, limit: Duration) -> Report {
    let report = Report::empty().with(Step::Configuration, Outcome::Passed, configured);
    let trial = Trial { limit, report: RefCell::new(report) };
    let queues = [settings.worker.queues.clone(), vec![QueueName::from(QUEUE)]].concat();
    let made = Made { canary: JobId::from(format!("{QUEUE}-{}", uuid::Uuid::new_v4().simple())) };
    let ports = trial.back_ends(&settings, &made).await;
    if let Some(ports) = ports {
        let started = start(for_trial(settings, limit), ports.clone());
        if let Some(service) = trial.step(Step::Lease, started).await {
            trial.step(Step::Canary, canary(&*ports.broker, &queues, &made)).await;
            service.run_until(std::future::ready(())).await;
        }
        trial.clean_up(clean_up(&ports, &made)).await;
    }
    trial.report.into_inner().with_the_rest_skipped()
}

/// What must be cleaned up.
struct Made {
    canary: JobId,
}

impl Made {
    fn object(&self) -> String {
        format!("{QUEUE}/{}", self.canary)
    }
}

struct Trial {
    limit: Duration,
    report: RefCell<Report>,
}

impl Trial {
    /// Runs a step; `None` if it failed.
    async fn step<T>(&self, step: Step, work: impl Future<Output = Result<T, String>>) -> Option<T> {
        let began = Instant::now();
        let done = tokio::time::timeout(self.limit, work)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(self.limit))));
        let (outcome, value) = match done {
            Ok(value) => (Outcome::Passed, Some(value)),
            Err(error) => (Outcome::failed(step, error), None),
        };
        self.report.replace_with(|report| report.clone().with(step, outcome, began.elapsed()));
        value
    }

    async fn back_ends(&self, settings: &Settings, made: &Made) -> Option<Ports> {
        let broker = self.step(Step::Queue, queue(settings)).await?;
        let store = self.step(Step::Database, database(settings)).await?;
        let blobs = self.step(Step::Attachments, attachments(settings, &made.object())).await?;
        Some(Ports { broker, store, blobs })
    }

    /// Cleans up, also after a failure; the steps in between are marked as skipped.
    async fn clean_up(&self, work: impl Future<Output = Result<(), String>>) {
        self.report.replace_with(|report| report.clone().up_to_clean_up());
        self.step(Step::CleanUp, work).await;
    }
}

async fn queue(settings: &Settings) -> Result<Arc<dyn Broker>, String> {
    let broker = open_broker(settings).await.map_err(|error| error.to_string())?;
    broker.prove().await.map_err(|fault| fault.chain())?;
    Ok(broker)
}

async fn database(settings: &Settings) -> Result<Store, String> {
    let store = open_store(settings).await.map_err(|error| error.to_string())?;
    store.background_jobs.check().await.map_err(|fault| fault.chain())?;
    let read = store.background_jobs.latest(NOBODY, DELETE_RECEIPTS_ALL).await;
    read.map_err(|fault| fault.chain())?;
    Ok(store)
}

async fn attachments(settings: &Settings, key: &str) -> Result<Arc<dyn BlobStore>, String> {
    let blobs = attachments::open(settings).await.map_err(|error| error.to_string())?;
    blobs.put(key, OBJECT).await.map_err(|fault| fault.chain())?;
    let listed = blobs.list(key, 2).await.map_err(|fault| fault.chain());
    // The object is deleted before the list is checked, so that it is never left behind.
    delete(&*blobs, key).await?;
    let listed = listed?;
    if listed != [key] {
        return Err(format!("the object `{key}` was put, and what is listed under its name is {listed:?}"));
    }
    match blobs.list(key, 2).await.map_err(|fault| fault.chain())?.is_empty() {
        true => Ok(blobs),
        false => Err(format!("the object `{key}` is still there after it was deleted")),
    }
}

async fn delete(blobs: &dyn BlobStore, key: &str) -> Result<(), String> {
    let kept = blobs.delete(&[key.to_owned()]).await.map_err(|fault| fault.chain())?;
    kept.first().map_or(Ok(()), |kept| Err(kept.fault.chain()))
}

/// Settings for a worker with one slot, on the separate queue.
fn for_trial(mut settings: Settings, limit: Duration) -> Settings {
    settings.service.drain_timeout = settings.service.drain_timeout.min(limit);
    settings.service.role = Role::Worker;
    settings.diagnostics.enabled = true;
    settings.worker.queues = vec![QueueName::from(QUEUE)];
    settings.worker.queues_as_given = QUEUE.to_owned();
    settings.worker.queue_caps.clear();
    (settings.worker.slots, settings.worker.threads) = (1, 1);
    settings
}

async fn start(settings: Settings, ports: Ports) -> Result<Service, String> {
    let service = Service::start_behind(settings, ports).await.map_err(|error| error.to_string())?;
    service.has_lease().await;
    Ok(service)
}

async fn canary(broker: &dyn Broker, queues: &[QueueName], made: &Made) -> Result<(), String> {
    none_is_paused(broker, queues).await?;
    let mut args = Args::positional([json!(QUEUE), json!(1)]);
    args.named.insert("sent".to_owned(), json!(made.canary));
    let expected = json!({ "positional": args.positional, "named": args.named });
    let kept = Some(Limit::After(KEPT));
    let job = NewJob {
        result_ttl: kept,
        failure_ttl: kept,
        ..NewJob::new(made.canary.clone(), QUEUE, Echo::NAME, args)
    };
    broker.enqueue(&[job]).await.map_err(|fault| fault.chain())?;
    loop {
        let job = broker.job(&made.canary).await.map_err(|fault| fault.chain())?;
        match job.as_ref().map(|job| job.state) {
            Some(JobState::Finished)
                if job.as_ref().and_then(|job| job.result.as_ref()) == Some(&expected) =>
            {
                return Ok(());
            }
            Some(state) if state.is_open() => tokio::time::sleep(LOOK).await,
            _ => return Err(format!("the job did not come back as it went in: {job:?}")),
        }
    }
}

/// Fails if a queue is paused: the canary would run, but jobs of that queue would not.
async fn none_is_paused(broker: &dyn Broker, queues: &[QueueName]) -> Result<(), String> {
    let paused = broker.paused().await.map_err(|fault| fault.chain())?;
    match queues.iter().find_map(|queue| Some((queue, paused.get(queue)?))) {
        Some((queue, pause)) => Err(format!(
            "nothing is fetched from queue `{queue}`: paused by {} since {}; `tikkun queues resume {queue}` lets it \
             go on",
            pause.by.escape_debug(),
            pause.since.format("%Y-%m-%dT%H:%M:%SZ")
        )),
        None => Ok(()),
    }
}

/// Deletes whatever was created. `expire` may also drop other jobs whose time has passed.
async fn clean_up(ports: &Ports, made: &Made) -> Result<(), String> {
    delete(&*ports.blobs, &made.object()).await?;
    ports.broker.cancel(&made.canary).await.map_err(|fault| fault.chain())?;
    while ports.broker.job(&made.canary).await.map_err(|fault| fault.chain())?.is_some() {
        tokio::time::sleep(LOOK).await;
        ports.broker.expire(SWEEP).await.map_err(|fault| fault.chain())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn step_that_does_not_answer_fails_in_its_time() {
        let report = RefCell::new(Report::empty());
        let trial = Trial { limit: Duration::from_millis(1), report };
        assert_eq!(trial.step(Step::Queue, std::future::pending::<Result<(), _>>()).await, None);
        let report = trial.report.into_inner();
        assert!(!report.passed);
        assert_eq!(report.steps[0].outcome, Outcome::failed(Step::Queue, "no answer within 1ms"));
    }
}
