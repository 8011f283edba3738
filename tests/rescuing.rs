//! What happens to the jobs of a dead process, and who is notified.

use crate::reconciling::tracker;
use crate::servers::redis as redis_server;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix::Actor as _;
use chrono::Utc;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tikkun::blob::{BlobStore, open_directory};
use tikkun::config::RescuerSettings;
use tikkun::job::{
    AbandonedJob, Args, Completion, ForeignJob, ForeignJobs, Job, JobContext, JobError, JobResult,
    JobSettings, JobState, Limit, NewJob, Registries, Registry,
};
use tikkun::maintenance::{Rescuer, RescuerPorts};
use tikkun::queue::{Broker, Delivery, Disposition, ProcessRecord, Settled, Settlement, open_rq};
use tikkun::store::{Schema, Store, open_sqlite};
use tikkun::supervision::{HealthTable, Turns};
use tikkun::webhooks::WebhookSender;
use tokio::sync::Semaphore;

use redis_server::Redis;

const QUEUE: &str = "q";
/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(20);
/// What a dead job's kind and enqueuer are left.
const CALL: Duration = Duration::from_millis(300);

/// A job that its process does not survive; what is told of its failure holds the thread, if it is told to.
struct Mortal(Option<Held>);
impl Job for Mortal {
    const NAME: &'static str = "tests.mortal";
    type Args = (String,);
    fn settings(&self) -> JobSettings {
        JobSettings { queue: QUEUE, ..JobSettings::default() }
    }
    async fn run(&self, _: (String,), _: &JobContext) -> JobResult {
        Ok(Completion::done())
    }
    async fn failed(&self, (how,): (String,), _: &JobError, _: &JobContext) {
        if let Some(held) = self.0.as_ref().filter(|_| how == "holds") {
            held.hold();
        }
    }
}

/// Holds a thread until it is let go.
#[derive(Clone)]
struct Held {
    let_go: Arc<Mutex<mpsc::Receiver<()>>>,
    /// For each time whether it was let go by the test, and not by the end of its patience.
    ends: Arc<Mutex<Vec<bool>>>,
}

impl Held {
    fn new() -> (mpsc::Sender<()>, Self) {
        let (sender, receiver) = mpsc::channel();
        (sender, Self { let_go: Arc::new(Mutex::new(receiver)), ends: Arc::default() })
    }

    fn hold(&self) {
        let let_go = self.let_go.lock().recv_timeout(DEADLINE / 2) != Err(mpsc::RecvTimeoutError::Timeout);
        self.ends.lock().push(let_go);
    }
}

/// Called for a failed job: notes it, and waits until it is let go.
struct Sorry {
    calls: Arc<Mutex<Vec<String>>>,
    let_go: Arc<Semaphore>,
}
impl Job for Sorry {
    const NAME: &'static str = "tests.sorry";
    type Args = (String, String);
    async fn run(&self, (id, _): (String, String), _: &JobContext) -> JobResult {
        self.calls.lock().push(id);
        drop(self.let_go.acquire().await);
        Ok(Completion::done())
    }
}

/// Called for a failed job: holds its thread.
struct Stubborn(Held);
impl Job for Stubborn {
    const NAME: &'static str = "tests.stubborn";
    type Args = (String, String);
    async fn run(&self, _: (String, String), _: &JobContext) -> JobResult {
        self.0.hold();
        Ok(Completion::done())
    }
}

struct Ground {
    redis: Redis,
    broker: Arc<dyn Broker>,
    store: Store,
    blobs: Arc<dyn BlobStore>,
    _folder: tempfile::TempDir,
}

impl Ground {
    async fn new() -> Self {
        let (redis, folder) = (Redis::start(), tempfile::tempdir().unwrap());
        let broker = open_rq(&redis.settings(1)).unwrap();
        let store = open_sqlite(&folder.path().join("tikkun.db"), Schema::Migrate).await.unwrap();
        let blobs = open_directory(folder.path()).await.unwrap();
        Self { redis, broker, store, blobs, _folder: folder }
    }

