//! A draining process stops at the next safe point, and the next process continues from there.

use rustix::process::Signal;
use serde_json::json;
use tikkun::job::{Args, NewJob};

use super::ground::{Entry, Ground};
use super::process::{Process, Service};

/// A job that knows no safe point runs here from now on.
async fn deaf(ground: &Ground, service: &mut Service, seconds: f64) {
    let args = Args::positional([json!(seconds), json!(true)]);
    let job = NewJob::new("deaf", "default", "tikkun.sleep", args);
    ground.broker().await.enqueue(&[job]).await.unwrap();
    service.says("JOB PICKED queue='default' job_id=deaf").await;
}

async fn end_of_deaf(ground: &Ground) -> Entry {
    ground.entries().await.into_iter().find(|entry| entry.id == "deaf").unwrap()
}

#[tokio::test]
async fn asked_to_leave_it_lets_a_job_without_safe_points_end() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    deaf(&ground, &mut service, 2.0).await;
    assert_eq!(service.terminate().await, Some(0));
    let entry = end_of_deaf(&ground).await;
    assert_eq!(
        (entry.state.as_str(), entry.attempt, entry.failures),
        ("finished", 1, 0),
        "{:?}",
        entry.error
    );
}

#[tokio::test]
async fn asked_to_leave_it_cuts_a_job_off_that_does_not_end_in_time_and_says_so() {
    let ground = Ground::new().await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let mut service = start.set("TIKKUN_SERVICE__DRAIN_TIMEOUT", "2s").start().await;
    deaf(&ground, &mut service, 3600.0).await;
    assert_eq!(service.terminate().await, Some(0));
    let entry = end_of_deaf(&ground).await;
    assert_eq!((entry.state.as_str(), entry.orphaned), ("failed", 0));
    assert!(
        entry
            .error
            .unwrap()
            .contains("its process had to leave, and the job did not end within the 1s 500ms")
    );
}

#[tokio::test]
async fn asked_twice_it_leaves_at_once_and_the_next_one_rescues_the_job_by_its_policy() {
    let ground = Ground::new().await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let mut service = start.clone().set("TIKKUN_SERVICE__DRAIN_TIMEOUT", "1h").start().await;
    deaf(&ground, &mut service, 3600.0).await;
    service.signal(Signal::TERM);
    service.says("draining: no new jobs").await;
    assert_eq!(service.terminate().await, Some(0));
    assert_eq!(end_of_deaf(&ground).await.state, "started");
    let mut next = start.start().await;
    let entry = next
        .until("the job's end", async |_| {
            Some(end_of_deaf(&ground).await).filter(|entry| entry.state == "failed")
        })
        .await;
    assert!(entry.error.unwrap().contains("died while it ran this job"));
}

#[tokio::test]
async fn lost_on_deploy_nothing_a_resting_job_leaves_at_once_and_goes_on() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    assert_eq!(service.terminate().await, Some(0));
    let row = ground.row(job).await;
    assert_eq!((row.status.as_str(), row.pause_reason.as_deref()), ("paused", Some("continuation")));
    assert_eq!((row.processed, row.attempt), (20, 1));
    let entry = ground.carrier(job).await;
    assert_eq!((entry.state.as_str(), entry.failures, entry.orphaned), ("queued", 0, 0));
    let mut next = ground.service().start().await;
    let row = ground.completed(&mut next, job, &tenant).await;
    assert_eq!(row.attempt, 2);
    let entry = ground.carrier_ended(&mut next, job).await;
    assert_eq!((entry.state.as_str(), entry.attempt, entry.failures, entry.orphaned), ("finished", 2, 0, 0));
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn asked_to_leave_during_a_batch_it_ends_that_batch_and_no_other() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 100).await;
    let start = ground.service().failing("deletion.after_mark=1*off->1*sleep(1500)");
    let mut service = start.start().await;
    let job = service.delete_all(7);
    service.says("Processing batch: 20 receipts (IDs 70021-70040)").await;
    assert_eq!(service.terminate().await, Some(0));
    let row = ground.row(job).await;
    assert_eq!((row.processed, row.status.as_str()), (40, "paused"));
    let mut next = ground.service().start().await;
    assert_eq!(ground.completed(&mut next, job, &tenant).await.attempt, 2);
    assert_eq!(ground.carrier_ended(&mut next, job).await.failures, 0);
}

#[tokio::test]
async fn runtime_limit_makes_room_and_spends_no_retry() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 100).await;
    let start = ground.service().set("TIKKUN_DELETION__RUNTIME_LIMIT", "1ms");
    let mut service = start.start().await;
    let job = service.delete_all(7);
    let row = ground.completed(&mut service, job, &tenant).await;
    assert!(row.attempt >= 5, "each batch is an attempt of its own: {row:?}");
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.failures, entry.orphaned), ("finished", 0, 0));
    assert!(!service.lines("⏱️ Runtime limit reached (0s) - pausing job").is_empty());
}

