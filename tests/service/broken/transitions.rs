//! Every line of CONTRACT's table "Who moves the status", killed between any two of its steps: the next
//! process makes row and queue job consistent, the deletion ends correctly, and a further check changes
//! nothing.

use sqlx::{AssertSqlSafe, Row as _};

use super::super::client;
use super::super::ground::{Ground, Tenant};
use super::super::process::{SECRET, Service, Start};

/// What makes the transition happen.
enum Act {
    /// A request comes in over HTTP.
    Request,
    /// A request comes in while the queue cannot be written to.
    RequestWithoutQueue,
    /// A person wishes this for a deletion that rests between two batches.
    Wish(&'static str),
    /// A person wishes this for a deletion that waits in its queue.
    WishWhileQueued(&'static str),
    /// A person resumes what a person paused.
    Resume,
    /// The process is told to leave between two batches.
    Drain,
    /// The web application's stale rule fails a deletion that is alive.
    StaleRule,
    /// Another process was killed between two batches.
    Takeover,
    /// A row has no entry.
    LostEntry,
}

/// Where row and entry must have come in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Completed,
    /// By a person; resumed, it completes.
    Paused,
    Cancelled,
    Failed,
}

const RECEIPTS: i64 = 60;

/// One line: claim, what the doomed process is set to, where it dies, what happens, how it must end.
macro_rules! table {
    ($($claim:ident: [$($key:literal = $value:literal),*] $points:literal, $act:expr => $end:expr;)*) => {$(
        #[tokio::test]
        async fn $claim() {
            Case { settings: &[$(($key, $value)),*], points: $points, act: $act, end: $end }.holds().await;
        }
    )*};
}

table! {
    // – → queued, by the facade: row first, then the entry.
    request_killed_before_its_entry: [] "requests.requested=return", Act::Request => End::Completed;
    request_killed_before_its_answer: [] "requests.enqueued=return", Act::Request => End::Completed;
    request_killed_before_the_row_is_failed: ["HTTP__REQUEST_TIMEOUT" = "2s"] "requests.not_enqueued=return",
        Act::RequestWithoutQueue => End::Completed;
    // queued → running.
    start_killed_after_the_fetch: [] "queue.fetch.after_commit=return", Act::Request => End::Completed;
    start_killed_before_the_row_runs: [] "status_tracker.begin=return", Act::Request => End::Completed;
    start_killed_after_the_row_runs: [] "status_tracker.begun=return", Act::Request => End::Completed;
    // running → running, after a crash.
    takeover_killed_before_the_entry_is_back: [] "rescuer.decided=return", Act::Takeover => End::Completed;
    takeover_killed_after_the_entry_is_back: [] "queue.settle.after_commit=return", Act::Takeover => End::Completed;
    takeover_killed_after_the_row_runs_anew: [] "status_tracker.begun=return", Act::Takeover => End::Completed;
    // running → paused, for a continuation.
    continuation_killed_after_the_row_rests: ["DELETION__RUNTIME_LIMIT" = "1ms"] "status_tracker.ended=return",
        Act::Request => End::Completed;
    continuation_killed_before_the_entry_is_back: ["DELETION__RUNTIME_LIMIT" = "1ms"] "queue_listener.settle=return",
        Act::Request => End::Completed;
    continuation_killed_after_the_entry_is_back: ["DELETION__RUNTIME_LIMIT" = "1ms"] "queue.settle.after_commit=return",
        Act::Request => End::Completed;
    drain_killed_after_the_row_rests: ["DELETION__THROTTLE" = "10m"] "status_tracker.ended=return",
        Act::Drain => End::Completed;
    drain_killed_before_the_entry_is_back: ["DELETION__THROTTLE" = "10m"] "queue.settle.before_commit=return",
        Act::Drain => End::Completed;
    // running → paused at the limit, for a person.
    limit_killed_after_the_row_rests: ["DELETION__RUNTIME_LIMIT" = "1ms", "DELETION__AT_RUNTIME_LIMIT" = "pause"]
        "status_tracker.ended=return", Act::Request => End::Paused;
    // queued, running → paused, by a person.
    pause_killed_before_its_answer: ["DELETION__THROTTLE" = "10m"] "status_tracker.wished=return",
        Act::Wish("pause") => End::Paused;
    pause_killed_before_the_entry_ends: ["DELETION__THROTTLE" = "10m"] "queue_listener.settle=return",
        Act::Wish("pause") => End::Paused;
    pause_in_the_queue_killed_before_its_answer: [] "status_tracker.wished=return",
        Act::WishWhileQueued("pause") => End::Paused;
    // paused by a person → queued.
    resume_killed_before_its_entry: ["DELETION__THROTTLE" = "10m"] "facade.resumed=return", Act::Resume => End::Completed;
    resume_killed_before_its_answer: ["DELETION__THROTTLE" = "10m"] "requests.enqueued=1*off->return",
        Act::Resume => End::Completed;
    // queued, running, paused → cancelled.
    cancel_killed_before_its_answer: ["DELETION__THROTTLE" = "10m"] "status_tracker.wished=return",
        Act::Wish("cancel") => End::Cancelled;
    cancel_killed_before_the_entry_ends: ["DELETION__THROTTLE" = "10m"] "queue.settle.before_commit=return",
        Act::Wish("cancel") => End::Cancelled;
    cancel_in_the_queue_killed_before_its_answer: [] "status_tracker.wished=return",
        Act::WishWhileQueued("cancel") => End::Cancelled;
    // running → completed.
    completion_killed_before_the_row_is_told: [] "deletion.before_completed=return", Act::Request => End::Completed;
    completion_killed_after_the_row_is_told: [] "status_tracker.ended=return", Act::Request => End::Completed;
    completion_killed_before_the_entry_ends: [] "queue.settle.before_commit=return", Act::Request => End::Completed;
    completion_killed_after_the_entry_ended: [] "queue.settle.after_commit=return", Act::Request => End::Completed;
    // running → failed: a batch that fails, and no patience.
    failure_killed_before_the_row_is_told: ["DELETION__MAX_FAILURES" = "1"]
        "deletion_batch.run=panic;status_tracker.end=return", Act::Request => End::Completed;
    failure_killed_after_the_row_is_told: ["DELETION__MAX_FAILURES" = "1"]
        "deletion_batch.run=panic;status_tracker.ended=return", Act::Request => End::Failed;
    failure_killed_before_the_entry_ends: ["DELETION__MAX_FAILURES" = "1"]
        "deletion_batch.run=panic;queue_listener.settle=return", Act::Request => End::Failed;
    // failed by the stale rule → running.
    revival_killed_after_the_row_lives: ["DELETION__THROTTLE" = "1s"] "status_tracker.revived=return",
        Act::StaleRule => End::Completed;
    // Reconciliation itself.
    healing_killed_before_the_entry: [] "reconcile.noted=return", Act::LostEntry => End::Completed;
}

struct Case {
    settings: &'static [(&'static str, &'static str)],
    points: &'static str,
    act: Act,
    end: End,
}

impl Case {
    async fn holds(&self) {
        let ground = Ground::new().await;
        let tenant = ground.tenant(7, RECEIPTS).await;
        let mut doomed = soon(&ground);
        for (key, value) in self.settings {
            doomed = doomed.set(&format!("TIKKUN_{key}"), value);
        }
        self.act(&ground, &tenant, &doomed.failing(self.points)).await;

        let mut service = soon(&ground).start().await;
        let job = ground.number("select id from background_jobs").await;
        self.ends(&ground, &mut service, &tenant, job).await;
        ground.certified(&mut service).await;
        let before = dump(&ground).await;
        looks_again(&ground, &mut service).await;
        assert_eq!(dump(&ground).await, before, "the second look changed something");
    }

