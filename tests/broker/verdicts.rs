//! The dispositions of deliveries.

use std::time::Duration;

use serde_json::json;
use tikkun::job::{JobId, JobState, Limit, QueueEnd, RETRIES_EXHAUSTED, Retries, RetryAsked};
use tikkun::queue::{AttemptOutcome, Broker, Disposition, JobFilter, Settled};

use super::ground::*;

fn retry(delay: Duration) -> Disposition {
    Disposition::RetryAt { delay, error: "no luck".into() }
}

fn bury(keep: Limit) -> Disposition {
    Disposition::Discard { error: "hopeless".into(), keep }
}

pub async fn an_acknowledged_job_is_finished_and_keeps_its_result(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    for (id, result) in [("a", json!({ "n": [1, "x"] })), ("b", json!("text")), ("c", json!(null))] {
        let delivery = one(&*broker, job(id)).await;
        let verdict = Disposition::Ack { result: result.clone(), keep: Limit::After(LONG) };
        assert_eq!(settle(&*broker, &delivery, verdict).await, Settled::Done);
        let job = record(&*broker, id).await;
        assert_eq!((job.state, job.result, job.error), (JobState::Finished, Some(result), None));
        assert!(job.ended_at.is_some());
    }
}

pub async fn a_retry_counts_a_failure_costs_a_retry_and_waits(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 1, intervals: vec![LONG] });
    let delivery = one(&*broker, new).await;
    assert_eq!(settle(&*broker, &delivery, retry(LONG)).await, Settled::Done);
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.attempt, job.failures), (JobState::Scheduled, 1, 1));
    assert_eq!(job.retries.unwrap().left, 0);
    assert_eq!(job.error.as_deref(), Some("no luck"));
    assert!(job.due_at.unwrap() > job.started_at.unwrap());
    assert_eq!(fetch(&*broker, 1).await, [], "its time has not come");
}

pub async fn a_retry_without_delay_waits_behind_the_others(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b"]).await;
    let a = fetch(&*broker, 1).await.remove(0);
    settle(&*broker, &a, retry(Duration::ZERO)).await;
    let next = fetch(&*broker, 9).await;
    assert_eq!(ids(&next), ["b", "a"]);
    assert_eq!((next[1].job.attempt, next[1].job.failures), (2, 1));
    assert_eq!(next[1].job.retries, None, "it brought none");
}

pub async fn a_long_error_is_whole_alone_and_short_in_a_list(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let delivery = one(&*broker, job("a")).await;
    let error = format!("could not insert {}", "x".repeat(200_000));
    let discard = Disposition::Discard { error: error.clone(), keep: Limit::After(LONG) };
    assert_eq!(settle(&*broker, &delivery, discard).await, Settled::Done);
    assert_eq!(record(&*broker, "a").await.error.as_ref(), Some(&error));
    let filter = JobFilter { state: Some(JobState::Failed), limit: 9, ..JobFilter::default() };
    let listed = broker.search(&filter).await.unwrap().jobs;
    let cut: String = error.chars().take(1000).chain(['…']).collect();
    assert_eq!(listed.iter().map(|job| job.error.clone()).collect::<Vec<_>>(), [Some(cut)]);
}

pub async fn a_buried_job_is_failed_and_keeps_its_error(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let delivery = one(&*broker, job("a")).await;
    assert_eq!(settle(&*broker, &delivery, bury(Limit::After(LONG))).await, Settled::Done);
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.failures, job.error.as_deref()), (JobState::Failed, 1, Some("hopeless")));
    assert!(job.ended_at.is_some() && job.result.is_none());
}

fn run_again(delay: Duration, asked: RetryAsked) -> Disposition {
    Disposition::RunAgain { delay, asked, keep: Limit::After(LONG) }
}

pub async fn a_job_that_asks_is_run_again_and_spends_no_retry(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 1, intervals: vec![] });
    let delivery = one(&*broker, new).await;
    let again = || run_again(LONG, RetryAsked::at_most(3).after([LONG]));
    assert_eq!(settle(&*broker, &delivery, again()).await, Settled::Done);
    assert_eq!(settle(&*broker, &delivery, again()).await, Settled::NotOurs, "nobody lost an answer");
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.attempt, job.failures, job.retries_asked), (JobState::Scheduled, 1, 0, 1));
    assert_eq!((job.retries.unwrap().left, job.error, job.result), (1, None, None));
    assert!(job.due_at.unwrap() > job.started_at.unwrap());
    assert_eq!(fetch(&*broker, 1).await, [], "its time has not come");
    let attempts = broker.attempts(&"a".into()).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].outcome), (1, AttemptOutcome::Retried));
    assert!(attempts[0].error.is_none() && attempts[0].ended_at.is_some());
}

