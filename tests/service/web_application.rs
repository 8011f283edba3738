//! The web application changes the same rows with plain SQL and without notice.

use serde_json::{Value, json};

use super::ground::Ground;

fn result(text: Option<&str>) -> Value {
    serde_json::from_str(text.unwrap()).unwrap()
}

#[tokio::test]
async fn cancel_in_plain_sql_stops_the_job_and_nothing_is_overwritten() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground
        .run(format!(
            "update background_jobs set status = 'cancelled', finished_at = '2026-11-24 10:00:00.000000' where id = {job}"
        ))
        .await;
    let cancelled = ground.row(job).await;
    service.says(&format!("🛑 Job {job} was cancelled - stopping")).await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!(
        (entry.state.as_str(), result(entry.result.as_deref())),
        ("finished", json!({ "cancelled": true }))
    );
    ground.drained(&mut service).await;
    assert_eq!(ground.row(job).await, cancelled, "the row is not ours any more");
    assert_eq!(ground.live(7).await, 40);
    ground.is_consistent().await;
}

#[tokio::test]
async fn pause_and_resume_in_plain_sql_rest_and_go_on() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "2s").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground.run(format!("update background_jobs set status = 'paused' where id = {job}")).await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!(
        (entry.state.as_str(), result(entry.result.as_deref())),
        ("finished", json!({ "paused": true }))
    );
    let row = ground.row(job).await;
    assert_eq!((row.status.as_str(), row.processed), ("paused", 20));
    ground.run(format!("update background_jobs set status = 'queued' where id = {job}")).await;
    ground.enqueue("resumed", job).await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.queue_job.as_deref()), (2, Some("resumed")));
}

#[tokio::test]
async fn row_that_is_merged_into_another_tenant_while_it_rests_fails_and_deletes_nothing_of_that_one() {
    let ground = Ground::new().await;
    ground.tenant(6, 60).await;
    ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "2s").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground.run(format!("update background_jobs set status = 'paused' where id = {job}")).await;
    ground.carrier_ended(&mut service, job).await;
    for table in ["background_jobs", "receipts", "attachments"] {
        ground.run(format!("update {table} set business_id = 6 where business_id = 7")).await;
    }
    let live = ground.live(6).await;
    ground.run(format!("update background_jobs set status = 'queued' where id = {job}")).await;
    ground.enqueue("resumed", job).await;
    let row = ground.becomes(&mut service, job, "failed").await;
    assert_eq!((row.processed, ground.live(6).await), (20, live));
    let error = row.last_error.unwrap();
    assert!(error.starts_with("the receipts of business 7 were to be deleted, but"), "{error}");
    assert_eq!(ground.carrier_ended(&mut service, job).await.state, "failed");
}

#[tokio::test]
async fn job_failed_by_the_stale_rule_while_alive_is_revived_once() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "1s").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground
        .run(format!(
            "update background_jobs set status = 'failed', last_error = 'stale', finished_at = '2026-11-24 10:00:00'
             where id = {job}"
        ))
        .await;
    ground.completed(&mut service, job, &tenant).await;
    assert_eq!(service.lines("was marked as failed from outside while it was alive; it goes on").len(), 1);
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.failures), ("finished", 0));
}

#[tokio::test]
async fn revived_row_is_ours_again_and_its_heart_beats() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground
        .run(format!("update background_jobs set status = 'failed', heartbeat_at = null where id = {job}"))
        .await;
    // It notices during the throttle, does its next batch, and rests again.
    ground.processed(&mut service, job, 40).await;
    ground.run(format!("update background_jobs set heartbeat_at = null where id = {job}")).await;
    let beats = format!("select count(*) from background_jobs where id = {job} and heartbeat_at is not null");
    service.until("a heartbeat", async |_| (ground.number(beats.clone()).await == 1).then_some(())).await;
    assert_eq!(ground.row(job).await.processed, 40, "no batch moved it");
}

#[tokio::test]
async fn row_enqueued_twice_runs_once_and_the_second_says_so() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "500ms").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground.enqueue("again", job).await;
    service.says(&format!("🛑 Job {job} is carried by another queue job already - nothing to do")).await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 1);
    ground.carrier_ended(&mut service, job).await;
    let entries = ground.entries().await;
    let second = entries.iter().find(|entry| entry.id == "again").unwrap();
    let expected = json!({ "duplicate": true, "of": row.queue_job });
    assert_eq!((second.state.as_str(), result(second.result.as_deref())), ("finished", expected));
    ground.enqueue("late", job).await;
    let late = service
        .until("the late one to end", async |_| {
            let entries = ground.entries().await;
            entries.into_iter().find(|entry| entry.id == "late" && entry.state == "finished")
        })
        .await;
    assert_eq!(result(late.result.as_deref()), json!({ "skipped": "completed" }));
}

