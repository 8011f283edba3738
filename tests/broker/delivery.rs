//! Enqueueing and fetching jobs.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tikkun::job::{Args, JobRecord, JobState, LIGHT, Limit, QueueEnd, Retries};
use tikkun::queue::{Disposition, Enqueued, JobFilter, Settled};

use super::ground::*;

pub async fn jobs_come_in_order_and_the_head_comes_first(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let head = |id: &str| {
        let mut job = job(id);
        job.end = QueueEnd::Head;
        job
    };
    broker.enqueue(&[job("a"), job("b"), head("c")]).await.unwrap();
    broker.enqueue(&[head("d"), head("e"), job("f")]).await.unwrap();
    assert_eq!(ids(&fetch(&*broker, 4).await), ["e", "d", "c", "a"], "one goes before the other");
    assert_eq!(ids(&fetch(&*broker, 4).await), ["b", "f"]);
    assert_eq!(fetch(&*broker, 4).await, []);
}

pub async fn odd_names_of_queues_are_names(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    for name in ["\"a\"", "a b", "a;b", "a # c", "קבלות"] {
        let new = tikkun::job::NewJob { queue: name.into(), ..job(name) };
        broker.enqueue(&[new]).await.unwrap();
        assert!(broker.wait(&name.into(), Duration::from_secs(1)).await.unwrap(), "{name}");
        let fetched = broker.fetch(&name.into(), 1, &ME.into()).await.unwrap();
        assert_eq!(ids(&fetched), [name]);
        assert_eq!(settle(&*broker, &fetched[0], ack()).await, Settled::Done, "{name}");
        assert_eq!(broker.counts().await.unwrap()[&name.into()].finished, 1, "{name}");
    }
}

pub async fn two_fetchers_share_out_every_job_exactly_once(fresh: &dyn Fresh) {
    const JOBS: usize = 500;
    let (first, second) = (leased(fresh).await, fresh.open().await);
    assert!(second.renew_lease(&process("other"), LONG).await.unwrap());
    let names: Vec<String> = (0..JOBS).map(|n| format!("job-{n}")).collect();
    first.enqueue(&names.iter().map(|id| job(id)).collect::<Vec<_>>()).await.unwrap();
    let drain = async |broker: std::sync::Arc<dyn tikkun::queue::Broker>, who: &'static str| {
        let mut got = Vec::new();
        loop {
            let some = eventually("a fetch beside another's", async || {
                match broker.fetch(&queue(), 7, &who.into()).await {
                    Ok(some) => Some(some),
                    Err(fault) if fault.is_retryable() => None,
                    Err(fault) => panic!("{}", fault.chain()),
                }
            })
            .await;
            if some.is_empty() {
                return got;
            }
            got.extend(ids(&some));
        }
    };
    let (mut all, more) = tokio::join!(drain(first, ME), drain(second, "other"));
    all.extend(more);
    assert_eq!(all.len(), JOBS, "no job twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), names.into_iter().collect(), "no job left");
}

pub async fn heavy_arguments_stay_folded_until_they_are_asked_for(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut heavy = job("heavy");
    heavy.args = Args::positional([json!("x".repeat(2 * LIGHT))]);
    let (args, weight) = (heavy.args.clone(), heavy.args.weight());
    let delivery = one(&*broker, heavy).await;
    let folded = |job: &JobRecord| job.args.as_ref().unwrap_err().weight_folded();
    assert_eq!(folded(&delivery.job), Some(weight));
    assert_eq!(broker.unfold(&delivery).await.unwrap(), Ok(args.clone()));
    assert_eq!(record(&*broker, "heavy").await.args, Ok(args), "one that is looked at alone is whole");
    let held = broker.held(&queue(), &me()).await.unwrap();
    assert_eq!(folded(&held[0].job), Some(weight));
    let filter = JobFilter { limit: 9, ..JobFilter::default() };
    assert_eq!(folded(&broker.jobs(&filter).await.unwrap()[0]), Some(weight));
    let mut light = job("light");
    light.args = Args::positional([json!("x".repeat(LIGHT / 2))]);
    let args = light.args.clone();
    assert_eq!(one(&*broker, light).await.job.args, Ok(args), "ordinary ones come at once");
}

pub async fn a_job_is_delivered_as_it_was_enqueued(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.args = Args::positional([json!("קבלה \"1\""), json!(null), json!({ "deep": [1.5, -2] })]);
    new.args.named.insert("dry".into(), json!(false));
    new.timeout = Some(Limit::After(Duration::from_secs(1800)));
    new.retries =
        Some(Retries { left: 2, intervals: vec![Duration::from_secs(10), Duration::from_secs(60)] });
    new.result_ttl = Some(Limit::Never);
    new.failure_ttl = Some(Limit::After(Duration::from_secs(86_400)));
    new.meta.insert("tenant".into(), json!(7));
    let delivery = one(&*broker, new.clone()).await;
    let got = &delivery.job;
    assert_eq!((&got.id, &got.queue, &got.kind), (&new.id, &new.queue, &new.kind));
    assert_eq!(got.args, Ok(new.args));
    assert_eq!((got.timeout, &got.retries), (new.timeout, &new.retries));
    assert_eq!((got.result_ttl, got.failure_ttl), (new.result_ttl, new.failure_ttl));
    assert_eq!((got.state, got.attempt, got.failures, got.orphaned), (JobState::Started, 1, 0, 0));
    assert_eq!(got.meta, new.meta);
    assert!(got.started_at.is_some() && got.enqueued_at.is_some() && got.ended_at.is_none());
    assert_eq!(record(&*broker, "a").await, delivery.job);
}

