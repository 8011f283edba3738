//! A Redis that the test may stop, with tables and files.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tikkun::job::{Args, JobId, JobRecord, JobState, Limit, NewJob};
use tikkun::queue::{Broker, open_rq};

use super::ground::{FUNCTION, Ground};
use super::process::Start;
use super::redis_server::Redis;

/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The queues of the contract.
pub const QUEUES: [&str; 8] =
    ["high", "default", "low", "receipts", "receipts_sync", "maintenance", "recordings", "broadcasts"];

pub struct Place {
    pub redis: Redis,
    pub ground: Ground,
    /// The queue, as a program beside the service uses it.
    pub broker: Arc<dyn Broker>,
}

impl Place {
    /// On a Redis that is empty when it is started again.
    pub async fn forgetful() -> Self {
        Self::on(Redis::start()).await
    }

    /// The same, where it can be reached over a port too.
    pub async fn with_port() -> Self {
        Self::on(Redis::start_with_port()).await
    }

    /// On one that has its data again then.
    pub async fn keeping() -> Self {
        Self::on(Redis::start_keeping()).await
    }

    async fn on(redis: Redis) -> Self {
        let broker = open_rq(&redis.settings(0)).unwrap();
        Self { redis, ground: Ground::new().await, broker }
    }

    /// How a service is started here, on all eight queues.
    pub fn service(&self) -> Start {
        self.ground
            .service()
            .set("REDIS_URL", &self.redis.url())
            .set("RQ_QUEUES", &QUEUES.join(","))
            .set("TIKKUN_WORKER__SLOTS", "16")
            .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
            .set("TIKKUN_LEASE__TTL", "3s")
            .set("TIKKUN_LEASE__RENEW", "1s")
    }

    /// Puts the entry for a row into the queue, as the web application does.
    pub async fn enqueue_row(&self, id: &str, row: i64) {
        self.enqueue(&[NewJob::new(id, "maintenance", FUNCTION, Args::positional([json!(row)]))]).await;
    }

    pub async fn enqueue(&self, jobs: &[NewJob]) {
        self.until("the queue to take jobs", async || self.broker.enqueue(jobs).await.ok().map(drop)).await;
    }

    /// The job, as soon as the queue tells.
    pub async fn job(&self, id: &str) -> Option<JobRecord> {
        self.until("the queue to answer", async || self.broker.job(&JobId::from(id)).await.ok()).await
    }

    /// The job once it is in this state.
    pub async fn becomes(&self, id: &str, state: JobState) -> JobRecord {
        let what = format!("job {id} to be {}", state.as_str());
        self.until(&what, async || self.job(id).await.filter(|job| job.state == state)).await
    }

    /// Waits until `look` finds something, and says what it waited for if it never does.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        within(DEADLINE, what, look).await
    }
}

/// As [`Place::until`], with another deadline.
pub async fn within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// A plain job that sleeps for so long.
pub fn sleep(id: &str, queue: &str, seconds: f64) -> NewJob {
    plain(id, queue, "tikkun.sleep", json!(seconds))
}

/// A plain job with one argument, whose end is kept.
pub fn plain(id: &str, queue: &str, kind: &str, argument: Value) -> NewJob {
    NewJob {
        result_ttl: Some(Limit::Never),
        failure_ttl: Some(Limit::Never),
        ..NewJob::new(id, queue, kind, Args::positional([argument]))
    }
}

/// A number that says how large a run is.
#[expect(clippy::disallowed_methods, reason = "the size of a test is no setting of the service")]
pub fn size(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |size| size.parse().unwrap())
}
