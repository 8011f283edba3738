//! A deletion on a database that cannot comply: batches are too large for it, or rows stay unchanged.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tikkun::blob::{BlobTarget, open_directory};
use tikkun::config::{DeletionSettings, TrackerSettings};
use tikkun::deletion::described::{DeleteDescribed, DescribedTeam, Descriptions};
use tikkun::deletion::{BatchPorts, CleanUpLimits, CleanUpMode, DeleteReceipts, DeletionTeam};
use tikkun::fault::{Fault, FaultKind};
use tikkun::job::background::{AtRuntimeLimit, BackgroundJob, Status};
use tikkun::job::{
    Args, BackgroundJobId, Backoff, BusinessId, Completion, JobResult, Limit, Registry, Rehearsal,
};
use tikkun::kinds::{names, registry};
use tikkun::store::{
    Batch, BatchOrder, BatchOutcome, DeletionPlan, Pass, Receipts, Schema, SetAside, Store, open_sqlite,
};
use tikkun::supervision::{HealthTable, Strategy, Supervisor, SupervisorSpec, Turns};
use tikkun::tracking::StatusTracker;

const DELETION: &str = "server.jobs.delete_receipts_job.delete_receipts_batch_job";
/// Only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(60);
/// What one transaction may take.
const TRANSACTION: Duration = Duration::from_millis(50);
/// The first batch of the deletion, and the largest that the database manages in time.
const FIRST: u32 = 100;
const MANAGED: u32 = 60;

/// What a database does to a batch instead of deleting it; none: it deletes it.
type Hindrance = dyn Fn(&BatchOrder) -> Option<Hindered> + Send + Sync;

enum Hindered {
    /// It never comes to its end.
    Hangs,
    /// It ends so.
    Ends(Result<BatchOutcome, Fault>),
}

struct Hindering {
    inner: Arc<dyn Receipts>,
    asked: Arc<Mutex<Vec<u32>>>,
    hindrance: Box<Hindrance>,
}

#[async_trait]
impl Receipts for Hindering {
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
        self.asked.lock().push(order.limit);
        match (self.hindrance)(order) {
            Some(Hindered::Hangs) => std::future::pending().await,
            Some(Hindered::Ends(outcome)) => outcome,
            None => self.inner.delete_batch(order).await,
        }
    }

    async fn count_live(&self, business_id: BusinessId) -> Result<i64, Fault> {
        self.inner.count_live(business_id).await
    }

    async fn hindrances(&self) -> Result<Vec<String>, Fault> {
        self.inner.hindrances().await
    }

    async fn newest_keys(&self, max: u32) -> Result<Vec<String>, Fault> {
        self.inner.newest_keys(max).await
    }

    async fn may_be_hidden(&self) -> Result<bool, Fault> {
        self.inner.may_be_hidden().await
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
        queue: "maintenance".into(),
        batch: FIRST,
        target_time: Limit::After(Duration::from_millis(100)),
        throttle: Duration::ZERO,
        runtime_limit: DEADLINE * 10,
        at_runtime_limit: AtRuntimeLimit::Continue,
        max_failures: 3,
        max_barren_attempts: 3,
        stale_after: DEADLINE,
        row_wait: Duration::ZERO,
        unpicked_after: DEADLINE,
        revive_stale: true,
        storage_delete: true,
        outage_limit: Limit::Never,
        timeout: Limit::Never,
        result_ttl: Limit::Never,
        failure_ttl: Limit::Never,
    }
}

/// The same with batches that stay as large as they are.
fn steady() -> DeletionSettings {
    DeletionSettings { target_time: Limit::Never, ..settings() }
}

/// What a deletion came to.
struct Ended {
    result: JobResult,
    row: BackgroundJob,
    /// How many receipts each batch was to have.
    asked: Vec<u32>,
}