    /// A process dies while it runs these; for each its argument and what its enqueuer wants called after it failed.
    async fn dies_with(&self, jobs: &[(&str, &str, &str)]) {
        self.loses_its_lease("dead", Mortal::NAME, jobs).await;
    }

    /// The lease of a process is over while it runs these; its deliveries.
    async fn loses_its_lease(
        &self,
        process: &str,
        kind: &'static str,
        jobs: &[(&str, &str, &str)],
    ) -> Vec<Delivery> {
        let job = |(id, how, _): &(&str, &str, &str)| {
            NewJob::new(*id, QUEUE, kind, Args::positional([(*how).into()]))
        };
        let new: Vec<_> = jobs.iter().map(job).collect();
        let queue = QUEUE.into();
        self.broker.enqueue(&new).await.unwrap();
        for (id, _, callback) in jobs.iter().filter(|(_, _, callback)| !callback.is_empty()) {
            self.redis.ask(&["HSET", &format!("rq:job:{id}"), "failure_callback_name", callback]);
        }
        let process = ProcessRecord {
            id: process.into(),
            host: "host".into(),
            pid: std::process::id(),
            queues: vec![QUEUE.into()],
            started_at: Utc::now(),
            lease_until: Utc::now(),
        };
        self.broker.renew_lease(&process, DEADLINE * 10).await.unwrap();
        let mut lent = self.broker.fetch(&queue, 100, &process.id).await.unwrap();
        while lent.len() < jobs.len() {
            let weight = self.broker.left(Some(&queue));
            lent.extend(self.broker.fetch_heavy(&queue, weight, &process.id).await.unwrap());
            lent.extend(self.broker.fetch(&queue, 100, &process.id).await.unwrap());
        }
        self.broker.end_lease(&process.id).await.unwrap();
        lent
    }

    /// One of those that look for orphans.
    fn rescuer(&self, name: &str, registry: Registry) {
        self.rescuer_that_serves(name, registry, &[]);
    }

    /// The same, in a process that runs the jobs of these queues.
    fn rescuer_that_serves(&self, name: &str, registry: Registry, queues: &[&str]) {
        self.rescuer_that_looks(Duration::from_millis(20), name, registry, queues);
    }

    /// The same, with so much time between two looks.
    fn rescuer_that_looks(&self, interval: Duration, name: &str, registry: Registry, queues: &[&str]) {
        let ports = RescuerPorts {
            // Each process has its own.
            broker: open_rq(&self.redis.settings(1)).unwrap(),
            store: self.store.clone(),
            tracker: tracker(&self.store),
            blobs: Arc::clone(&self.blobs),
            registries: Registries::new(Arc::new(registry)),
            process: name.into(),
            queues: queues.iter().map(|queue| (*queue).into()).collect(),
            turn: Turns::default().register("rescuer"),
            table: HealthTable::new(),
            issuer: Arc::default(),
            webhooks: WebhookSender::default(),
        };
        let wait = Duration::from_secs(1);
        let settings = RescuerSettings {
            interval,
            outbox_batch: 1,
            outbox_backoff_first: wait,
            outbox_backoff_cap: wait,
            outbox_alarm_after: DEADLINE,
            reconcile_interval: DEADLINE,
            reconcile_grace: wait,
        };
        Rescuer { ports, settings, deadline: CALL, storage_delete: false, tracked: Vec::new() }.start();
    }

