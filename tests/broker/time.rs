//! Jobs that become due or expire.

use std::time::Duration;

use serde_json::json;
use tikkun::job::{JobId, JobState, Limit, NewJob, QueueEnd};
use tikkun::queue::Disposition;

use super::ground::*;

fn delayed(id: &str, delay: Duration) -> NewJob {
    NewJob { delay: Some(delay), ..job(id) }
}

pub async fn a_delayed_job_is_promoted_only_when_due(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    broker.enqueue(&[delayed("late", LONG), delayed("soon", SHORT)]).await.unwrap();
    let late = record(&*broker, "late").await;
    assert_eq!((late.state, late.enqueued_at), (JobState::Scheduled, None));
    assert!(late.due_at.unwrap() > late.created_at);
    let promoted = eventually("the job that is soon due", async || {
        Some(broker.promote_due(9).await.unwrap()).filter(|promoted| *promoted > 0)
    })
    .await;
    assert_eq!(promoted, 1);
    assert_eq!(broker.promote_due(9).await.unwrap(), 0, "the second run changes nothing");
    let soon = fetch(&*broker, 9).await;
    assert_eq!(ids(&soon), ["soon"]);
    assert!(soon[0].job.enqueued_at.is_some());
    assert_eq!(record(&*broker, "late").await, late);
}

pub async fn a_promoted_job_enters_at_its_end(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let tick = Duration::from_millis(1);
    enqueue(&*broker, &["a"]).await;
    let head = NewJob { end: QueueEnd::Head, ..delayed("head", tick) };
    broker.enqueue(&[head, delayed("tail", tick)]).await.unwrap();
    let mut promoted = 0;
    eventually("both jobs to be due", async || {
        promoted += broker.promote_due(9).await.unwrap();
        (promoted == 2).then_some(())
    })
    .await;
    assert_eq!(ids(&fetch(&*broker, 9).await), ["head", "a", "tail"]);
}

pub async fn promotion_and_expiry_respect_their_limit(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let tick = Duration::from_millis(1);
    let jobs: Vec<_> = (0..5).map(|n| delayed(&format!("job-{n}"), tick)).collect();
    broker.enqueue(&jobs).await.unwrap();
    let mut promoted = 0;
    eventually("all jobs to be promoted", async || {
        let some = broker.promote_due(2).await.unwrap();
        assert!(some <= 2);
        promoted += some;
        (promoted == 5).then_some(())
    })
    .await;
    let keep = Limit::After(tick);
    let ends: Vec<_> = fetch(&*broker, 9)
        .await
        .iter()
        .map(|one| settlement(one, Disposition::Ack { result: json!(null), keep }))
        .collect();
    broker.settle(&ends).await.unwrap();
    let mut dropped = 0;
    eventually("all jobs to be dropped", async || {
        let some = broker.expire(2).await.unwrap();
        assert!(some <= 2);
        dropped += some;
        (dropped == 5).then_some(())
    })
    .await;
}

pub async fn an_ended_job_is_dropped_after_its_time(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    for (id, keep) in [("short", SHORT), ("long", LONG)] {
        let delivery = one(&*broker, job(id)).await;
        let error = "hopeless".into();
        settle(&*broker, &delivery, Disposition::Discard { error, keep: Limit::After(keep) }).await;
    }
    eventually("the job whose time passes", async || {
        broker.expire(9).await.unwrap();
        broker.job(&JobId::from("short")).await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(broker.expire(9).await.unwrap(), 0, "the second run changes nothing");
    assert_eq!(record(&*broker, "long").await.state, JobState::Failed);
    assert_eq!(counts(&*broker).await.failed, 1);
}

pub async fn what_is_kept_for_ever_stays(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let ever = one(&*broker, job("ever")).await;
    settle(&*broker, &ever, Disposition::Ack { result: json!(1), keep: Limit::Never }).await;
    let short = one(&*broker, job("short")).await;
    settle(&*broker, &short, Disposition::Ack { result: json!(1), keep: Limit::After(SHORT) }).await;
    eventually("the job that ended later, and is not kept", async || {
        broker.expire(9).await.unwrap();
        broker.job(&JobId::from("short")).await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(record(&*broker, "ever").await.state, JobState::Finished);
}
