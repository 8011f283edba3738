//! A user cancels a job, whatever it is doing at that moment.

use serde_json::{Value, json};

use super::ground::{Entry, Ground};
use super::process::{Service, Start};

fn result(entry: &Entry) -> Value {
    assert_eq!(entry.state, "finished", "{entry:?}");
    serde_json::from_str(entry.result.as_deref().unwrap()).unwrap()
}

fn cancel(service: &Service, job: i64) {
    let answer = service.owner(7, "POST", &format!("/api/receipts/jobs/{job}/cancel")).expect(200).json();
    assert_eq!((&answer["job_id"], &answer["status"]), (&json!(job), &json!("cancelled")));
}

/// Nobody listens to the queue of deletions.
fn nobody_listens(ground: &Ground) -> Start {
    ground.service().set("RQ_QUEUES", "high")
}

async fn ends_as_cancelled(ground: &Ground, service: &mut Service, job: i64, processed: i64) {
    let entry = ground.carrier_ended(service, job).await;
    assert_eq!(result(&entry), json!({ "cancelled": true }));
    let row = ground.row(job).await;
    assert_eq!((row.status.as_str(), row.processed), ("cancelled", processed));
    assert!(row.finished_at.is_some());
}

#[tokio::test]
async fn cancelled_while_queued_it_never_starts() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let mut front = nobody_listens(&ground).start().await;
    let job = front.delete_all(7);
    cancel(&front, job);
    front.terminate().await;
    let mut service = ground.service().start().await;
    ends_as_cancelled(&ground, &mut service, job, 0).await;
    assert_eq!(ground.live(7).await, 40);
    ground.is_consistent().await;
}

#[tokio::test]
async fn cancelled_during_a_throttle_it_does_not_sleep_it_out() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    cancel(&service, job);
    service.says(&format!("🛑 Job {job} was cancelled - stopping")).await;
    ends_as_cancelled(&ground, &mut service, job, 20).await;
    assert_eq!(ground.live(7).await, 40);
    ground.drained(&mut service).await;
    ground.is_consistent().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn cancelled_during_a_backoff_it_does_not_sleep_it_out() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let mut service = ground.service().failing("deletion_batch.run=panic").start().await;
    let job = service.delete_all(7);
    service.says("⏳ [RECEIPTS_DELETE] Backing off 8s after 3 failures").await;
    cancel(&service, job);
    service.says(&format!("🛑 Job {job} was cancelled - stopping")).await;
    ends_as_cancelled(&ground, &mut service, job, 0).await;
    assert_eq!(service.role("deletion_batch")["panics"], 3, "it was not tried once more");
    assert_eq!(ground.live(7).await, 60);
}

#[tokio::test]
async fn cancelled_while_paused_for_continuation_it_stays_where_it_was() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    assert_eq!(service.terminate().await, Some(0));
    let mut front = nobody_listens(&ground).start().await;
    assert_eq!(ground.row(job).await.status, "paused");
    cancel(&front, job);
    front.terminate().await;
    let mut service = ground.service().start().await;
    ends_as_cancelled(&ground, &mut service, job, 20).await;
    assert_eq!(ground.live(7).await, 40);
}

#[tokio::test]
async fn any_process_can_cancel_what_another_runs() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let worker = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").set("SERVICE_ROLE", "worker");
    let mut worker = worker.start().await;
    let front = ground.service().set("SERVICE_ROLE", "api").start().await;
    let job = front.delete_all(7);
    ground.processed(&mut worker, job, 20).await;
    cancel(&front, job);
    worker.says(&format!("🛑 Job {job} was cancelled - stopping")).await;
    ends_as_cancelled(&ground, &mut worker, job, 20).await;
}

#[tokio::test]
async fn finished_job_cannot_be_cancelled() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 20).await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    let answer = service.owner(7, "POST", &format!("/api/receipts/jobs/{job}/cancel")).expect(400);
    assert!(answer.json()["message"].as_str().unwrap().contains("completed"), "{answer:?}");
    assert_eq!(ground.row(job).await.status, "completed");
}
