//! Paused queues.

use futures::FutureExt;
use tikkun::queue::Broker;

use super::ground::*;

async fn paused_by(broker: &dyn Broker) -> Vec<(String, String)> {
    let paused = broker.paused().await.unwrap();
    paused.into_iter().map(|(queue, pause)| (queue.to_string(), pause.by)).collect()
}

pub async fn nothing_comes_from_a_paused_queue(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let a = one(&*broker, job("a")).await;
    assert!(broker.pause(&queue(), "Dana").await.unwrap());
    let mut elsewhere = job("elsewhere");
    elsewhere.queue = "other".into();
    broker.enqueue(&[job("b"), elsewhere]).await.unwrap();
    assert_eq!(fetch(&*broker, 9).await, []);
    assert_eq!(broker.fetch(&"other".into(), 9, &me()).await.unwrap().len(), 1, "other queues go on");
    assert_eq!(settle(&*broker, &a, ack()).await, tikkun::queue::Settled::Done, "what runs goes on");
    assert_eq!(counts(&*broker).await.queued, 1, "enqueueing goes on");
    assert!(broker.resume(&queue()).await.unwrap());
    assert_eq!(ids(&fetch(&*broker, 9).await), ["b"]);
}

pub async fn a_pause_holds_for_all_and_survives_reopening(fresh: &dyn Fresh) {
    let (broker, other) = (leased(fresh).await, fresh.open().await);
    assert_eq!(paused_by(&*broker).await, []);
    assert!(broker.pause(&queue(), "Dana").await.unwrap());
    let before = other.paused().await.unwrap();
    assert!(!other.pause(&queue(), "Noam").await.unwrap(), "it is paused already");
    enqueue(&*other, &["a"]).await;
    assert_eq!(other.fetch(&queue(), 9, &me()).await.unwrap(), []);
    drop((broker, other));
    let broker = fresh.open().await;
    assert_eq!(fetch(&*broker, 9).await, []);
    assert_eq!(broker.paused().await.unwrap(), before, "who paused first stays noted, and since when");
    assert_eq!(paused_by(&*broker).await, [(QUEUE.to_owned(), "Dana".to_owned())]);
    assert!(broker.resume(&queue()).await.unwrap());
    assert!(!broker.resume(&queue()).await.unwrap(), "the second run changes nothing");
    assert_eq!(paused_by(&*broker).await, []);
}

pub async fn a_waiter_sleeps_through_a_pause_and_wakes_on_resume(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a"]).await;
    broker.pause(&queue(), "Dana").await.unwrap();
    assert!(!in_time("the end of patience", broker.wait(&queue(), SHORT)).await.unwrap());
    let target = queue();
    let mut waiting = broker.wait(&target, LONG);
    tokio::select! {
        _ = &mut waiting => panic!("a wait for a paused queue ended beside its work"),
        () = tokio::time::sleep(SHORT) => {}
    }
    broker.resume(&queue()).await.unwrap();
    assert!(in_time("a ring for the resumed queue", waiting).await.unwrap());
}

pub async fn a_resume_by_another_wakes_the_waiter(fresh: &dyn Fresh) {
    let (here, there) = (leased(fresh).await, fresh.open().await);
    enqueue(&*here, &["a"]).await;
    here.pause(&queue(), "Dana").await.unwrap();
    let waiter = here.clone();
    let woken = tokio::spawn(async move { waiter.wait(&queue(), LONG).await });
    there.resume(&queue()).await.unwrap();
    assert!(in_time("a ring from another process", woken).await.unwrap().unwrap());
    assert_eq!(ids(&fetch(&*here, 9).await), ["a"]);
    assert!(here.wait(&queue(), LONG).now_or_never().is_none(), "the queue is empty again");
}