#[tokio::test]
async fn row_without_cursor_covers_what_existed_when_it_was_made() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    ground
        .run(
            "insert into receipts (id, business_id, created_at) values (70999, 7, datetime('now', '+30 seconds'));
             update receipts set created_at = null where id = 70005",
        )
        .await;
    let mut service = ground.service().start().await;
    ground.enqueue("entry", job).await;
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.succeeded), (60, 60));
    assert_eq!(ground.live(7).await, 1, "what came after the request stays");
    ground.run("update receipts set is_deleted = 1 where id = 70999").await;
    ground.drained(&mut service).await;
    ground.is_deleted(&tenant, &row).await;
}

#[tokio::test]
async fn job_that_is_in_its_queue_before_its_row_waits_for_it_and_spends_no_retry() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__ROW_WAIT", "5m").start().await;
    ground.enqueue("entry", 1).await;
    service.says("the job's row is not there yet").await;
    assert_eq!(ground.plain_row(&tenant).await, 1);
    let row = ground.completed(&mut service, 1, &tenant).await;
    assert_eq!(row.attempt, 1);
    let entry = ground.carrier_ended(&mut service, 1).await;
    let entries = ground.entries().await.len();
    assert_eq!((entry.state.as_str(), entry.attempt, entry.failures, entries), ("finished", 1, 0, 1));
}

#[tokio::test]
async fn first_look_of_the_rescuer_bounds_a_row_that_waits_for_its_turn() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    let mut service = ground.service().set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms").start().await;
    let looked =
        format!("select count(*) from background_jobs where id = {job} and cursor like '%first_look%'");
    service.until("a first look", async |_| (ground.number(looked.clone()).await == 1).then_some(())).await;
    // By its time it was there before, and yet it came later.
    ground
        .run("insert into receipts (id, business_id, created_at) values (70901, 7, '2020-01-01')".to_owned())
        .await;
    ground.enqueue("entry", job).await;
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.succeeded, row.last_error), (60, 60, None));
    assert_eq!(
        ground.number("select id from receipts where business_id = 7 and not is_deleted").await,
        70901
    );
}

#[tokio::test]
async fn late_receipts_of_a_request_that_waited_long_stay_and_the_row_says_so() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    let hours_ago = |hours: u8| format!("strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{hours} hours')");
    ground
        .run(format!(
            "update background_jobs set created_at = {} where id = {job};
             insert into receipts (id, business_id, created_at) values (70901, 7, {}), (70902, 7, '2020-01-01');
             update receipts set is_deleted = 1 where id > 70001 and id < 70060",
            hours_ago(3),
            hours_ago(2)
        ))
        .await;
    let mut service = ground.service().start().await;
    ground.enqueue("entry", job).await;
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.succeeded), (2, 2));
    let said = row.last_error.unwrap();
    assert!(said.starts_with("2 receipts were left alone"), "{said}");
    service.says("2 receipts were left alone").await;
    assert_eq!(ground.live(7).await, 2);
    let plan = service.owner(7, "GET", "/api/receipts/delete_all/plan").expect(200).json();
    assert_eq!((&plan["receipts"], &plan["left_alone"]["receipts"]), (&json!(2), &json!(2)));
    // With nothing to delete but such receipts it is no success.
    ground.run("update receipts set created_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')".to_owned()).await;
    let again = ground.plain_row(&tenant).await;
    ground.run(format!("update background_jobs set created_at = {} where id = {again}", hours_ago(3))).await;
    ground.enqueue("again", again).await;
    let row = ground.becomes(&mut service, again, "failed").await;
    assert!(row.last_error.unwrap().starts_with("2 receipts were left alone"));
    assert_eq!(
        (ground.live(7).await, ground.carrier_ended(&mut service, again).await.state.as_str()),
        (2, "failed")
    );
}

/// As by a migration that fills a column.
#[tokio::test]
async fn receipts_that_get_another_creation_time_during_the_deletion_are_told() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    // The application counted when it showed the page, before the last five came.
    ground
        .run(format!(
            "update background_jobs set total = 55 where id = {job};
             update receipts set created_at = null where id > 70055"
        ))
        .await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "2s").start().await;
    ground.enqueue("entry", job).await;
    ground.processed(&mut service, job, 20).await;
    ground
        .run(
            "update receipts set created_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') where created_at is null"
                .to_owned(),
        )
        .await;
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.processed, ground.live(7).await), (60, 55, 5));
    let said = row.last_error.unwrap();
    assert!(said.starts_with("5 of 60 receipts that were counted at the start were not found"), "{said}");
    assert!(said.contains("or given another creation time; a new request covers those"), "{said}");
    let again = service.delete_all(7);
    let row = ground.becomes(&mut service, again, "completed").await;
    assert_eq!((row.succeeded, row.last_error, ground.live(7).await), (5, None, 0));
}

