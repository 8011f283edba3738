//! Unique jobs.

use std::time::Duration;

use tikkun::job::{JobId, NewJob, Unique};
use tikkun::queue::{Broker, Disposition, Enqueued};

use super::ground::*;

fn unique(id: &str, period: Option<Duration>) -> NewJob {
    NewJob { unique: Some(Unique { key: "report/27".to_owned(), period }), ..job(id) }
}

async fn put(broker: &dyn Broker, new: NewJob) -> Enqueued {
    broker.enqueue(&[new]).await.unwrap().remove(0)
}

fn duplicate(of: &str) -> Enqueued {
    Enqueued::Duplicate(of.into())
}

pub async fn an_open_job_holds_its_key(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    assert_eq!(put(&*broker, unique("a", None)).await, Enqueued::Accepted);
    assert_eq!(put(&*broker, unique("b", None)).await, duplicate("a"), "it is queued");
    let a = fetch(&*broker, 9).await.remove(0);
    assert_eq!(put(&*broker, unique("b", None)).await, duplicate("a"), "it runs");
    let retry = Disposition::RetryAt { delay: LONG, error: "once more".into() };
    settle(&*broker, &a, retry).await;
    assert_eq!(put(&*broker, unique("b", None)).await, duplicate("a"), "it is scheduled");
    assert!(broker.job(&JobId::from("b")).await.unwrap().is_none(), "nothing was changed");
    assert_eq!(put(&*broker, job("plain")).await, Enqueued::Accepted, "a job without a key");
    let mut other = unique("other", None);
    other.unique = Some(Unique { key: "report/28".to_owned(), period: None });
    assert_eq!(put(&*broker, other).await, Enqueued::Accepted, "another key");
}

pub async fn a_key_is_free_once_its_job_has_ended(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let a = one(&*broker, unique("a", None)).await;
    settle(&*broker, &a, ack()).await;
    let b = one(&*broker, unique("b", None)).await;
    let keep = tikkun::job::Limit::After(Duration::ZERO);
    settle(&*broker, &b, Disposition::Ack { result: serde_json::json!(null), keep }).await;
    assert_eq!(put(&*broker, unique("c", None)).await, Enqueued::Accepted, "the last was dropped at once");
    broker.cancel(&JobId::from("c")).await.unwrap();
    assert_eq!(put(&*broker, unique("d", None)).await, Enqueued::Accepted, "the last was taken out");
    assert_eq!(put(&*broker, unique("e", None)).await, duplicate("d"));
}

pub async fn a_key_is_held_for_its_period(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let a = one(&*broker, unique("a", Some(LONG))).await;
    settle(&*broker, &a, ack()).await;
    broker.expire(9).await.unwrap();
    assert_eq!(put(&*broker, unique("b", None)).await, duplicate("a"), "it has ended, and is recent");
    drop(broker);
    let broker = fresh.open().await;
    assert_eq!(put(&*broker, unique("b", None)).await, duplicate("a"), "after reopening, too");
}

pub async fn a_key_is_free_after_its_period(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let a = one(&*broker, unique("a", Some(SHORT))).await;
    settle(&*broker, &a, ack()).await;
    eventually("the period to be over", async || {
        broker.expire(9).await.unwrap();
        let answer = put(&*broker, unique("b", Some(LONG))).await;
        (answer == Enqueued::Accepted).then_some(())
    })
    .await;
    broker.expire(9).await.unwrap();
    assert_eq!(put(&*broker, unique("c", None)).await, duplicate("b"));
}

pub async fn of_one_key_in_one_call_the_first_is_enqueued(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let jobs = [job("x"), unique("a", None), unique("b", None), job("y"), unique("a", None)];
    let answers = broker.enqueue(&jobs).await.unwrap();
    let accepted = Enqueued::Accepted;
    assert_eq!(answers, [accepted.clone(), accepted.clone(), duplicate("a"), accepted, Enqueued::Exists]);
    assert_eq!(put(&*broker, unique("a", None)).await, Enqueued::Exists, "the same job is no other");
    assert_eq!(ids(&fetch(&*broker, 9).await), ["x", "a", "y"]);
}

pub async fn of_many_processes_one_gets_the_key(fresh: &dyn Fresh) {
    let mut brokers = Vec::new();
    for _ in 0..4 {
        brokers.push(fresh.open().await);
    }
    let racing = brokers
        .iter()
        .enumerate()
        .map(|(n, broker)| async move { put(&**broker, unique(&format!("job-{n}"), None)).await });
    let answers = in_time("four enqueuers", futures::future::join_all(racing)).await;
    let winners: Vec<_> = (0..4).filter(|n| answers[*n] == Enqueued::Accepted).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    let winner = duplicate(&format!("job-{}", winners[0]));
    assert_eq!(answers.iter().filter(|answer| **answer == winner).count(), 3, "{answers:?}");
}