    async fn has_failed(&self, id: &str) {
        until(&format!("job {id} to have failed"), async || {
            self.broker.job(&id.into()).await.unwrap().unwrap().state == JobState::Failed
        })
        .await;
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix_rt::test]
async fn one_death_is_told_once_however_many_look_for_it() {
    let ground = Ground::new().await;
    ground.dies_with(&[("a", "", "tests.sorry"), ("b", "", "tests.sorry"), ("c", "", "app.nobody")]).await;
    let (calls, let_go) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Semaphore::new(0)));
    for name in ["one", "two", "three"] {
        let sorry = Sorry { calls: Arc::clone(&calls), let_go: Arc::clone(&let_go) };
        ground.rescuer(name, Registry::default().with(Mortal(None)).with(sorry));
    }
    for id in ["a", "b", "c"] {
        ground.has_failed(id).await;
    }
    until("both calls", async || calls.lock().len() >= 2).await;
    let_go.add_permits(100);
    let mut told = calls.lock().clone();
    told.sort();
    assert_eq!(told, ["a", "b"]);
    let remark = ground.redis.ask(&["HGET", "rq:job:c", "x_remark"]);
    assert_eq!(remark, "the callback `app.nobody` is not registered here and was not called");
}

/// Another program that runs jobs, such as an application in Python, and what it was told of those left behind.
#[derive(Clone, Default)]
struct Elsewhere(Arc<Mutex<Vec<Told>>>);
/// The id of a job, and its callback.
type Told = (String, Option<String>);
impl ForeignJobs for Elsewhere {
    fn settings(&self) -> JobSettings {
        JobSettings::default()
    }
    fn run<'a>(&'a self, _: ForeignJob<'a>, _: &'a JobContext) -> BoxFuture<'a, JobResult> {
        unreachable!("nothing is fetched here")
    }
    fn abandoned<'a>(&'a self, job: AbandonedJob<'a>) -> BoxFuture<'a, ()> {
        let callback = job.on_failure.map(|callback| callback.function.to_string());
        self.0.lock().push((job.id.to_string(), callback));
        Box::pin(async {})
    }
}

#[actix_rt::test]
async fn who_runs_jobs_in_another_program_has_it_told_of_those_left_behind() {
    let ground = Ground::new().await;
    ground.dies_with(&[("a", "", "app.sorry"), ("b", "", "")]).await;
    let elsewhere = Elsewhere::default();
    let registry = Registry::default().with_foreign(Arc::new(elsewhere.clone()));
    ground.rescuer_that_serves("one", registry, &[QUEUE]);
    until("both to be told of", async || elsewhere.0.lock().len() == 2).await;
    let mut told = elsewhere.0.lock().clone();
    told.sort();
    assert_eq!(told, [("a".to_owned(), Some("app.sorry".to_owned())), ("b".to_owned(), None)]);
    ground.has_failed("a").await;
    assert_eq!(ground.redis.ask(&["HEXISTS", "rq:job:a", "x_remark"]), "0");
}

#[actix_rt::test]
async fn a_function_that_is_not_known_here_is_left_to_those_who_serve_its_queue() {
    let ground = Ground::new().await;
    ground.dies_with(&[("theirs", "", "app.sorry")]).await;
    ground.loses_its_lease("dead-too", "tests.sorry", &[("known", "", "")]).await;
    let sorry = Sorry { calls: Arc::default(), let_go: Arc::new(Semaphore::new(0)) };
    ground.rescuer_that_serves("serves another queue", Registry::default().with(sorry), &["other"]);
    // It has looked, more than once.
    ground.has_failed("known").await;
    let theirs = ground.broker.job(&"theirs".into()).await.unwrap().unwrap();
    assert_eq!((theirs.state, theirs.failures), (JobState::Started, 0));
    let elsewhere = Elsewhere::default();
    let registry = Registry::default().with_foreign(Arc::new(elsewhere.clone()));
    ground.rescuer_that_serves("serves it", registry, &[QUEUE]);
    ground.has_failed("theirs").await;
    until("its enqueuer to be told", async || elsewhere.0.lock().len() == 1).await;
}

/// Letters that cannot be packed much.
fn letters(count: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(count).collect()
}

