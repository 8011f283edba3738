//! A deletion whose batches are larger than its database can bear.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is what a test is for"
)]

use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tikkun::actors::{BatchPorts, CleanUpMode, Journal, StatusTracker, TrackerSettings};
use tikkun::blob::{BlobTarget, open_directory};
use tikkun::fault::Fault;
use tikkun::job::background::{AtRuntimeLimit, Status};
use tikkun::job::{
    Args, BackgroundJobId, Backoff, BusinessId, Completion, Limit, Registry, Rehearsal, Retention,
};
use tikkun::kinds::{DeleteReceipts, DeletionSettings, DeletionTeam, registry};
use tikkun::store::{BatchOrder, BatchOutcome, DeletionPlan, Receipts, Schema, SetAside, open_sqlite};
use tikkun::supervision::{HealthTable, Strategy, Supervisor, SupervisorSpec, Turns};

const DELETION: &str = "server.jobs.delete_receipts_job.delete_receipts_batch_job";
/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);
/// What one transaction may take.
const TRANSACTION: Duration = Duration::from_millis(50);
/// The first batch of the deletion, and the largest that the database manages in time.
const FIRST: u32 = 100;
const MANAGED: u32 = 60;

/// Never comes to the end of a batch that is too large.
struct Slow {
    inner: Arc<dyn Receipts>,
    asked: Arc<Mutex<Vec<u32>>>,
}

#[async_trait]
impl Receipts for Slow {
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
        self.asked.lock().push(order.limit);
        if order.limit > MANAGED {
            std::future::pending::<()>().await;
        }
        self.inner.delete_batch(order).await
    }

    async fn count_live(&self, business_id: BusinessId) -> Result<i64, Fault> {
        self.inner.count_live(business_id).await
    }

    async fn set_aside(&self, job: BackgroundJobId, max: u32) -> Result<Vec<SetAside>, Fault> {
        self.inner.set_aside(job, max).await
    }

    async fn plan(&self, business_id: BusinessId, target: &BlobTarget) -> Result<DeletionPlan, Fault> {
        self.inner.plan(business_id, target).await
    }
}

fn settings() -> DeletionSettings {
    DeletionSettings {
        batch: FIRST,
        target_time: Limit::After(Duration::from_millis(100)),
        throttle: Duration::ZERO,
        runtime_limit: DEADLINE * 10,
        at_runtime_limit: AtRuntimeLimit::Continue,
        max_failures: 3,
        max_barren: 3,
        stale_after: DEADLINE,
        row_wait: Duration::ZERO,
        revive_stale: true,
        outage_limit: Limit::Never,
        timeout: Limit::Never,
        retention: Retention::default(),
    }
}

#[actix_rt::test]
async fn a_batch_that_never_ends_in_time_comes_again_with_half_as_many_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tikkun.db");
    let store = open_sqlite(&file, Schema::Migrate).await.unwrap();
    let mut rows =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&file)).await.unwrap();
    let row = "insert into background_jobs (id, business_id, job_type, status, created_at, updated_at)
        values (27, 7, 'delete_receipts_all', 'queued', '2026-01-01 10:00:00', '2026-01-01 10:00:00')";
    sqlx::raw_sql(row).execute(&mut rows).await.unwrap();

    let jobs = Arc::clone(&store.background_jobs);
    let often = Duration::from_millis(100);
    let tracker_settings = TrackerSettings {
        progress_interval: often,
        heartbeat_interval: often,
        deadline: DEADLINE,
        counting_deadline: DEADLINE,
    };
    let turn = Turns::default().register("status_tracker");
    let tracker =
        StatusTracker::new(Arc::clone(&jobs), Arc::new(Journal::default()), tracker_settings, turn).start();
    let thread = actix_rt::Arbiter::current();
    let spec = SupervisorSpec::new("deletions", Strategy::OneForOne);
    let supervisor = Supervisor::top(spec, HealthTable::new(), &thread).unwrap();
    let asked = Arc::<Mutex<Vec<u32>>>::default();
    let first = Duration::from_secs(1);
    let batches = BatchPorts {
        receipts: Arc::new(Slow { inner: Arc::clone(&store.receipts), asked: Arc::clone(&asked) }),
        outbox: Arc::clone(&store.outbox),
        blobs: open_directory(folder.path()).await.unwrap(),
        tracker: tracker.clone().recipient(),
        transaction_deadline: TRANSACTION,
        storage_deadline: DEADLINE,
        outbox_backoff: Backoff { first, factor: 2.0, cap: first, jitter: 0.0 },
        clean_up: CleanUpMode::Off,
    };
    let team = DeletionTeam { tracker, jobs: Arc::clone(&jobs), batches, supervisor, thread };
    let registry = registry(Registry::default(), DeleteReceipts::new(settings(), team), false);
    let kind = registry.find(&DELETION.into()).unwrap();
    let (args, ctx) = (Args::positional([json!(27)]), Rehearsal::new().context(DELETION));
    let ended = tokio::time::timeout(DEADLINE, kind.run(&args, &ctx)).await.expect("waited for the deletion");
    assert!(matches!(ended, Ok(Completion::Finished(_))), "{ended:?}");
    assert_eq!(asked.lock()[..2], [FIRST, FIRST / 2]);
    assert_eq!(jobs.get(BackgroundJobId(27)).await.unwrap().unwrap().status, Status::Completed);
}
