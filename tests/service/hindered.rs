//! The database leaves rows unchanged without an error.

use serde_json::json;
use tikkun::job::{Args, NewJob, Retries};

use super::ground::{FUNCTION, Ground};

/// Leaves such rows as they are.
async fn keeps(ground: &Ground, change: &str, table: &str, condition: &str) {
    ground
        .run(format!(
            "create trigger guard before {change} on {table} when {condition} begin select raise(ignore); end"
        ))
        .await;
}

#[tokio::test]
async fn receipts_that_a_trigger_keeps_stay_whole_and_the_row_and_the_log_say_so() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    keeps(&ground, "update", "receipts", "old.id in (70003, 70055)").await;
    let mut service = ground.service().start().await;
    let line = service.says("the database may keep rows from being deleted").await;
    assert!(line.contains("trigger guard on receipts"), "{line}");
    let job = service.delete_all(7);
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.processed, row.succeeded, row.failed_count), (60, 60, 58, 2));
    let error = row.last_error.unwrap();
    assert!(
        error.starts_with("2 of 60 receipts could not be deleted; the first, receipt 70003: "),
        "{error}"
    );
    ground.drained(&mut service).await;
    assert_eq!(ground.live(7).await, 2);
    ground.is_consistent().await;
    let torn = "select count(*) from receipts r where not is_deleted and business_id = 7
        and not exists (select 1 from attachments a where a.id = r.attachment_id)";
    assert_eq!(ground.number(torn).await, 0, "a live receipt has its attachment");
}

#[tokio::test]
async fn attachments_that_a_trigger_keeps_have_their_files_and_the_row_says_so() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    keeps(&ground, "delete", "attachments", "old.id in (70003, 70055)").await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.succeeded, row.failed_count), (60, 0));
    let error = row.last_error.unwrap();
    assert!(
        error.starts_with(
            "2 attachments of deleted receipts were not cleaned up, and their objects are still there"
        ),
        "{error}"
    );
    ground.drained(&mut service).await;
    assert_eq!(ground.number("select count(*) from attachments where id in (70003, 70055)").await, 2);
    ground.is_consistent().await;
}

#[tokio::test]
async fn a_deletion_that_may_change_nothing_fails_with_the_reason_and_so_does_its_queue_job() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    keeps(&ground, "update", "receipts", "old.business_id = 7").await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    let row = ground.becomes(&mut service, job, "failed").await;
    assert_eq!((row.succeeded, row.failed_count), (0, 60));
    let error = row.last_error.unwrap();
    assert!(error.starts_with("none of 60 receipts was deleted; 60 of 60 receipts could not be"), "{error}");
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.error.as_deref()), ("failed", Some(error.as_str())));
    assert_eq!(ground.live(7).await, 60);
    ground.is_consistent().await;
}

#[tokio::test]
async fn a_row_that_cannot_begin_fails_with_the_databases_words_and_gets_no_further_entries() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 20).await;
    ground
        .run(
            "create trigger bound before update on background_jobs when new.status = 'running'
             begin select raise(abort, 'no tenant is bound'); end",
        )
        .await;
    let often = ["INTERVAL", "GRACE"].map(|name| format!("TIKKUN_RESCUER__RECONCILE_{name}"));
    let mut service = ground.service().set(&often[0], "1s").set(&often[1], "1s").start().await;
    let job = ground.plain_row(&tenant).await;
    let once = Some(Retries { left: 0, intervals: Vec::new() });
    let entry = NewJob::new("entry", "maintenance", FUNCTION, Args::positional([json!(job)]));
    ground.broker().await.enqueue(&[NewJob { retries: once, ..entry }]).await.unwrap();
    let error = ground.becomes(&mut service, job, "failed").await.last_error.unwrap();
    assert!(error.contains("no tenant is bound"), "{error}");
    let ids: Vec<_> = ground.entries().await.into_iter().map(|entry| entry.id).collect();
    assert_eq!((ids, ground.live(7).await), (vec!["entry".to_owned()], 20));
}

#[tokio::test]
async fn a_row_that_cannot_end_waits_for_its_trigger_and_completes() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    ground
        .run(
            "create trigger notify before update on background_jobs when new.status in ('completed', 'failed')
             begin select raise(abort, 'nobody can be notified'); end",
        )
        .await;
    let often = ["INTERVAL", "GRACE"].map(|name| format!("TIKKUN_RESCUER__RECONCILE_{name}"));
    let start = ground.service().set(&often[0], "1s").set(&often[1], "1s");
    let mut service = start.set("TIKKUN_DELETION__MAX_BARREN_ATTEMPTS", "2").start().await;
    let job = service.delete_all(7);
    let waits = format!(
        "select count(*) from tikkun_background_jobs n join background_jobs j on j.id = n.background_job_id
         where j.id = {job} and j.status = 'running' and n.attempt >= 4 and j.last_error = n.waiting_for
           and j.last_error like '%nobody can be notified%'"
    );
    let ready = async |_: &_| (ground.number(waits.as_str()).await == 1).then_some(());
    service.until("a row that waits for its end in its fourth attempt", ready).await;
    let entries = ground.entries().await;
    assert_eq!((entries.len(), ground.live(7).await), (1, 0));
    ground.run("drop trigger notify").await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.last_error, row.succeeded), (None, 60));
    assert_eq!(ground.entries().await.len(), 1);
    ground.is_consistent().await;
}