    /// Lets the doomed process come to the point where it dies.
    async fn act(&self, ground: &Ground, tenant: &Tenant, doomed: &Start) {
        match self.act {
            Act::Request => asked(doomed.start().await, "delete_all").await,
            Act::RequestWithoutQueue => {
                let service = doomed.start().await;
                let lock = ground.lock("queue.db").await;
                asked(service, "delete_all").await;
                lock.release().await;
            }
            Act::Wish(wish) => {
                let (service, job) = at_rest(ground, doomed).await;
                asked(service, &format!("jobs/{job}/{wish}")).await;
            }
            Act::WishWhileQueued(wish) => {
                let service = doomed.clone().set("RQ_QUEUES", "high").start().await;
                let job = service.delete_all(tenant.id);
                asked(service, &format!("jobs/{job}/{wish}")).await;
            }
            Act::Resume => {
                let (mut service, job) = at_rest(ground, doomed).await;
                service.owner(tenant.id, "POST", &format!("/api/receipts/jobs/{job}/pause")).expect(200);
                ground.carrier_ended(&mut service, job).await;
                asked(service, &format!("jobs/{job}/resume")).await;
            }
            Act::Drain => {
                let (mut service, _) = at_rest(ground, doomed).await;
                service.signal(rustix::process::Signal::TERM);
                service.dies().await;
            }
            Act::StaleRule => {
                let (mut service, job) = at_rest(ground, doomed).await;
                ground.run(format!("update background_jobs set status = 'failed' where id = {job}")).await;
                service.dies().await;
            }
            Act::Takeover => {
                let (mut first, _) =
                    at_rest(ground, &soon(ground).set("TIKKUN_DELETION__THROTTLE", "10m")).await;
                first.process.kill();
                assert_eq!(doomed.spawn().exited().await.code(), None, "it was to be killed");
            }
            Act::LostEntry => {
                ground.plain_row(tenant).await;
                assert_eq!(doomed.spawn().exited().await.code(), None, "it was to be killed");
            }
        }
    }