/// Deletions by a configuration that describes none.
fn describes_nothing(store: &Store, batches: &BatchPorts, thread: &actix_rt::ArbiterHandle) -> DescribedTeam {
    DescribedTeam {
        descriptions: Arc::new(Descriptions::new(Vec::new(), Arc::clone(&store.described), DEADLINE)),
        described: Arc::clone(&store.described),
        outbox: Arc::clone(&store.outbox),
        blobs: Arc::clone(&batches.blobs),
        clean_up: CleanUpLimits { deadline: DEADLINE, backoff: batches.outbox_backoff },
        deadline: DEADLINE,
        transaction_deadline: batches.transaction_deadline,
        thread: thread.clone(),
    }
}

/// Runs the deletion 27 on a file that `sql` has been run on.
async fn deletion(
    settings: DeletionSettings,
    transaction_deadline: Duration,
    sql: &str,
    hindrance: impl Fn(&BatchOrder) -> Option<Hindered> + Send + Sync + 'static,
) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tikkun.db");
    let store = open_sqlite(&file, Schema::Migrate).await.unwrap();
    let mut rows =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&file)).await.unwrap();
    let row = "insert into background_jobs (id, business_id, job_type, status, created_at, updated_at)
        values (27, 7, 'delete_receipts_all', 'queued', '2026-01-01 10:00:00', '2026-01-01 10:00:00');";
    sqlx::raw_sql(AssertSqlSafe(format!("{row} {sql}"))).execute(&mut rows).await.unwrap();

    let jobs = Arc::clone(&store.background_jobs);
    let often = Duration::from_millis(100);
    let tracker = StatusTracker {
        jobs: Arc::clone(&jobs),
        journal: Arc::default(),
        settings: TrackerSettings { progress_interval: often, heartbeat_interval: often, deadline: DEADLINE },
        counting_deadline: DEADLINE,
        turn: Turns::default().register("status_tracker"),
    };
    let tracker = tracker.start();
    let thread = actix_rt::Arbiter::current();
    let spec = SupervisorSpec::new("deletions", Strategy::OneForOne);
    let supervisor = Supervisor::top(spec, HealthTable::new(), &thread).unwrap();
    let asked = Arc::<Mutex<Vec<u32>>>::default();
    let first = Duration::from_secs(1);
    let receipts = Hindering {
        inner: Arc::clone(&store.receipts),
        asked: Arc::clone(&asked),
        hindrance: Box::new(hindrance),
    };
    let batches = BatchPorts {
        receipts: Arc::new(receipts),
        outbox: Arc::clone(&store.outbox),
        blobs: open_directory(folder.path()).await.unwrap(),
        tracker: tracker.clone().recipient(),
        transaction_deadline,
        storage_deadline: DEADLINE,
        outbox_backoff: Backoff { first, factor: 2.0, cap: first, jitter: 0.0 },
        clean_up: CleanUpMode::Off,
    };
    let read = Arc::clone(&jobs);
    let described = DeleteDescribed::new(settings.clone(), describes_nothing(&store, &batches, &thread));
    let team = DeletionTeam { tracker, jobs: read, deadline: DEADLINE, batches, supervisor, thread };
    let deletions = (DeleteReceipts::new(settings, team), described);
    let registry = registry(Registry::default(), deletions, false);
    assert!(
        registry.names().eq(names(false)),
        "what a process registers is what `doctor` takes for registered"
    );
    let kind = registry.find(&DELETION.into()).unwrap();
    let (args, ctx) = (Args::positional([json!(27)]), Rehearsal::new().context(DELETION));
    let result =
        tokio::time::timeout(DEADLINE, kind.run(&args, &ctx)).await.expect("waited for the deletion");
    // As the worker does when no retry is left.
    if let Err(error) = &result {
        kind.failed(&args, error, &ctx).await;
    }
    let row = jobs.get(BackgroundJobId(27)).await.unwrap().unwrap();
    let asked = asked.lock().clone();
    Ended { result, row, asked }
}

/// Live receipts `1..=n` of the tenant.
fn receipts(n: u32) -> String {
    format!(
        "with recursive ids(id) as (select 1 union all select id + 1 from ids where id < {n})
         insert into receipts (id, business_id, created_at) select id, 7, '2026-01-01 09:00:00' from ids;"
    )
}

