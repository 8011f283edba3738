//! Shared by the tests: a fresh broker, jobs, processes, and waits whose errors name the condition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::Utc;
use serde_json::json;
use tikkun::job::{Args, JobId, JobRecord, Limit, NewJob, ProcessId, QueueName};
use tikkun::queue::{Broker, Delivery, Disposition, ProcessRecord, QueueCounts, Settled, Settlement};

/// An empty place that can be opened again and again, as by several processes.
#[async_trait]
pub trait Fresh: Send + Sync {
    async fn open(&self) -> Arc<dyn Broker>;
}

/// The queue most claims use.
pub const QUEUE: &str = "q";
/// A lease that outlasts every test.
pub const LONG: Duration = Duration::from_secs(600);
/// A lease or a span that a test waits for.
pub const SHORT: Duration = Duration::from_millis(60);
/// Longer than anything takes that works.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The process most claims are.
pub const ME: &str = "me";

pub fn queue() -> QueueName {
    QUEUE.into()
}

pub fn job(id: &str) -> NewJob {
    NewJob::new(id, QUEUE, "shop.jobs.noop", Args::positional([json!(27)]))
}

pub fn process(id: &str) -> ProcessRecord {
    ProcessRecord {
        id: id.into(),
        host: "host".into(),
        pid: std::process::id(),
        queues: vec![queue(), "other".into()],
        started_at: Utc::now(),
        lease_until: Utc::now(),
    }
}

/// A broker under whose lease `me` fetches.
pub async fn leased(fresh: &dyn Fresh) -> Arc<dyn Broker> {
    let broker = fresh.open().await;
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    broker
}

pub async fn enqueue(broker: &dyn Broker, ids: &[&str]) {
    let jobs: Vec<_> = ids.iter().map(|id| job(id)).collect();
    broker.enqueue(&jobs).await.unwrap();
}

pub async fn fetch(broker: &dyn Broker, max: u32) -> Vec<Delivery> {
    broker.fetch(&queue(), max, &ME.into()).await.unwrap()
}

/// Enqueues one job and fetches it.
pub async fn one(broker: &dyn Broker, new: NewJob) -> Delivery {
    broker.enqueue(&[new]).await.unwrap();
    fetch(broker, 1).await.pop().expect("the job that was just enqueued")
}

pub fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|one| one.job.id.to_string()).collect()
}

pub fn settlement(delivery: &Delivery, verdict: Disposition) -> Settlement {
    Settlement {
        job: delivery.job.id.clone(),
        queue: delivery.job.queue.clone(),
        execution: delivery.execution.clone(),
        verdict,
        remark: None,
        verbatim: None,
    }
}

pub async fn settle(broker: &dyn Broker, delivery: &Delivery, verdict: Disposition) -> Settled {
    broker.settle(&[settlement(delivery, verdict)]).await.unwrap()[0]
}

pub fn ack() -> Disposition {
    Disposition::Ack { result: json!({ "done": true }), keep: Limit::After(LONG) }
}

pub async fn record(broker: &dyn Broker, id: &str) -> JobRecord {
    broker.job(&JobId::from(id)).await.unwrap().unwrap_or_else(|| panic!("job {id} is not there"))
}

pub async fn counts(broker: &dyn Broker) -> QueueCounts {
    broker.counts().await.unwrap().get(&queue()).copied().unwrap_or_default()
}

pub fn me() -> ProcessId {
    ME.into()
}

/// Asks again until the answer is some; fails after the deadline, saying what was waited for.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Completes with `future`; fails after the deadline, saying what was waited for.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {DEADLINE:?} for this: {what}"))
}
