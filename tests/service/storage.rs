//! Objects in a bucket are deleted after their receipts, in few calls; an outage of it delays no row.

use std::fs;
use std::time::Duration;

use super::ground::Ground;
use super::process::Service;
use super::s3::{BUCKET, KEY_ID, SECRET, Trouble};

const SLOW_DOWN: Trouble = Trouble::Answer(503, "SlowDown", "reduce your request rate");

/// What the lines about the clean-up add up to: deleted, failed.
fn told(service: &Service) -> (u64, u64) {
    let (mut deleted, mut failed) = (0, 0);
    for line in service.lines("→ [RECEIPTS_DELETE] R2 cleanup: ") {
        let words: Vec<&str> = line.split("R2 cleanup: ").nth(1).unwrap().split(' ').collect();
        deleted += words[0].parse::<u64>().unwrap();
        failed += words[2].parse::<u64>().unwrap();
    }
    (deleted, failed)
}

#[tokio::test]
async fn objects_in_a_bucket_go_with_their_receipts_and_no_others() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 120).await;
    ground.bucket().keep_versions();
    let before = ground.files();
    let mut service = ground.service().set("LOG_LEVEL", "TRACE").start().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    let gone = u64::try_from(before - ground.files()).unwrap();
    assert_eq!(told(&service), (gone, 0));
    assert_eq!(service.lines("→ [RECEIPTS_DELETE] R2 cleanup: ").len(), 6, "one line for each batch");
    assert_eq!(service.lines("the bucket keeps versions").len(), 1);
    let ended = service.says("🧾 JOB complete").await;
    let log = service.lines("");
    let told = log.iter().find(|line| line.contains(KEY_ID) || line.contains(SECRET));
    assert_eq!(told, None, "keys never show");
    let last = log.iter().rposition(|line| line.contains("R2 cleanup: ")).unwrap();
    assert!(last < log.iter().position(|line| *line == ended).unwrap(), "the clean-up ends before the job");
}

#[tokio::test]
async fn bucket_that_has_none_of_the_newest_attachments_is_named_at_the_start() {
    let ground = Ground::in_s3().await;
    ground.tenant(7, 20).await;
    // As where the application's storage puts a prefix of its own before each key, or has another bucket.
    ground.run("update attachments set storage_path = 'media/' || storage_path".to_owned()).await;
    let mut service = ground.service().start().await;
    let line = service.says("none of the objects of the newest 10 attachments is in the bucket").await;
    assert!(line.contains("\"media/7/") && line.contains("their files would stay"), "{line}");
}

#[tokio::test]
async fn without_a_pause_between_batches_the_calls_are_few_and_full() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 1900).await;
    let before = ground.files();
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "0s").start().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    let gone = before - ground.files();
    assert_eq!(told(&service), (u64::try_from(gone).unwrap(), 0));
    let requests = ground.bucket().requests();
    assert!(requests.len() <= gone / 500 + 1, "{gone} objects took {requests:?}");
}

#[tokio::test]
async fn storage_that_is_overloaded_for_a_while_holds_up_no_row_and_loses_no_object() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 200).await;
    ground.bucket().always(Some(SLOW_DOWN));
    let before = ground.files();
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.succeeded, row.failed_count, row.attempt), (200, 0, 1));
    assert_eq!((ground.files(), ground.live(7).await), (before, 0));
    let (deleted, failed) = told(&service);
    let pending = u64::try_from(ground.number("select count(*) from tikkun_cleanup_outbox").await).unwrap();
    assert_eq!((deleted, failed), (0, pending), "each object is told of once");
    assert!(service.lines("⏳").is_empty(), "no batch backs off");
    ground.bucket().always(None);
    ground.completed(&mut service, job, &tenant).await;
    assert_eq!(service.restarts(), 0);
}

/// A call for all of them takes longer than the Rescuer has, whether the objects are still there or not.
#[tokio::test]
async fn storage_that_is_slow_with_each_key_is_asked_for_fewer_until_all_objects_are_gone() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 120).await;
    ground.bucket().always(Some(SLOW_DOWN));
    let start = ground.service().set("TIKKUN_RESCUER__OUTBOX_BACKOFF_FIRST", "1s");
    let mut service = start.set("TIKKUN_RESCUER__OUTBOX_BACKOFF_CAP", "1s").start().await;
    let job = service.delete_all(7);
    ground.becomes(&mut service, job, "completed").await;
    let pending = ground.number("select count(*) from tikkun_cleanup_outbox").await;
    assert!((110..190).contains(&pending), "{pending} objects: half of them in time, all of them not");
    ground.bucket().always(Some(Trouble::SlowKeys(Duration::from_millis(50))));
    ground.completed(&mut service, job, &tenant).await;
    assert_eq!(service.restarts(), 0);
}

