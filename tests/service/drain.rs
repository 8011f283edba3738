//! Asked to leave, a process stops at the next safe point, and the next one goes on from there.

use crate::ground::Ground;

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
