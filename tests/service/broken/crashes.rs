//! A process is killed at a point of a batch, and another one on the same folder continues without any help.

use super::super::ground::Ground;

/// Deletes 120 receipts in six batches, dies at the point, starts again, and counts.
async fn survives(point: &str, action: &str) {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 120).await;
    let mut doomed = ground.service().failing(&format!("{point}={action}")).start().await;
    let job = doomed.delete_all(7);
    doomed.dies().await;
    let left = ground.row(job).await;
    assert_eq!((left.status.as_str(), left.attempt), ("running", 1));
    let mut service = ground.service().start().await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 2);
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.failures, entry.orphaned), ("finished", 0, 1));
    assert_eq!(service.lines("rescued a job whose process died").len(), 1);
}

#[tokio::test]
async fn killed_before_a_transaction_it_goes_on_where_it_was() {
    survives("deletion.before_transaction", "2*off->return").await;
}

#[tokio::test]
async fn killed_after_receipts_were_marked_it_goes_on_where_it_was() {
    survives("deletion.after_mark", "1*off->return").await;
}

#[tokio::test]
async fn killed_after_objects_were_condemned_it_goes_on_where_it_was() {
    survives("deletion.after_outbox", "2*off->return").await;
}

#[tokio::test]
async fn killed_before_a_commit_it_goes_on_where_it_was() {
    survives("deletion.before_commit", "1*off->return").await;
}

#[tokio::test]
async fn killed_after_a_commit_it_loses_no_object() {
    survives("deletion.after_commit", "2*off->return").await;
}

#[tokio::test]
async fn killed_after_objects_were_deleted_it_settles_the_outbox() {
    survives("deletion.after_storage", "1*off->return").await;
}

#[tokio::test]
async fn killed_before_it_is_completed_it_completes() {
    survives("deletion.before_completed", "return").await;
}

/// A process that dies with a job between its queue and its first batch.
async fn comes_back(point: &str) {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let mut doomed = ground.service().failing(&format!("{point}=return")).start().await;
    // The process may die before it has answered.
    let job = ground.plain_row(&tenant).await;
    ground.enqueue("entry", job).await;
    doomed.dies().await;
    let mut service = ground.service().start().await;
    ground.completed(&mut service, job, &tenant).await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.failures), ("finished", 0));
}

#[tokio::test]
async fn invisible_window_a_job_fetched_and_not_handed_on_comes_back() {
    comes_back("queue_listener.fetched").await;
}

#[tokio::test]
async fn invisible_window_a_job_handed_on_and_not_begun_comes_back() {
    comes_back("job_runner.run").await;
}

#[tokio::test]
async fn invisible_window_a_job_about_to_begin_comes_back() {
    comes_back("status_tracker.begin").await;
}

#[tokio::test]
async fn killed_before_its_end_is_settled_it_ends_once() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let mut doomed = ground.service().failing("queue_listener.settle=return").start().await;
    let job = doomed.delete_all(7);
    doomed.dies().await;
    let before = ground.row(job).await;
    assert_eq!(before.status, "completed");
    let mut service = ground.service().start().await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.failures), ("finished", 0));
    assert_eq!(
        ground.completed(&mut service, job, &tenant).await,
        before,
        "a finished row is left as it was"
    );
}

#[tokio::test]
async fn job_that_kills_its_process_each_time_is_given_up() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let start = ground.service().set("TIKKUN_DELETION__MAX_BARREN_ATTEMPTS", "1");
    let deadly = start.failing("deletion.after_mark=return");
    let mut doomed = deadly.start().await;
    let job = doomed.delete_all(7);
    doomed.dies().await;
    let mut again = deadly.spawn();
    again.exited().await;
    let mut service = deadly.start().await;
    let row = ground.becomes(&mut service, job, "failed").await;
    assert!(row.last_error.as_deref().unwrap().contains("given up: 2 attempts in a row died"), "{row:?}");
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!(entry.state, "failed", "it is not stored as a success");
    assert_eq!(ground.live(7).await, 40);
    ground.is_consistent().await;
}