/// A trigger that leaves such receipts as they are, without an error.
fn kept(condition: &str) -> String {
    format!(
        "create trigger guard before update on receipts when {condition} begin select raise(ignore); end;"
    )
}

#[actix_rt::test]
async fn a_batch_that_never_ends_in_time_comes_again_with_half_as_many_receipts() {
    let hangs = |order: &BatchOrder| (order.limit > MANAGED).then_some(Hindered::Hangs);
    let ended = deletion(settings(), TRANSACTION, "", hangs).await;
    assert!(matches!(ended.result, Ok(Completion::Finished(_))), "{:?}", ended.result);
    assert_eq!(ended.asked[..2], [FIRST, FIRST / 2]);
    assert_eq!(ended.row.status, Status::Completed);
}

#[actix_rt::test]
async fn a_limit_in_time_of_the_database_costs_no_failure_while_a_smaller_batch_is_possible() {
    let limited = |order: &BatchOrder| {
        let fault = Fault::new(FaultKind::Retryable, "delete a batch").at_a_limit();
        (order.limit > 1).then_some(Hindered::Ends(Err(fault)))
    };
    let settings = DeletionSettings { max_failures: 1, ..steady() };
    let ended = deletion(settings, DEADLINE, &receipts(3), limited).await;
    assert!(matches!(ended.result, Ok(Completion::Finished(_))), "{:?}", ended.result);
    assert_eq!(ended.asked[..8], [100, 50, 25, 12, 6, 3, 1, 1]);
    assert_eq!((ended.row.status, ended.row.progress.succeeded), (Status::Completed, 3));
    assert_eq!(ended.row.last_error, None);
}

#[actix_rt::test]
async fn a_limit_in_time_that_no_batch_keeps_spends_failures() {
    let limited = |_: &BatchOrder| {
        let fault = Fault::new(FaultKind::Retryable, "delete a batch").at_a_limit();
        Some(Hindered::Ends(Err(fault)))
    };
    let settings = DeletionSettings { max_failures: 1, ..steady() };
    let ended = deletion(settings, DEADLINE, &receipts(3), limited).await;
    assert_eq!(ended.asked, [100, 50, 25, 12, 6, 3, 1]);
    assert!(ended.result.unwrap_err().message.contains("1 batches in a row failed"));
}

#[actix_rt::test]
async fn a_deletion_that_changed_nothing_has_failed_with_the_first_reason() {
    let ended = deletion(steady(), DEADLINE, &(receipts(250) + &kept("true")), |_| None).await;
    let error = ended.result.unwrap_err();
    assert!(error.message.starts_with("none of 250 receipts was deleted; 250 of 250"), "{}", error.message);
    assert!(
        error.message.contains("the first, receipt 1: the database left it as it was"),
        "{}",
        error.message
    );
    assert_eq!(
        (ended.row.progress.failed, ended.asked.len()),
        (250, 5),
        "three batches, and a look after each pass"
    );
}

#[actix_rt::test]
async fn what_the_job_before_us_could_not_delete_is_no_error_once_it_is_deleted() {
    let left = "update background_jobs set total = 5, processed = 3, succeeded = 1, failed_count = 2,
            cursor = '{\"last_id\": 3}' where id = 27;
        update receipts set is_deleted = 1 where id = 3;";
    let ended = deletion(steady(), DEADLINE, &(receipts(5) + left), |_| None).await;
    assert!(matches!(ended.result, Ok(Completion::Finished(_))), "{:?}", ended.result);
    assert_eq!((ended.row.status, ended.row.progress.succeeded), (Status::Completed, 5));
    assert_eq!(ended.row.last_error, None);
}

