//! Upkeep: the budget of kept jobs, and the marks of schedules.

use chrono::{DateTime, TimeDelta, Utc};
use tikkun::job::{JobId, JobState, Limit};
use tikkun::queue::{Broker, Budget, Disposition, ScheduleMark, ScheduleStep};

use super::ground::*;

/// Ends jobs, oldest first, each kept for ever.
async fn end(broker: &dyn Broker, ids: &[&str], failed: bool) {
    for id in ids {
        let delivery = one(broker, job(id)).await;
        let keep = Limit::Never;
        let verdict = match failed {
            true => Disposition::Discard { error: "no".into(), keep },
            false => Disposition::Ack { result: serde_json::json!(1), keep },
        };
        settle(broker, &delivery, verdict).await;
    }
}

async fn is_kept(broker: &dyn Broker, id: &str) -> bool {
    broker.job(&JobId::from(id)).await.unwrap().is_some()
}

pub async fn kept_jobs_beyond_the_budget_go_oldest_first(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    end(&*broker, &["f1", "f2", "f3", "f4", "f5"], false).await;
    end(&*broker, &["b1", "b2", "b3"], true).await;
    one(&*broker, job("open")).await;
    let budget = Budget { finished: 2, failed: 1 };
    let mut dropped = 0;
    eventually("all beyond the budget to be dropped", async || {
        let some = broker.trim(budget, 2).await.unwrap();
        assert!(some <= 2, "no more than asked for");
        dropped += some;
        (some == 0).then_some(())
    })
    .await;
    assert_eq!(dropped, 5, "three finished and two failed");
    for (id, kept) in [("f3", false), ("f4", true), ("f5", true), ("b2", false), ("b3", true)] {
        assert_eq!(is_kept(&*broker, id).await, kept, "{id}");
    }
    assert_eq!(record(&*broker, "open").await.state, JobState::Started);
    assert_eq!(broker.trim(budget, 9).await.unwrap(), 0, "the second run changes nothing");
}

pub async fn a_budget_of_zero_keeps_all_and_counts_per_queue(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    end(&*broker, &["f1", "f2"], false).await;
    for id in ["c1", "c2"] {
        enqueue(&*broker, &[id]).await;
        broker.cancel(&JobId::from(id)).await.unwrap();
    }
    assert_eq!(broker.trim(Budget::default(), 9).await.unwrap(), 0);
    assert_eq!(broker.trim(Budget { finished: 2, failed: 0 }, 9).await.unwrap(), 0, "not beyond");
    let mut elsewhere = job("elsewhere");
    elsewhere.queue = "other".into();
    broker.enqueue(&[elsewhere]).await.unwrap();
    let delivery = broker.fetch(&"other".into(), 1, &me()).await.unwrap().remove(0);
    settle(&*broker, &delivery, Disposition::Ack { result: serde_json::json!(1), keep: Limit::Never }).await;
    assert_eq!(broker.trim(Budget { finished: 2, failed: 2 }, 9).await.unwrap(), 0, "each queue has its own");
    assert_eq!(broker.trim(Budget { finished: 0, failed: 1 }, 9).await.unwrap(), 1, "canceled jobs count");
    assert!(is_kept(&*broker, "c2").await && !is_kept(&*broker, "c1").await);
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn mark(minute: i64) -> ScheduleMark {
    ScheduleMark { rule: "* * * * * UTC".to_owned(), until: at(minute), last: Some(at(minute)) }
}

fn step(from: Option<i64>, to: i64, jobs: &[&str]) -> ScheduleStep {
    let jobs = jobs.iter().map(|id| job(id)).collect();
    ScheduleStep { name: "minutely".to_owned(), from: from.map(mark), to: mark(to), jobs }
}

pub async fn a_step_enqueues_and_moves_its_mark_together(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    assert!(broker.schedule_marks().await.unwrap().is_empty());
    let first = ScheduleMark { last: None, ..mark(1) };
    let begin = ScheduleStep { to: first.clone(), ..step(None, 1, &[]) };
    assert!(broker.mark_schedule(&begin).await.unwrap());
    assert_eq!(broker.schedule_marks().await.unwrap(), [("minutely".to_owned(), first.clone())].into());
    let next = ScheduleStep { from: Some(first), ..step(None, 2, &["a", "b"]) };
    assert!(broker.mark_schedule(&next).await.unwrap());
    drop(broker);
    let broker = fresh.open().await;
    assert_eq!(broker.schedule_marks().await.unwrap(), [("minutely".to_owned(), mark(2))].into());
    assert_eq!(ids(&fetch(&*broker, 9).await), ["a", "b"]);
}

pub async fn a_step_from_an_older_mark_changes_nothing(fresh: &dyn Fresh) {
    let (broker, late) = (leased(fresh).await, fresh.open().await);
    assert!(broker.mark_schedule(&step(None, 1, &["a"])).await.unwrap());
    let a = fetch(&*broker, 9).await.remove(0);
    let keep = Limit::After(std::time::Duration::ZERO);
    settle(&*broker, &a, Disposition::Ack { result: serde_json::json!(1), keep }).await;
    assert!(!late.mark_schedule(&step(None, 1, &["a"])).await.unwrap(), "even when its job is gone");
    assert!(!late.mark_schedule(&step(Some(0), 2, &["b"])).await.unwrap());
    assert_eq!(fetch(&*broker, 9).await, []);
    assert!(late.mark_schedule(&step(Some(1), 2, &["b"])).await.unwrap());
    assert_eq!(ids(&fetch(&*broker, 9).await), ["b"]);
}

pub async fn of_two_leaders_one_takes_the_step(fresh: &dyn Fresh) {
    let (one, other) = (leased(fresh).await, fresh.open().await);
    for round in 0..10 {
        let from = (round > 0).then_some(round);
        let (a, b) = (step(from, round + 1, &["by-one"]), step(from, round + 1, &["by-other"]));
        let (first, second) = tokio::join!(one.mark_schedule(&a), other.mark_schedule(&b));
        assert_ne!(first.unwrap(), second.unwrap(), "round {round}");
    }
}

pub async fn a_due_job_wakes_the_waiter(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let waiter = broker.clone();
    let woken = tokio::spawn(async move { waiter.wait(&queue(), LONG).await });
    broker.mark_schedule(&step(None, 1, &["a"])).await.unwrap();
    assert!(in_time("a ring for the job that came due", woken).await.unwrap().unwrap());
}
