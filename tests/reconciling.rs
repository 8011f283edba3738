//! The cost of the reconciliation on a Redis with long queues: it depends on the number of rows only.

use crate::servers::redis as redis_server;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor as _, Recipient};
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tikkun::blob::open_directory;
use tikkun::config::{RescuerSettings, TrackerSettings};
use tikkun::job::{Args, Limit, NewJob, Registries, Registry};
use tikkun::maintenance::{Rescuer, RescuerPorts};
use tikkun::queue::{Broker, open_rq};
use tikkun::store::{Schema, Store, open_sqlite};
use tikkun::supervision::{HealthTable, Turns};
use tikkun::tracking::{AskPerson, StatusTracker, TrackedKind};
use tikkun::webhooks::WebhookSender;

use redis_server::Redis;

const DEADLINE: Duration = Duration::from_secs(60);
const DELETION: &str = "server.jobs.delete_receipts_job.delete_receipts_batch_job";
const QUEUE: &str = "maintenance";
/// Jobs of others that wait in the same queue.
const PLAIN: usize = 20_000;
/// Rows, each with an entry that the web application enqueued: its id is in no row.
const ROWS: i64 = 5;
/// Looks whose cost is measured.
const LOOKS: usize = 10;
/// The most bytes that all of these looks may read. The ids alone of the waiting jobs are more than this in each look.
const BYTES: i64 = 250_000;

fn tracked() -> TrackedKind {
    TrackedKind {
        job_type: "delete_receipts_all".into(),
        kind: DELETION.into(),
        parameter: "background_job_id",
        queue: QUEUE.into(),
        timeout: Limit::Never,
        result_ttl: Limit::Never,
        failure_ttl: Limit::Never,
        grace: Duration::from_millis(300),
        leadership_ttl: DEADLINE,
        grace_after_loss: Duration::from_millis(300),
    }
}

fn settings() -> RescuerSettings {
    let wait = Duration::from_secs(1);
    RescuerSettings {
        interval: Duration::from_millis(20),
        outbox_batch: 1,
        outbox_backoff_first: wait,
        outbox_backoff_cap: wait,
        outbox_alarm_after: DEADLINE,
        reconcile_interval: Duration::from_millis(50),
        reconcile_grace: wait,
    }
}

/// Asks the server how much it has done.
struct Meter(redis::aio::MultiplexedConnection);

impl Meter {
    async fn number(&mut self, section: &str, name: &str) -> i64 {
        let told: String = redis::cmd("INFO").arg(section).query_async(&mut self.0).await.unwrap();
        let text =
            told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split(',').next());
        // A command that was never given is in no list.
        text.map_or(0, |text| text.trim_start_matches("calls=").parse().unwrap())
    }

    /// Jobs that were looked at in searches.
    async fn searched(&mut self) -> i64 {
        self.number("commandstats", "cmdstat_hmget").await
    }

    async fn bytes(&mut self) -> i64 {
        self.number("stats", "total_net_output_bytes").await
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets the reconciliation look so many times more.
async fn looks(broker: &dyn Broker, count: usize) {
    let mut ticks = BTreeSet::new();
    until("the reconciliation to look", async || {
        let state = broker.leadership("reconcile").await.unwrap();
        ticks.extend(state.and_then(|state| state.last_tick));
        ticks.len() > count
    })
    .await;
}

fn broker_on(redis: &Redis) -> Arc<dyn Broker> {
    open_rq(&redis.settings(1)).unwrap()
}

fn entry(id: i64) -> NewJob {
    NewJob::new(format!("entry-{id}"), QUEUE, DELETION, Args::positional([json!(id)]))
}

/// Runs plain SQL on the store's file.
async fn run(folder: &Path, sql: impl Into<String>) {
    let options = SqliteConnectOptions::new().filename(folder.join("tikkun.db"));
    let mut raw = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut raw).await.unwrap();
}

/// A store with so many rows that wait for their turn.
async fn store_with(folder: &Path, rows: i64) -> Store {
    let store = open_sqlite(&folder.join("tikkun.db"), Schema::Migrate).await.unwrap();
    for id in 1..=rows {
        let sql = format!(
            "insert into background_jobs (id, business_id, job_type, status, created_at, updated_at)
             select {id}, {id}, 'delete_receipts_all', 'queued', t, t
             from (select strftime('%Y-%m-%d %H:%M:%f000', 'now') as t)"
        );
        run(folder, sql).await;
    }
    store
}

/// A tracker that cancels rows where it is asked to.
pub fn tracker(store: &Store) -> Recipient<AskPerson> {
    let (jobs, journal, turn) =
        (Arc::clone(&store.background_jobs), Arc::default(), Turns::default().register("status_tracker"));
    let settings =
        TrackerSettings { progress_interval: DEADLINE, heartbeat_interval: DEADLINE, deadline: DEADLINE };
    StatusTracker { jobs, journal, settings, counting_deadline: DEADLINE, turn }.start().recipient()
}

