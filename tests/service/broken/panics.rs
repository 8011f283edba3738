//! A panic in each actor in turn: the running job ends correctly, and users can see what happened.

use serde_json::json;
use tikkun::job::{Args, NewJob};

use super::super::ground::Ground;

/// A deletion while one actor panics once: it ends right, and the restart shows with text and place.
async fn heals(role: &str, point: &str) {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().failing(&format!("{point}=1*panic")).start().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.failures), ("finished", 0), "{entry:?}");
    let (role, panic) = service
        .until("the panic to show", async |service| {
            let role = service.role(role);
            let panic = role["last_panic"].clone();
            panic.is_object().then_some((role, panic))
        })
        .await;
    assert_eq!((&role["panics"], &role["restarts"]), (&json!(1), &json!(1)), "{role}");
    assert!(panic["message"].as_str().unwrap().contains(point), "{panic}");
    assert!(panic["place"].as_str().unwrap().contains(".rs:"), "{panic}");
    service.get("/readyz").expect(200);
    service.get("/healthz").expect(200);
}

macro_rules! heals {
    ($($name:ident: $role:literal at $point:literal;)*) => {
        $(#[tokio::test] async fn $name() { heals($role, $point).await; })*
    };
}

heals! {
    listener_that_panics_while_it_settles_loses_no_end: "queue_listener" at "queue_listener.settle";
    listener_that_panics_after_a_fetch_loses_no_job: "queue_listener" at "queue_listener.fetched";
    listener_that_panics_at_its_start_starts_again: "queue_listener" at "queue_listener.started";
    runner_that_panics_gives_its_job_back: "job_runner" at "job_runner.run";
    runner_that_panics_at_its_start_starts_again: "job_runner" at "job_runner.started";
    batch_that_panics_is_asked_again: "deletion_batch" at "deletion_batch.run";
    batch_that_panics_at_its_start_starts_again: "deletion_batch" at "deletion_batch.started";
    tracker_that_panics_at_a_beginning_is_asked_again: "status_tracker" at "status_tracker.begin";
    tracker_that_panics_at_an_end_is_asked_again: "status_tracker" at "status_tracker.end";
    tracker_that_panics_over_progress_forgets_none: "status_tracker" at "status_tracker.progressed";
    tracker_that_panics_at_its_start_starts_again: "status_tracker" at "status_tracker.started";
    scheduler_that_panics_ticks_on: "scheduler" at "scheduler.tick";
    scheduler_that_panics_at_its_start_starts_again: "scheduler" at "scheduler.started";
    rescuer_that_panics_looks_on: "rescuer" at "rescuer.tick";
    rescuer_that_panics_at_its_start_starts_again: "rescuer" at "rescuer.started";
    runner_watch_that_panics_looks_on: "runner_watch" at "runner_watch.look";
    runner_watch_that_panics_at_its_start_starts_again: "runner_watch" at "runner_watch.started";
    lease_keeper_that_panics_renews_on: "lease_keeper" at "lease_keeper.renew";
    lease_keeper_that_panics_at_its_start_starts_again: "lease_keeper" at "lease_keeper.started";
}

#[tokio::test]
async fn a_job_whose_carrier_panics_goes_back_to_its_queue() {
    let ground = Ground::new().await;
    let job = NewJob::new("carried", "default", "tikkun.noop", Args::default());
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let mut service = start.failing("queue_listener.carried=1*panic").start().await;
    service
        .until("the job to run again and end", async |_| {
            let entry = ground.entries().await.pop();
            entry.filter(|entry| (entry.state.as_str(), entry.attempt) == ("finished", 2))
        })
        .await;
    ground.drained(&mut service).await;
}

#[tokio::test]
async fn a_job_under_which_its_runner_always_breaks_fails_in_the_end() {
    let ground = Ground::new().await;
    let job = NewJob::new("poison", "default", "tikkun.noop", Args::default());
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let mut service = start.failing("job_runner.run=panic").start().await;
    let entry = service
        .until("the job to fail", async |_| {
            ground.entries().await.pop().filter(|entry| entry.state == "failed")
        })
        .await;
    assert_eq!(entry.attempt, 1, "{entry:?}");
    service.get("/healthz").expect(200);
}

#[tokio::test]
async fn panic_inside_a_batch_rolls_it_back_and_is_asked_again() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().failing("deletion.before_commit=1*panic").start().await;
    let job = service.delete_all(7);
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.last_error), (1, None));
    // Under the store's port it is a refusal of the store: no actor breaks.
    let told = service.lines("panic at");
    assert!(
        told.iter().any(|line| line.contains("deletion.before_commit") && line.contains(".rs:")),
        "{told:?}"
    );
    assert_eq!((&service.role("deletion_batch")["panics"], service.restarts()), (&json!(0), 0));
}

