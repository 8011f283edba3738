//! `kill -9` from outside, at random moments.

use std::time::Duration;

use super::super::ground::Ground;

#[tokio::test]
async fn killed_at_ten_random_moments_it_counts_every_receipt_once() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 600).await;
    let job = ground.plain_row(&tenant).await;
    ground.enqueue("entry", job).await;
    let mut chance = fastrand::Rng::with_seed(20_261_124);
    // Slow enough that ten short lives cannot finish thirty batches.
    let slow = ground.service().set("TIKKUN_DELETION__THROTTLE", "200ms");
    for life in 0..10 {
        let mut doomed = slow.spawn();
        if life > 0 {
            doomed = slow.start().await.process;
        }
        tokio::time::sleep(Duration::from_millis(chance.u64(0..450))).await;
        doomed.kill();
    }
    let before = ground.row(job).await;
    assert!(before.status == "running" || before.status == "queued", "{before:?}");
    assert!(before.processed < 600, "the kills came too late to prove anything");
    let mut service = ground.service().start().await;
    let row = ground.completed(&mut service, job, &tenant).await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.failures), ("finished", 0));
    assert!(row.attempt >= 2, "{row:?}");
}