pub async fn a_job_that_asks_goes_where_it_says(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b", "c"]).await;
    let taken = fetch(&*broker, 2).await;
    let asked = RetryAsked::at_most(3);
    settle(&*broker, &taken[0], run_again(Duration::ZERO, asked.clone())).await;
    settle(&*broker, &taken[1], run_again(Duration::ZERO, asked.at_front())).await;
    let next = fetch(&*broker, 9).await;
    assert_eq!(ids(&next), ["b", "c", "a"]);
    assert_eq!((next[0].job.attempt, next[0].job.retries_asked, next[1].job.retries_asked), (2, 1, 0));
}

pub async fn a_job_that_asks_too_often_has_failed(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 3, intervals: vec![] });
    let delivery = one(&*broker, new).await;
    let asked = RetryAsked::at_most(1);
    settle(&*broker, &delivery, run_again(Duration::ZERO, asked.clone())).await;
    let delivery = fetch(&*broker, 1).await.remove(0);
    let keep = Limit::After(LONG);
    let verdict = Disposition::Exhaust { asked: asked.clone(), keep };
    assert_eq!(settle(&*broker, &delivery, verdict).await, Settled::Done);
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.attempt, job.failures, job.retries_asked), (JobState::Failed, 2, 1, 1));
    assert_eq!((job.error.as_deref(), job.retries.unwrap().left), (Some(RETRIES_EXHAUSTED), 3));
    assert_eq!((counts(&*broker).await.failed, fetch(&*broker, 9).await), (1, vec![]));
    let attempts = broker.attempts(&"a".into()).await.unwrap();
    let told: Vec<_> = attempts.iter().map(|one| (one.outcome, one.error.as_deref())).collect();
    let failed = (AttemptOutcome::Failed, Some(RETRIES_EXHAUSTED));
    assert_eq!(told, [failed, (AttemptOutcome::Retried, None)]);
    broker.requeue(&["a".into()]).await.unwrap();
    assert_eq!(fetch(&*broker, 1).await[0].job.retries_asked, 1, "a person gives none back");
}

pub async fn a_stopped_job_has_failed_whatever_retries_are_left(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 3, intervals: vec![] });
    let delivery = one(&*broker, new).await;
    let verdict = Disposition::Stop { error: "stopped by a person".into(), keep: Limit::After(LONG) };
    assert_eq!(settle(&*broker, &delivery, verdict).await, Settled::Done);
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.retries.unwrap().left), (JobState::Failed, 3));
    assert_eq!(job.error.as_deref(), Some("stopped by a person"));
    assert_eq!((counts(&*broker).await.failed, fetch(&*broker, 9).await), (1, vec![]));
}

pub async fn a_forwarded_job_waits_elsewhere_as_it_was(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 3, intervals: vec![LONG] });
    new.timeout = Some(Limit::After(LONG));
    let delivery = one(&*broker, new).await;
    let forward = Disposition::Forward { queue: "other".into() };
    let waiter = broker.clone();
    let woken = tokio::spawn(async move { waiter.wait(&"other".into(), LONG).await });
    assert_eq!(settle(&*broker, &delivery, forward).await, Settled::Done);
    assert!(in_time("a ring in the other queue", woken).await.unwrap().unwrap());
    assert_eq!(counts(&*broker).await, Default::default());
    assert_eq!(broker.counts().await.unwrap()[&"other".into()].queued, 1);
    assert_eq!(fetch(&*broker, 9).await, []);
    let again = broker.fetch(&"other".into(), 9, &me()).await.unwrap().remove(0).job;
    let before = delivery.job;
    assert_eq!((&again.args, &again.retries, again.timeout), (&before.args, &before.retries, before.timeout));
    assert_eq!((again.queue.as_str(), again.failures, again.orphaned), ("other", 0, 0));
}

pub async fn a_job_given_back_loses_nothing(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 3, intervals: vec![] });
    broker.enqueue(&[new, job("b")]).await.unwrap();
    let a = fetch(&*broker, 1).await.remove(0);
    assert_eq!(settle(&*broker, &a, Disposition::Release { end: QueueEnd::Tail }).await, Settled::Done);
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.attempt, job.failures, job.orphaned), (JobState::Queued, 1, 0, 0));
    assert_eq!(job.retries.unwrap().left, 3);
    let b = fetch(&*broker, 1).await.remove(0);
    assert_eq!(b.job.id, "b".into(), "the other's turn comes first");
    settle(&*broker, &b, Disposition::Release { end: QueueEnd::Head }).await;
    assert_eq!(ids(&fetch(&*broker, 9).await), ["b", "a"]);
}

