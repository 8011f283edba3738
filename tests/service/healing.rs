//! Rows without a queue job, and rows that Tikkun must not execute.

use serde_json::json;

use super::ground::Ground;

/// Gaps are closed soon.
fn soon(ground: &Ground) -> super::process::Start {
    ground
        .service()
        .set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "1s")
        .set("TIKKUN_RESCUER__RECONCILE_GRACE", "1s")
}

#[tokio::test]
async fn continuation_whose_queue_is_lost_goes_on_though_its_heart_is_kept_beating() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    service.terminate().await;
    assert_eq!(ground.row(job).await.status, "paused");
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let _ = std::fs::remove_file(ground.path().join(name));
    }
    let mut service = soon(&ground).start().await;
    ground.completed(&mut service, job, &tenant).await;
    assert_eq!(service.lines("a row had no entry in its queue; enqueued it anew").len(), 1);
}

#[tokio::test]
async fn row_of_another_type_is_not_touched_whoever_asks() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let mut service = soon(&ground).start().await;
    let export = ground
        .number("insert into background_jobs (business_id, job_type, status) values (7, 'export_receipts', 'paused') returning id")
        .await;
    for call in ["resume", "pause", "cancel"] {
        service.owner(7, "POST", &format!("/api/receipts/jobs/{export}/{call}")).expect(404);
    }
    service.owner(7, "GET", &format!("/api/receipts/jobs/{export}")).expect(404);
    ground.run(format!("update background_jobs set status = 'queued' where id = {export}")).await;
    ground.enqueue("wrong-id", export).await;
    let entry = service
        .until("the wrong job to fail", async |_| {
            ground.entries().await.into_iter().find(|entry| entry.id == "wrong-id" && entry.state == "failed")
        })
        .await;
    let error = entry.error.unwrap();
    assert!(error.contains("of type `export_receipts`; expected `delete_receipts_all`"), "{error}");
    assert_eq!(ground.row(export).await.status, "queued", "its own worker may still take it");
    assert_eq!(ground.live(7).await, 40);
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn row_that_the_stale_rule_failed_just_before_its_completion_completes() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 20).await;
    let mut service = ground.service().failing("deletion.before_completed=1*sleep(4000)").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground
        .run(format!("update background_jobs set status = 'failed', last_error = 'stale' where id = {job}"))
        .await;
    ground.completed(&mut service, job, &tenant).await;
    let entry = ground.carrier_ended(&mut service, job).await;
    let result: serde_json::Value = serde_json::from_str(entry.result.as_deref().unwrap()).unwrap();
    assert_eq!(result, json!({ "total": 20, "deleted": 20, "failed": 0 }));
}