async fn start_rescuer(broker: &Arc<dyn Broker>, store: Store, folder: &Path) {
    let ports = RescuerPorts {
        broker: Arc::clone(broker),
        tracker: tracker(&store),
        store,
        blobs: open_directory(folder).await.unwrap(),
        registries: Registries::new(Arc::new(Registry::default())),
        process: "me".into(),
        queues: Vec::new(),
        turn: Turns::default().register("rescuer"),
        table: HealthTable::new(),
        issuer: Arc::default(),
        webhooks: WebhookSender::default(),
    };
    let tracked = vec![tracked()];
    Rescuer { ports, settings: settings(), deadline: DEADLINE, storage_delete: false, tracked }.start();
}

#[actix_rt::test]
async fn a_look_reads_the_entries_of_its_rows_and_not_the_queue() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_on(&redis);
    let plain = |n: usize| NewJob::new(format!("plain-{n}"), QUEUE, "shop.jobs.noop", Args::default());
    let jobs: Vec<_> = (0..PLAIN).map(plain).chain((1..=ROWS).map(entry)).collect();
    for some in jobs.chunks(1000) {
        broker.enqueue(some).await.unwrap();
    }

    let store = store_with(folder.path(), ROWS).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut meter = Meter(client.get_multiplexed_async_connection().await.unwrap());
    start_rescuer(&broker, store, folder.path()).await;

    until("the one search for entries that no row knows of", async || meter.searched().await > 20_000).await;
    // The search itself ends within this look, for a look is one after the other.
    looks(&*broker, 2).await;
    let (searched, bytes) = (meter.searched().await, meter.bytes().await);
    looks(&*broker, LOOKS).await;
    let read = meter.bytes().await - bytes;
    assert_eq!(meter.searched().await, searched, "what was found is remembered");
    assert!(read < BYTES, "{LOOKS} looks at {ROWS} rows read {read} bytes");
    let waiting = broker.counts().await.unwrap()[&QUEUE.into()].queued;
    assert_eq!(waiting, PLAIN as u64 + ROWS as u64, "no row was enqueued anew");
}

#[actix_rt::test]
async fn an_entry_that_is_to_come_at_its_time_is_one_whoever_keeps_it_until_then() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_on(&redis);
    broker.enqueue(&[entry(1), entry(2), entry(3)]).await.unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut raw = client.get_multiplexed_async_connection().await.unwrap();
    let tomorrow = chrono::Utc::now().timestamp() + 86_400;
    let mut held = redis::pipe();
    held.del("rq:queue:maintenance").hset("rq:job:entry-1", "status", "scheduled");
    held.zadd("rq:scheduled:maintenance", "entry-1", tomorrow);
    // rq-scheduler gives its jobs no status before their time.
    held.hdel("rq:job:entry-2", "status").zadd("rq:scheduler:scheduled_jobs", "entry-2", tomorrow);
    held.del("rq:job:entry-3");
    held.query_async::<()>(&mut raw).await.unwrap();
    start_rescuer(&broker, store_with(folder.path(), 3).await, folder.path()).await;

    until("the row without an entry to be enqueued anew", async || {
        broker.counts().await.unwrap()[&QUEUE.into()].queued > 0
    })
    .await;
    looks(&*broker, LOOKS).await;
    assert_eq!(broker.counts().await.unwrap()[&QUEUE.into()].queued, 1, "the others have one");
}

#[actix_rt::test]
async fn a_row_that_the_database_refuses_to_change_keeps_no_other_from_its_entry() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    let broker = broker_on(&redis);
    broker.enqueue(&[entry(1)]).await.unwrap();
    broker.cancel(&"entry-1".into()).await.unwrap();
    let store = store_with(folder.path(), 4).await;
    // Row 1 is to be cancelled as its entry was, row 2 rests between two runs; both accounts are frozen.
    run(
        folder.path(),
        "update background_jobs set status = 'paused' where id = 2;
         insert into tikkun_background_jobs (background_job_id, attempt, queue_job, pause_reason)
             values (2, 1, 'gone', 'continuation');
         create trigger frozen before update on background_jobs when old.id in (1, 2)
             begin select raise(abort, 'this account is frozen'); end",
    )
    .await;
    start_rescuer(&broker, store, folder.path()).await;
    until("the other rows to be enqueued anew", async || {
        broker.counts().await.unwrap()[&QUEUE.into()].queued >= 3
    })
    .await;
    looks(&*broker, LOOKS).await;
    assert_eq!(broker.counts().await.unwrap()[&QUEUE.into()].queued, 3, "once each, and none for row 1");
}