#[tokio::test]
async fn batches_that_fail_in_a_row_fail_the_row_and_its_queue_job() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let start = ground.service().set("TIKKUN_DELETION__MAX_FAILURES", "2");
    let mut service = start.failing("deletion_batch.run=1*off->panic").start().await;
    let job = service.delete_all(7);
    let row = ground.becomes(&mut service, job, "failed").await;
    assert!(row.last_error.as_deref().unwrap().contains("2 batches in a row failed"), "{row:?}");
    assert_eq!((row.processed, row.attempt), (20, 1));
    assert!(row.finished_at.is_some());
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!(entry.state, "failed", "it is not stored as a success");
    service
        .says(&format!("❌ JOB FAILED queue='maintenance' job_id={job} function=delete_receipts_batch_job"))
        .await;
    ground.drained(&mut service).await;
    ground.is_consistent().await;
    // Nothing is left that would block the next request, which goes on with what is left.
    let again = ground.service().start().await.delete_all(7);
    assert_ne!(again, job);
    assert_eq!(ground.row(again).await.total, 20);
}

#[tokio::test]
async fn tracker_that_panics_with_five_beginnings_in_flight_loses_none() {
    let ground = Ground::new().await;
    let mut tenants = Vec::new();
    for id in [10, 20, 30, 40, 50] {
        tenants.push(ground.tenant(id, 40).await);
    }
    let start = ground.service().set("TIKKUN_WORKER__SLOTS", "5");
    let mut service = start.failing("status_tracker.begin=4*off->1*panic").start().await;
    let mut jobs = Vec::new();
    for tenant in &tenants {
        jobs.push(ground.plain_row(tenant).await);
    }
    // Four beginnings wait for the database when the fifth breaks the tracker.
    let lock = ground.lock("tikkun.db").await;
    for job in &jobs {
        ground.enqueue(&format!("entry-{job}"), *job).await;
    }
    service.says("actor failed; it begins again").await;
    lock.release().await;
    for (job, tenant) in jobs.iter().zip(&tenants) {
        let row = ground.becomes(&mut service, *job, "completed").await;
        ground.drained(&mut service).await;
        assert_eq!((row.processed, row.succeeded), (tenant.receipts, tenant.receipts));
        let entry = ground.carrier_ended(&mut service, *job).await;
        assert_eq!((entry.state.as_str(), entry.failures), ("finished", 0));
    }
    for (job, tenant) in jobs.iter().zip(&tenants) {
        ground.is_deleted(tenant, &ground.row(*job).await).await;
    }
    assert_eq!(service.role("status_tracker")["restarts"], 1);
    assert_eq!(service.restarts(), 1, "nobody else begins again");
}

#[tokio::test]
async fn listener_that_panics_with_ends_in_flight_settles_each_once() {
    let ground = Ground::new().await;
    let jobs: Vec<_> = (0..6)
        .map(|i| NewJob::new(format!("plain-{i}"), "default", "no.such.thing", Args::default()))
        .collect();
    ground.broker().await.enqueue(&jobs).await.unwrap();
    // Six jobs are slow enough for the queue to be locked before the first of them ends. The first try to write ends is
    // refused, and meanwhile the others come; the second breaks the listener.
    let points = "job_runner.run=sleep(700);queue_listener.settle=1*off->1*panic";
    let mut service = ground.service().set("TIKKUN_WORKER__SLOTS", "6").failing(points).start().await;
    let started = |state: &str| format!("select count(*) from tikkun_jobs where state = '{state}'");
    let mut queue = ground.connect("queue.db").await;
    service
        .until("six jobs in hand", async |_| {
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(started("started")))
                .fetch_one(&mut queue)
                .await
                .unwrap();
            (count == 6).then_some(())
        })
        .await;
    let lock = ground.lock("queue.db").await;
    service.says("actor failed; it begins again").await;
    lock.release().await;
    service
        .until("six failed jobs", async |_| {
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(started("failed")))
                .fetch_one(&mut queue)
                .await
                .unwrap();
            (count == 6).then_some(())
        })
        .await;
    for entry in ground.entries().await {
        assert_eq!((entry.attempt, entry.failures, entry.orphaned), (1, 1, 0), "{entry:?}");
    }
    assert_eq!(service.role("queue_listener")["restarts"], 1);
}

#[tokio::test]
async fn process_that_cannot_heal_is_not_ready_drains_and_leaves_with_70() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    // The second batch takes its time: the rescuer breaks for good during it. It blocks its thread, so no
    // clean-up may be under way there, in the middle of a transaction that the rescuer would wait for.
    let points = "rescuer.tick=8*off->panic;deletion.before_transaction=1*off->1*sleep(4000)";
    let start = ground.service().set("TIKKUN_SUPERVISION__MAX_RESTARTS", "2");
    let start = start.set("TIKKUN_DELETION__STORAGE_DELETE", "false");
    let mut service = start.set("TIKKUN_RESCUER__INTERVAL", "250ms").failing(points).start().await;
    let job = service.delete_all(7);
    service.says("restarts do not help").await;
    let answer = service.get("/readyz");
    assert_eq!((answer.status, answer.json()["status"].as_str()), (503, Some("leaving")));
    assert_eq!(service.process.exited().await.code(), Some(70));
    let row = ground.row(job).await;
    assert_eq!(row.status, "paused", "{row:?}");
    assert!(row.processed < 60, "it drained at the end of its batch: {row:?}");
    let mut next = ground.service().start().await;
    ground.completed(&mut next, job, &tenant).await;
    let entry = ground.carrier_ended(&mut next, job).await;
    assert_eq!((entry.failures, entry.orphaned), (0, 0), "a drained job is no orphan");
}
