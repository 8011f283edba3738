//! Ended jobs that a user puts back into their queue.

use tikkun::job::{JobId, JobState, Limit, NewJob, Retries, Unique};
use tikkun::queue::{Broker, Disposition, Enqueued, Requeued};

use super::ground::*;

fn bury() -> Disposition {
    Disposition::Discard { error: "no".into(), keep: Limit::Never }
}

async fn requeue(broker: &dyn Broker, ids: &[&str]) -> Vec<Requeued> {
    broker.requeue(&ids.iter().map(|id| JobId::from(*id)).collect::<Vec<_>>()).await.unwrap()
}

async fn failed(broker: &dyn Broker, new: NewJob) {
    let delivery = one(broker, new).await;
    settle(broker, &delivery, bury()).await;
}

pub async fn failed_and_canceled_jobs_wait_again_behind_the_others(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let retries = Some(Retries { left: 0, intervals: Vec::new() });
    failed(&*broker, NewJob { retries: retries.clone(), ..job("failed") }).await;
    broker.enqueue(&[job("canceled")]).await.unwrap();
    broker.cancel(&"canceled".into()).await.unwrap();
    enqueue(&*broker, &["before"]).await;
    assert_eq!(requeue(&*broker, &["canceled", "failed"]).await, [Requeued::Waits, Requeued::Waits]);
    let waiting = record(&*broker, "failed").await;
    assert_eq!((waiting.state, waiting.ended_at, waiting.attempt), (JobState::Queued, None, 1));
    assert_eq!((waiting.retries, waiting.failures), (retries, 1), "what was spent is not given back");
    assert_eq!(waiting.error.as_deref(), Some("no"));
    let again = fetch(&*broker, 9).await;
    assert_eq!(ids(&again), ["before", "canceled", "failed"]);
    settle(&*broker, &again[2], ack()).await;
    broker.expire(9).await.unwrap();
    assert_eq!(record(&*broker, "failed").await.state, JobState::Finished, "its old end counts no more");
}

pub async fn jobs_that_have_not_failed_stay_where_they_are(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let finished = one(&*broker, job("finished")).await;
    settle(&*broker, &finished, ack()).await;
    one(&*broker, job("started")).await;
    broker.enqueue(&[job("queued"), NewJob { delay: Some(LONG), ..job("scheduled") }]).await.unwrap();
    let states = [
        ("finished", JobState::Finished),
        ("started", JobState::Started),
        ("queued", JobState::Queued),
        ("scheduled", JobState::Scheduled),
    ];
    for (id, state) in states {
        assert_eq!(requeue(&*broker, &[id, "nobody"]).await, [Requeued::Is(state), Requeued::Missing]);
        assert_eq!(record(&*broker, id).await.state, state, "{id}");
    }
    assert_eq!(requeue(&*broker, &[]).await, []);
}

pub async fn of_two_requeues_of_one_job_one_counts(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    failed(&*broker, job("a")).await;
    assert_eq!(requeue(&*broker, &["a", "a"]).await, [Requeued::Waits, Requeued::Is(JobState::Queued)]);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["a"]);
}

pub async fn a_job_that_comes_back_takes_its_key_unless_another_has_it(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let with_key =
        |id: &str| NewJob { unique: Some(Unique { key: "report/27".to_owned(), period: None }), ..job(id) };
    failed(&*broker, with_key("a")).await;
    assert_eq!(broker.enqueue(&[with_key("b")]).await.unwrap(), [Enqueued::Accepted]);
    assert_eq!(requeue(&*broker, &["a"]).await, [Requeued::Duplicate("b".into())]);
    assert_eq!(record(&*broker, "a").await.state, JobState::Failed);
    broker.cancel(&"b".into()).await.unwrap();
    assert_eq!(requeue(&*broker, &["a"]).await, [Requeued::Waits]);
    assert_eq!(broker.enqueue(&[with_key("c")]).await.unwrap(), [Enqueued::Duplicate("a".into())]);
}

pub async fn a_job_that_comes_back_wakes_the_waiter(fresh: &dyn Fresh) {
    let (broker, other) = (leased(fresh).await, fresh.open().await);
    failed(&*broker, job("a")).await;
    let queue = QUEUE.into();
    let waiting = broker.wait(&queue, LONG);
    let back = async {
        assert_eq!(requeue(&*other, &["a"]).await, [Requeued::Waits]);
    };
    let (work, ()) = in_time("the ring", async { tokio::join!(waiting, back) }).await;
    assert!(work.unwrap());
}