/// Some share no answer, and some fit into none.
#[actix_rt::test]
async fn large_jobs_of_a_dead_process_do_not_wait_for_one_look_each() {
    for (length, queue) in [(400_000, QUEUE), (1_000_000, "other")] {
        let (ground, large) = (Ground::new().await, letters(length));
        let ids = ["a", "b", "c", "d"];
        ground.dies_with(&ids.map(|id| (id, large.as_str(), ""))).await;
        ground.rescuer_that_looks(DEADLINE * 2, "one", Registry::default().with(Mortal(None)), &[queue]);
        for id in ids {
            ground.has_failed(id).await;
        }
    }
}

#[actix_rt::test]
async fn large_jobs_that_are_left_to_others_hide_none_of_ours() {
    let (ground, large) = (Ground::new().await, letters(400_000));
    let ids: Vec<_> = (0..12).map(|number| format!("theirs-{number}")).collect();
    let theirs: Vec<_> = ids.iter().map(|id| (id.as_str(), large.as_str(), "")).collect();
    ground.loses_its_lease("theirs", "app.unknown", &theirs).await;
    ground.dies_with(&[("ours", large.as_str(), "")]).await;
    ground.rescuer_that_looks(DEADLINE * 2, "one", Registry::default().with(Mortal(None)), &["other"]);
    ground.has_failed("ours").await;
}

#[actix_rt::test]
async fn a_process_that_cannot_renew_its_lease_takes_nothing_from_itself() {
    let ground = Ground::new().await;
    let mine = ground.loses_its_lease("one", Mortal::NAME, &[("mine", "", "")]).await;
    ground.dies_with(&[("other", "", "")]).await;
    ground.rescuer("one", Registry::default().with(Mortal(None)));
    ground.has_failed("other").await;
    let well = Disposition::Ack { result: 7.into(), keep: Limit::Never };
    let ends: Vec<_> = mine.iter().map(|delivery| Settlement::new(delivery, well.clone())).collect();
    assert_eq!(ground.broker.settle(&ends).await.unwrap(), [Settled::Done]);
    let job = ground.broker.job(&"mine".into()).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt, job.failures), (JobState::Finished, 1, 0));
}

#[actix_rt::test]
async fn what_has_ended_is_dropped_in_time_and_what_was_enqueued_again_stays_without_any_scheduler() {
    let ground = Ground::new().await;
    let jobs = [("ended", "", ""), ("again", "", "")];
    let lent = ground.loses_its_lease("one", Mortal::NAME, &jobs).await;
    let well = Disposition::Ack { result: 7.into(), keep: Limit::After(Duration::from_secs(2)) };
    let ends: Vec<_> = lent.iter().map(|delivery| Settlement::new(delivery, well.clone())).collect();
    ground.broker.settle(&ends).await.unwrap();
    ground.redis.ask(&["HSET", "rq:job:again", "status", "queued"]);
    ground.rescuer("two", Registry::default());
    until("both entries to go", async || ground.redis.ask(&["ZCARD", "rq:finished:q"]) == "0").await;
    assert_eq!(ground.redis.ask(&["EXISTS", "rq:job:ended"]), "0");
    assert_eq!(ground.redis.ask(&["TTL", "rq:job:again"]), "-1");
}

#[actix_rt::test]
async fn what_is_told_of_a_death_may_hold_its_thread_and_everything_else_goes_on() {
    let ground = Ground::new().await;
    ground.dies_with(&[("a", "", "tests.stubborn"), ("b", "holds", ""), ("c", "", "")]).await;
    let ((let_a_go, stubborn), (let_b_go, mortal)) = (Held::new(), Held::new());
    let (of_a, of_b) = (Arc::clone(&stubborn.ends), Arc::clone(&mortal.ends));
    ground.rescuer("one", Registry::default().with(Mortal(Some(mortal))).with(Stubborn(stubborn)));
    for id in ["a", "b", "c"] {
        ground.has_failed(id).await;
    }
    // This thread has had its turns, whoever held another.
    let_a_go.send(()).unwrap();
    let_b_go.send(()).unwrap();
    until("both to be let go", async || of_a.lock().len() + of_b.lock().len() == 2).await;
    assert_eq!((of_a.lock().clone(), of_b.lock().clone()), (vec![true], vec![true]));
}