/// A button "try again" of the application uses the row once more.
#[tokio::test]
async fn row_that_is_dated_anew_and_enqueued_again_is_a_new_request() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    let hours_ago = |hours: u8| format!("strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{hours} hours')");
    ground.run(format!("update background_jobs set created_at = {} where id = {job}", hours_ago(3))).await;
    let mut service = ground.service().set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms").start().await;
    let looked =
        format!("select count(*) from background_jobs where id = {job} and cursor like '%first_look%'");
    service.until("a first look", async |_| (ground.number(looked.clone()).await == 1).then_some(())).await;
    let late =
        (70901..=70905).map(|id| format!("({id}, 7, {})", hours_ago(1))).collect::<Vec<_>>().join(", ");
    ground
        .run(format!(
            "update background_jobs set status = 'failed' where id = {job};
             insert into receipts (id, business_id, created_at) values {late};
             update background_jobs set status = 'queued', created_at = {} where id = {job}",
            hours_ago(0)
        ))
        .await;
    ground.enqueue("again", job).await;
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.succeeded, row.last_error), (65, 65, None));
    assert_eq!(ground.live(7).await, 0);
}

/// As an ORM does that writes all columns of a row that it loaded before.
#[tokio::test]
async fn save_of_old_columns_takes_nothing_back_and_a_cancel_among_them_is_heeded() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "2s").start().await;
    let save = |job: i64, status: &str| {
        ground.run(format!(
            "update background_jobs set status = '{status}', cursor = null, total = 0, processed = 0, succeeded = 0,
                 failed_count = 0, started_at = null, heartbeat_at = null where id = {job}"
        ))
    };
    ground.enqueue("entry", job).await;
    ground.processed(&mut service, job, 20).await;
    save(job, "running").await;
    ground.processed(&mut service, job, 40).await;
    save(job, "queued").await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.total, row.succeeded, row.last_error), (1, 60, 60, None));
    assert!(service.lines("Backing off").is_empty());

    let tenant = ground.tenant(9, 60).await;
    let job = ground.plain_row(&tenant).await;
    ground.enqueue("other", job).await;
    ground.processed(&mut service, job, 20).await;
    save(job, "cancelled").await;
    service.says(&format!("🛑 Job {job} was cancelled - stopping")).await;
    assert_eq!((ground.row(job).await.status.as_str(), ground.live(9).await), ("cancelled", 40));
}

#[tokio::test]
async fn status_drift_a_queued_row_without_an_entry_is_enqueued() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    let start = ground.service().set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms");
    let mut service = start.set("TIKKUN_RESCUER__RECONCILE_GRACE", "300ms").start().await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 1);
    ground.carrier_ended(&mut service, job).await;
    assert_eq!(service.lines("a row had no entry in its queue; enqueued it anew").len(), 1);
    assert_eq!(ground.entries().await.len(), 1);
}

/// `job.cancel()` and the buttons of dashboards know nothing of rows.
#[tokio::test]
async fn row_whose_entry_is_canceled_in_the_queue_is_cancelled_and_deletes_nothing() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    ground.enqueue("entry", job).await;
    ground.broker().await.cancel(&"entry".into()).await.unwrap();
    let start = ground.service().set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms");
    let mut service = start.set("TIKKUN_RESCUER__RECONCILE_GRACE", "300ms").start().await;
    ground.becomes(&mut service, job, "cancelled").await;
    assert_eq!((ground.live(7).await, ground.entries().await.len()), (60, 1));
    // What is requested anew is another wish.
    let next = service.delete_all(7);
    ground.completed(&mut service, next, &tenant).await;
}

#[tokio::test]
async fn status_drift_a_running_row_that_nobody_carries_is_taken_up() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let job = ground.plain_row(&tenant).await;
    ground.run(format!("update background_jobs set status = 'running' where id = {job}")).await;
    let start = ground.service().set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms");
    let mut service = start.set("TIKKUN_RESCUER__RECONCILE_GRACE", "300ms").start().await;
    ground.completed(&mut service, job, &tenant).await;
}

#[tokio::test]
async fn row_that_cannot_be_changed_is_set_aside_and_the_others_go() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    ground
        .run(
            "create trigger sealed before update on receipts when old.id = 70027
             begin select raise(abort, 'this receipt is sealed'); end",
        )
        .await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.processed, row.succeeded, row.failed_count), (60, 60, 59, 1));
    assert_eq!(
        ground.number("select id from receipts where business_id = 7 and not is_deleted").await,
        70027
    );
    assert_eq!(
        ground.number("select receipt_id from tikkun_set_aside where reason like '%sealed%'").await,
        70027
    );
    ground.drained(&mut service).await;
    ground.is_consistent().await;
    assert_eq!(
        ground.number("select count(*) from attachments where id = 70027").await,
        1,
        "its object stays"
    );
    let view = service.owner(7, "GET", &format!("/api/receipts/jobs/{job}")).expect(200).json();
    assert_eq!((&view["failed_count"], &view["percent"]), (&json!(1), &json!(100.0)));
}