#[actix_rt::test]
async fn a_deletion_that_changed_some_is_completed_and_says_what_is_missing() {
    let ended = deletion(steady(), DEADLINE, &(receipts(250) + &kept("old.id in (7, 201)")), |_| None).await;
    assert!(matches!(ended.result, Ok(Completion::Finished(_))), "{:?}", ended.result);
    let progress = ended.row.progress;
    assert_eq!((ended.row.status, progress.succeeded, progress.failed), (Status::Completed, 248, 2));
    let error = ended.row.last_error.unwrap();
    assert!(error.starts_with("2 of 250 receipts could not be deleted; the first, receipt 7: "), "{error}");
}

#[actix_rt::test]
async fn a_deletion_of_all_leaves_no_error_of_what_is_past() {
    let unlucky = Mutex::new(1);
    let deadlock = move |_: &BatchOrder| {
        let mut left = unlucky.lock();
        *left -= 1;
        let fault = || Fault::new(FaultKind::Retryable, "deadlock detected");
        (*left == 0).then(|| Hindered::Ends(Err(fault())))
    };
    let ended = deletion(steady(), DEADLINE, &receipts(3), deadlock).await;
    assert_eq!((ended.row.status, ended.row.progress.succeeded), (Status::Completed, 3));
    assert_eq!(ended.row.last_error, None, "the deadlock is over");
}

#[actix_rt::test]
async fn a_sweep_that_makes_no_progress_ends_and_keeps_to_the_throttle() {
    fn batch() -> Batch {
        Batch { first_id: 1, last_id: 3, selected: 3, deleted: 3, ..Batch::default() }
    }
    let again = |order: &BatchOrder| {
        (order.pass == Pass::Sweep).then(|| Hindered::Ends(Ok(BatchOutcome::Deleted(Box::new(batch())))))
    };
    let ended = deletion(steady(), DEADLINE, &receipts(3), again).await;
    let error = ended.result.unwrap_err();
    assert!(
        error.message.contains("the last sweep makes no progress: receipts such as 1"),
        "{}",
        error.message
    );
    assert_eq!(ended.asked.len(), 2 + 101);
    // A batch of the sweep is not full, and rests all the same: so it comes to the end of its time.
    let (throttle, runtime_limit) = (Duration::from_millis(10), Duration::from_millis(50));
    let settings = DeletionSettings { throttle, runtime_limit, ..steady() };
    let ended = deletion(settings, DEADLINE, &receipts(3), again).await;
    assert!(matches!(ended.result, Ok(Completion::Continue(_))), "{:?}", ended.result);
}

/// A row that stands as `state` says, and a trigger, as a policy of row security elsewhere, that lets no attempt begin.
async fn never_begun(state: &str) -> Ended {
    let bound = "create trigger bound before update on background_jobs when new.status = 'running'
        begin select raise(abort, 'no tenant is bound'); end;";
    deletion(steady(), DEADLINE, &format!("{state} {bound}"), |_| None).await
}

#[actix_rt::test]
async fn a_row_whose_attempt_cannot_begin_fails_with_the_databases_words() {
    let noted = |queue_job: &str, reason: &str| {
        format!(
            "insert into tikkun_background_jobs (background_job_id, attempt, queue_job, pause_reason)
             values (27, 1, '{queue_job}', {reason});"
        )
    };
    let paused = "update background_jobs set status = 'paused' where id = 27;";
    let resting = format!("{paused} {}", noted("rehearsal", "'continuation'"));
    for state in ["", &noted("rehearsal", "null"), &resting] {
        let ended = never_begun(state).await;
        let error = ended.row.last_error.unwrap_or_default();
        assert_eq!(ended.row.status, Status::Failed, "{state}");
        assert!(error.contains("no tenant is bound"), "{error}: {state}");
        assert_eq!(ended.result.unwrap_err().message, error, "{state}");
    }
    let of_others = [
        (noted("another", "null"), Status::Queued),
        ("update background_jobs set status = 'running' where id = 27;".to_owned(), Status::Running),
        ("update background_jobs set job_type = 'export' where id = 27;".to_owned(), Status::Queued),
    ];
    for (state, status) in of_others {
        let ended = never_begun(&state).await;
        assert!(ended.result.is_err(), "{state}");
        assert_eq!((ended.row.status, ended.row.last_error), (status, None), "{state}");
    }
}