    /// Row and entry agree, and exactly what was to happen has happened.
    async fn ends(&self, ground: &Ground, service: &mut Service, tenant: &Tenant, job: i64) {
        let (status, state, result) = match self.end {
            End::Completed => ("completed", "finished", None),
            End::Paused => ("paused", "finished", Some(r#"{"paused":true}"#)),
            End::Cancelled => ("cancelled", "finished", Some(r#"{"cancelled":true}"#)),
            End::Failed => ("failed", "failed", None),
        };
        let row = ground.becomes(service, job, status).await;
        let entry = ground.carrier_ended(service, job).await;
        assert_eq!(
            (entry.state.as_str(), entry.failures),
            (state, i64::from(self.end == End::Failed)),
            "{entry:?}"
        );
        if let Some(result) = result {
            assert_eq!(entry.result.as_deref(), Some(result));
        }
        if self.end == End::Failed {
            assert_eq!(entry.error, row.last_error, "the entry says what the row says");
        }
        ground.drained(service).await;
        ground.is_consistent().await;
        assert_eq!(
            ground.live(tenant.id).await,
            RECEIPTS - row.processed,
            "what was counted is what is gone"
        );
        if self.end == End::Paused {
            service.owner(tenant.id, "POST", &format!("/api/receipts/jobs/{job}/resume")).expect(200);
        }
        if matches!(self.end, End::Paused | End::Completed) {
            ground.completed(service, job, tenant).await;
            ground.carrier_ended(service, job).await;
        }
    }
}

/// Gaps are closed soon.
fn soon(ground: &Ground) -> Start {
    ground
        .service()
        .set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms")
        .set("TIKKUN_RESCUER__RECONCILE_GRACE", "300ms")
}

/// A deletion that has done one batch and rests.
async fn at_rest(ground: &Ground, start: &Start) -> (Service, i64) {
    let mut service = start.start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    (service, job)
}

/// Asks for something of which the process dies, before or after its answer.
async fn asked(mut service: Service, path: &str) {
    let headers =
        [("X-Internal-Secret", SECRET), ("X-Business-Id", "7"), ("X-User-Id", "5"), ("X-User-Role", "owner")];
    let (at, path) = (service.address, format!("/api/receipts/{path}"));
    drop(client::try_call(at, "POST", &path, &headers));
    service.dies().await;
}

/// Waits until the reconciliation has been through twice more.
async fn looks_again(ground: &Ground, service: &mut Service) {
    for _ in 0..3 {
        let before = last_look(ground).await;
        service
            .until("the next reconciliation", async |_| (last_look(ground).await > before).then_some(()))
            .await;
    }
}

async fn last_look(ground: &Ground) -> i64 {
    let mut queue = ground.connect("queue.db").await;
    sqlx::query_scalar("select last_tick from tikkun_roles where role = 'reconcile'")
        .fetch_one(&mut queue)
        .await
        .unwrap()
}

/// All rows, notes and entries, as they stand.
async fn dump(ground: &Ground) -> Vec<String> {
    let mut lines = Vec::new();
    for (file, table) in [
        ("tikkun.db", "background_jobs"),
        ("tikkun.db", "tikkun_background_jobs"),
        ("queue.db", "tikkun_jobs"),
    ] {
        let mut connection = ground.connect(file).await;
        let columns = format!("select name from pragma_table_info('{table}')");
        let columns: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(columns)).fetch_all(&mut connection).await.unwrap();
        let whole = format!("select concat_ws('|', {}) from {table}", columns.join(", "));
        let rows = sqlx::query(AssertSqlSafe(whole)).fetch_all(&mut connection).await.unwrap();
        lines.extend(rows.iter().map(|row| format!("{table}: {}", row.get::<String, _>(0))));
    }
    lines
}