#[tokio::test]
async fn objects_that_stay_in_the_bucket_stay_in_the_outbox_with_their_reason() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 20).await;
    let locked = "7/receipt_source/2026/01/70001.pdf".to_owned();
    ground.bucket().script([Trouble::Keys("AccessDenied", "under retention", vec![locked])]);
    let start = ground.service().set("TIKKUN_RESCUER__OUTBOX_BACKOFF_FIRST", "1h");
    let mut service = start.set("TIKKUN_RESCUER__OUTBOX_BACKOFF_CAP", "1h").start().await;
    let job = service.delete_all(7);
    ground.becomes(&mut service, job, "completed").await;
    assert_eq!(told(&service).1, 1);
    let reason = "select count(*) from tikkun_cleanup_outbox where attempts = 1 and last_error like '%retention rule%'";
    assert_eq!(ground.number(reason).await, 1);
    ground.run("update tikkun_cleanup_outbox set next_try_at = '2026-01-01 00:00:00.000000'").await;
    ground.completed(&mut service, job, &tenant).await;
}

#[tokio::test]
async fn library_that_panics_over_a_key_is_a_refusal_that_health_tells_of() {
    let ground = Ground::in_s3().await;
    ground.tenant(7, 20).await;
    let profile = ground.path().join("credentials");
    fs::write(&profile, "[default]\naws_access_key_id = A\u{1}B\naws_secret_access_key = s\n").unwrap();
    let start = ground.service().set("ATTACHMENT_STORAGE_DRIVER", "s3");
    let start = start.set("TIKKUN_ATTACHMENTS__S3_BUCKET", BUCKET);
    let start = start.set("TIKKUN_ATTACHMENTS__S3_ENDPOINT", &ground.bucket().endpoint());
    let mut service = start.set("AWS_SHARED_CREDENTIALS_FILE", profile.to_str().unwrap()).start().await;
    let job = service.delete_all(7);
    ground.becomes(&mut service, job, "completed").await;
    let look = async |service: &Service| {
        let cleanup = service.health()["cleanup_pending"].clone();
        let error = cleanup["last_error"].as_str()?;
        (cleanup["refused"].as_u64()? > 0 && error.contains("panic at")).then_some(())
    };
    service.until("a refusal with the text of the panic", look).await;
    assert_eq!((service.restarts(), service.lines("panicked").len()), (0, 0), "no actor broke");
}

#[tokio::test]
async fn storage_that_hangs_holds_up_neither_rows_nor_a_drain() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 400).await;
    ground.bucket().always(Some(Trouble::Slow(Duration::from_secs(3600))));
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "20ms").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 160).await;
    assert_eq!(service.terminate().await, Some(0));
    assert_eq!(ground.row(job).await.pause_reason.as_deref(), Some("continuation"));
    ground.bucket().always(None);
    let mut service = ground.service().start().await;
    ground.completed(&mut service, job, &tenant).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn killed_with_objects_gathered_for_a_call_it_orphans_none() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 400).await;
    let start = ground.service().set("TIKKUN_DELETION__THROTTLE", "0s");
    let mut doomed = start.clone().failing("deletion.before_transaction=10*off->return").start().await;
    let job = doomed.delete_all(7);
    doomed.dies().await;
    assert_eq!(ground.row(job).await.processed, 200);
    assert!(ground.bucket().requests().is_empty(), "all of its objects were still in the lane");
    assert!(ground.number("select count(*) from tikkun_cleanup_outbox").await > 200);
    let mut service = start.start().await;
    ground.completed(&mut service, job, &tenant).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn batch_actor_that_panics_with_objects_in_its_lane_leaves_them_to_the_outbox() {
    let ground = Ground::in_s3().await;
    let tenant = ground.tenant(7, 400).await;
    let start = ground.service().set("TIKKUN_DELETION__THROTTLE", "0s");
    let mut service = start.failing("deletion_batch.run=10*off->1*panic").start().await;
    let job = service.delete_all(7);
    service.says("actor failed; it begins again").await;
    ground.completed(&mut service, job, &tenant).await;
}