pub async fn an_id_that_is_there_is_not_enqueued_again(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let twice = broker.enqueue(&[job("a"), job("a"), job("b")]).await.unwrap();
    assert_eq!(twice, [Enqueued::Accepted, Enqueued::Exists, Enqueued::Accepted]);
    let a = fetch(&*broker, 1).await.remove(0);
    assert_eq!(broker.enqueue(&[job("a")]).await.unwrap(), [Enqueued::Exists], "it runs");
    settle(&*broker, &a, ack()).await;
    let mut other = job("a");
    other.queue = "other".into();
    assert_eq!(broker.enqueue(&[other]).await.unwrap(), [Enqueued::Exists], "it has ended and is kept");
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["b"]);
}

pub async fn a_process_without_a_lease_gets_nothing(fresh: &dyn Fresh) {
    let broker = fresh.open().await;
    enqueue(&*broker, &["a"]).await;
    assert_eq!(fetch(&*broker, 1).await, []);
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    broker.end_lease(&me()).await.unwrap();
    assert_eq!(fetch(&*broker, 1).await, []);
    broker.renew_lease(&process(ME), SHORT).await.unwrap();
    eventually("a lease that is not renewed to run out", async || {
        broker.processes().await.unwrap().is_empty().then_some(())
    })
    .await;
    assert_eq!(fetch(&*broker, 1).await, []);
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.attempt), (JobState::Queued, 0));
}

pub async fn waiting_ends_at_once_when_there_is_work(fresh: &dyn Fresh) {
    let broker = fresh.open().await;
    enqueue(&*broker, &["a"]).await;
    assert!(in_time("a wait beside work", broker.wait(&queue(), LONG)).await.unwrap());
    assert!(in_time("a second wait: the first took nothing", broker.wait(&queue(), LONG)).await.unwrap());
}

pub async fn an_enqueue_by_another_wakes_the_waiter(fresh: &dyn Fresh) {
    let (here, there) = (fresh.open().await, fresh.open().await);
    let woken = tokio::spawn(async move { here.wait(&queue(), LONG).await });
    enqueue(&*there, &["a"]).await;
    assert!(in_time("a ring from another process", woken).await.unwrap().unwrap());
}

pub async fn an_enqueue_by_the_same_wakes_the_waiter(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    for round in 0..50 {
        let waiter = broker.clone();
        let woken = tokio::spawn(async move { waiter.wait(&queue(), LONG).await });
        enqueue(&*broker, &[&format!("job-{round}")]).await;
        assert!(in_time("a ring from the same process", woken).await.unwrap().unwrap());
        assert_eq!(fetch(&*broker, 9).await.len(), 1);
    }
}

pub async fn a_job_given_back_wakes_the_waiter(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let delivery = one(&*broker, job("a")).await;
    let waiter = broker.clone();
    let woken = tokio::spawn(async move { waiter.wait(&queue(), LONG).await });
    settle(&*broker, &delivery, Disposition::Release { end: QueueEnd::Tail }).await;
    assert!(in_time("a ring for the job that came back", woken).await.unwrap().unwrap());
}

pub async fn waiting_ends_after_its_patience(fresh: &dyn Fresh) {
    let broker = fresh.open().await;
    assert!(!in_time("the end of patience", broker.wait(&queue(), SHORT)).await.unwrap());
}

pub async fn a_fetch_nobody_hears_loses_no_job(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b"]).await;
    let mut got = Vec::new();
    for polls in 1..6 {
        let (queue, me) = (queue(), me());
        let mut unheard = broker.fetch(&queue, 9, &me);
        for _ in 0..polls {
            if let std::task::Poll::Ready(heard) = futures::poll!(&mut unheard) {
                got.extend(ids(&heard.unwrap()));
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(unheard);
    }
    eventually("both jobs, from a fetch that is heard", async || {
        got.extend(ids(&fetch(&*broker, 9).await));
        (got.len() >= 2).then_some(())
    })
    .await;
    got.sort();
    assert_eq!(got, ["a", "b"]);
}

pub async fn everything_is_there_after_reopening(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b", "c"]).await;
    let a = fetch(&*broker, 2).await.remove(0);
    settle(&*broker, &a, ack()).await;
    let before = (counts(&*broker).await, record(&*broker, "a").await, record(&*broker, "b").await);
    drop(broker);
    let broker = fresh.open().await;
    let after = (counts(&*broker).await, record(&*broker, "a").await, record(&*broker, "b").await);
    assert_eq!(after, before);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["c"], "the lease holds too");
}

pub async fn a_process_can_ask_what_it_holds(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let held = async || broker.held(&QUEUE.into(), &me()).await.unwrap();
    enqueue(&*broker, &["a", "b"]).await;
    assert_eq!(held().await, [], "a waiting job is nobody's");
    let a = fetch(&*broker, 1).await.remove(0);
    assert_eq!(held().await, std::slice::from_ref(&a));
    assert_eq!(broker.held(&QUEUE.into(), &"another".into()).await.unwrap(), []);
    assert_eq!(broker.held(&"another".into(), &me()).await.unwrap(), []);
    assert_eq!(settle(&*broker, &a, ack()).await, Settled::Done);
    assert_eq!(held().await, [], "a settled job is nobody's");
}