#[tokio::test]
async fn asked_to_leave_during_an_outage_it_leaves_and_the_next_one_goes_on() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "1s").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    let lock = ground.lock("tikkun.db").await;
    service.says("⏳ [RECEIPTS_DELETE] Backing off 2s after 1 failures").await;
    assert_eq!(service.terminate().await, Some(0));
    lock.release().await;
    let row = ground.row(job).await;
    assert_eq!((row.status.as_str(), row.attempt), ("running", 1), "nobody could write that it rests");
    assert_eq!(ground.carrier(job).await.state, "queued");
    let mut next = ground.service().start().await;
    assert_eq!(ground.completed(&mut next, job, &tenant).await.attempt, 2);
    assert_eq!(ground.carrier_ended(&mut next, job).await.failures, 0);
}

#[tokio::test]
async fn long_job_lets_a_short_one_pass() {
    let ground = Ground::new().await;
    let (long, short) = (ground.tenant(10, 100).await, ground.tenant(20, 20).await);
    let rows = (ground.plain_row(&long).await, ground.plain_row(&short).await);
    ground.enqueue("long", rows.0).await;
    ground.enqueue("short", rows.1).await;
    let start = ground.service().set("TIKKUN_DELETION__RUNTIME_LIMIT", "1ms");
    let mut service = start.set("TIKKUN_WORKER__SLOTS", "1").start().await;
    let long_row = ground.becomes(&mut service, rows.0, "completed").await;
    let short_row = ground.becomes(&mut service, rows.1, "completed").await;
    assert!(short_row.finished_at < long_row.finished_at, "{short_row:?} {long_row:?}");
    ground.drained(&mut service).await;
    ground.is_deleted(&long, &long_row).await;
    ground.is_deleted(&short, &short_row).await;
}

#[tokio::test]
async fn hangup_and_quit_drain_and_signals_without_a_meaning_are_ignored() {
    for signal in [Signal::HUP, Signal::QUIT] {
        let ground = Ground::new().await;
        // Whoever runs the tests may have had them ignore a hangup, and that is kept.
        let start = ground.service().under(&["env", "--default-signal=HUP"]);
        let mut service = start.set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
        deaf(&ground, &mut service, 2.0).await;
        for (nothing, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
            service.signal(nothing);
            service.says(&format!("it is ignored signal=\"{name}\"")).await;
        }
        service.signal(signal);
        assert_eq!(service.process.exited().await.code(), Some(0), "{}", service.process.tail());
        let entry = end_of_deaf(&ground).await;
        assert_eq!((entry.state.as_str(), entry.attempt), ("finished", 1), "{:?}", entry.error);
    }
}

#[tokio::test]
async fn hangup_is_heard_while_the_start_waits_for_a_back_end() {
    let ground = Ground::new().await;
    let start = ground.service().set("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    let mut process = start.under(&["env", "--default-signal=HUP"]).spawn();
    let waits = async |process: &mut Process| process.lines("waits for its back ends").pop();
    process.until("a start that waits", waits).await;
    process.signal(Signal::USR1);
    process.signal(Signal::HUP);
    assert_eq!(process.exited().await.code(), Some(0), "{}", process.tail());
    assert_eq!(process.lines("tikkun has left before it had started signal=\"SIGHUP\"").len(), 1);
}

#[tokio::test]
async fn hangup_that_was_ignored_from_the_start_stays_ignored() {
    let ground = Ground::new().await;
    let mut service = ground.service().under(&["env", "--ignore-signal=HUP"]).start().await;
    service.until("readiness", async |service| (service.get("/readyz").status == 200).then_some(())).await;
    service.signal(Signal::HUP);
    service.signal(Signal::USR1);
    service.says("it is ignored signal=\"SIGUSR1\"").await;
    service.call("GET", "/readyz", &[]).expect(200);
    assert_eq!(service.terminate().await, Some(0));
    assert_eq!(service.lines("draining").len(), 1);
}

#[tokio::test]
async fn health_finds_a_service_on_every_address_of_both_protocols() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_HTTP__BIND", "::").start().await;
    service.until("readiness", async |service| (service.get("/readyz").status == 200).then_some(())).await;
    let port = service.address.port();
    let over_ipv4 = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    super::client::try_call(over_ipv4, "GET", "/healthz", &[]).expect("an answer over IPv4").expect(200);
    let health = std::process::Command::new(env!("CARGO_BIN_EXE_tikkun"))
        .arg("health")
        .env_clear()
        .env("TIKKUN_HTTP__BIND", "::")
        .env("TIKKUN_HTTP__PORT", port.to_string())
        .env("INTERNAL_SECRET", super::process::SECRET)
        .output()
        .unwrap();
    assert!(health.status.success(), "{health:?}");
}