pub async fn a_rescued_job_counts_its_orphaning_and_comes_next(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 3, intervals: vec![] });
    broker.enqueue(&[new, job("b")]).await.unwrap();
    let a = fetch(&*broker, 1).await.remove(0);
    assert_eq!(settle(&*broker, &a, Disposition::Rescue).await, Settled::Done);
    let next = fetch(&*broker, 9).await;
    assert_eq!(ids(&next), ["a", "b"]);
    let job = &next[0].job;
    assert_eq!((job.attempt, job.failures, job.orphaned), (2, 0, 1));
    assert_eq!(job.retries.as_ref().unwrap().left, 3);
}

pub async fn keeping_for_no_time_drops_at_once(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let none = Limit::After(Duration::ZERO);
    let verdicts = [Disposition::Ack { result: json!(1), keep: none }, bury(none)];
    for verdict in verdicts {
        let delivery = one(&*broker, job("a")).await;
        assert_eq!(settle(&*broker, &delivery, verdict).await, Settled::Done);
        assert_eq!(broker.job(&JobId::from("a")).await.unwrap(), None);
        assert_eq!(counts(&*broker).await, Default::default());
    }
}

fn every_verdict() -> Vec<Disposition> {
    vec![
        ack(),
        Disposition::Ack { result: json!(1), keep: Limit::After(Duration::ZERO) },
        retry(Duration::ZERO),
        retry(LONG),
        bury(Limit::Never),
        Disposition::Stop { error: "stopped".into(), keep: Limit::Never },
        Disposition::Release { end: QueueEnd::Head },
        Disposition::Rescue,
        Disposition::Forward { queue: "other".into() },
    ]
}

async fn assert_void(broker: &dyn Broker, delivery: &tikkun::queue::Delivery) {
    let (before, all) = (broker.job(&delivery.job.id).await.unwrap(), counts(broker).await);
    for verdict in every_verdict() {
        let shown = format!("{verdict:?}");
        assert_eq!(settle(broker, delivery, verdict).await, Settled::NotOurs, "{shown}");
        assert_eq!(broker.job(&delivery.job.id).await.unwrap(), before, "{shown}");
    }
    assert_eq!(counts(broker).await, all);
}

pub async fn an_older_execution_settles_nothing(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let old = one(&*broker, job("a")).await;
    settle(&*broker, &old, Disposition::Rescue).await;
    assert_void(&*broker, &old).await;
    let new = fetch(&*broker, 1).await.remove(0);
    assert_ne!(new.execution, old.execution);
    assert_void(&*broker, &old).await;
    assert_eq!(settle(&*broker, &new, ack()).await, Settled::Done);
}

pub async fn settling_twice_counts_once(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    for (n, verdict) in every_verdict().into_iter().enumerate() {
        let delivery = one(&*broker, job(&format!("job-{n}"))).await;
        assert_eq!(settle(&*broker, &delivery, verdict).await, Settled::Done);
        assert_void(&*broker, &delivery).await;
        // What came back to its queue is out of the way of the next round.
        for again in fetch(&*broker, 9).await {
            settle(&*broker, &again, ack()).await;
        }
    }
}

pub async fn a_slice_is_answered_in_its_order(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let names: Vec<_> = (0..9).map(|n| format!("job-{n}")).collect();
    enqueue(&*broker, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let lent = fetch(&*broker, 9).await;
    settle(&*broker, &lent[2], ack()).await;
    let mut slice: Vec<_> = lent.iter().zip(every_verdict()).map(|(one, how)| settlement(one, how)).collect();
    slice.push(settlement(&lent[0], Disposition::Rescue));
    let mut expected = [Settled::Done; 10];
    expected[2] = Settled::NotOurs;
    expected[9] = Settled::NotOurs;
    assert_eq!(broker.settle(&slice).await.unwrap(), expected);
    assert_eq!(broker.settle(&[]).await.unwrap(), []);
    let job = record(&*broker, "job-0").await;
    assert_eq!((job.state, job.orphaned), (JobState::Finished, 0), "the first of two counted");
    let counts = counts(&*broker).await;
    assert_eq!((counts.queued, counts.scheduled, counts.started), (2, 1, 0));
    assert_eq!((counts.finished, counts.failed), (2, 2));
}
