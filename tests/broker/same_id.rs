//! Every entry of a queue is run, even if its id has been used before.

mod again;
mod before;
mod in_line;
mod limited;
mod lives;

use std::time::Duration;

use tikkun::job::{JobState, Limit, RetryAsked};
use tikkun::queue::{Disposition, Requeued, Settled};

use super::ground::*;
use super::rq::Prefix;

#[tokio::test]
async fn id_that_is_put_in_again_while_it_runs_is_run_again_as_an_execution_of_its_own() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let first = one(&*broker, job("a")).await;
    // As RQ's clients do it: the hash says that it waits, and the id lies in the list.
    prefix.ask(&["HSET", "job:a", "status", "queued"]).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    let second = fetch(&*broker, 9).await.pop().expect("the second entry, while the first runs");
    assert_ne!(first.execution, second.execution);
    assert_eq!((second.job.attempt, &second.job.args), (2, &first.job.args));
    assert_eq!(broker.held(&queue(), &me()).await.unwrap().len(), 2, "both run");
    assert_eq!(settle(&*broker, &first, ack()).await, Settled::Done);
    assert_eq!(settle(&*broker, &second, ack()).await, Settled::Done);
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
    assert_eq!(counts(&*broker).await.started, 0);
}

#[tokio::test]
async fn id_that_is_put_in_again_while_the_only_slot_is_taken_is_run_after_the_first_has_ended() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let first = one(&*broker, job("a")).await;
    prefix.ask(&["HSET", "job:a", "status", "queued"]).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    assert_eq!(settle(&*broker, &first, ack()).await, Settled::Done);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["a"]);
    assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "what runs does not run out");
}

#[tokio::test]
async fn two_entries_of_one_id_are_two_runs() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a"]).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    let both = fetch(&*broker, 9).await;
    assert_eq!(ids(&both), ["a", "a"]);
    for delivery in &both {
        assert_eq!(settle(&*broker, delivery, ack()).await, Settled::Done);
    }
}

#[tokio::test]
async fn whatever_its_status_says_what_lies_in_a_queue_is_run() {
    for status in [
        "queued",
        "finished",
        "failed",
        "stopped",
        "started",
        "deferred",
        "scheduled",
        "rate_limited",
        "odd",
        "",
    ] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["a", "b"]).await;
        match status {
            "" => prefix.ask(&["HDEL", "job:a", "status"]).await,
            status => prefix.ask(&["HSET", "job:a", "status", status]).await,
        }
        let lent = fetch(&*broker, 9).await;
        assert_eq!(ids(&lent), ["a", "b"], "{status}");
        assert_eq!(settle(&*broker, &lent[0], ack()).await, Settled::Done, "{status}");
        assert_eq!(record(&*broker, "a").await.state, JobState::Finished, "{status}");
    }
}

#[tokio::test]
async fn what_was_canceled_or_is_gone_is_dropped_and_its_neighbours_run() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a", "b", "c"]).await;
    prefix.ask(&["HSET", "job:a", "status", "canceled"]).await;
    prefix.ask(&["DEL", "job:b"]).await;
    assert_eq!(ids(&fetch(&*broker, 9).await), ["c"]);
    assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, 0);
}

#[tokio::test]
async fn what_comes_due_is_put_into_its_queue_whatever_its_status_says() {
    for (status, comes) in [("scheduled", true), ("finished", true), ("started", true), ("canceled", false)] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let mut due = job("a");
        due.delay = Some(LONG);
        broker.enqueue(&[due]).await.unwrap();
        prefix.ask(&["HSET", "job:a", "status", status]).await;
        prefix.ask(&["ZADD", "scheduled:q", "1", "a"]).await;
        assert_eq!(broker.promote_due(9).await.unwrap(), u32::from(comes), "{status}");
        assert_eq!(fetch(&*broker, 9).await.len(), usize::from(comes), "{status}");
        assert_eq!(prefix.ask_number(&["ZCARD", "scheduled:q"]).await, 0, "{status}");
    }
}

/// As RQ's clients put a job in under an id that is there: over its hash, of which only their own fields change.
async fn put_in_over(prefix: &Prefix, made: &str) {
    let fields =
        ["created_at", made, "status", "queued", "started_at", "", "ended_at", "", "worker_name", ""];
    prefix.ask(&[&["HSET", "job:a"], &fields[..]].concat()).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
}

#[tokio::test]
async fn what_is_put_in_anew_counts_its_own_failures_and_deaths() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let dies = one(&*broker, job("a")).await;
    settle(&*broker, &dies, Disposition::Rescue).await;
    let fails = fetch(&*broker, 1).await.remove(0);
    settle(&*broker, &fails, Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) }).await;
    assert_eq!(broker.requeue(&["a".into()]).await.unwrap(), [Requeued::Waits]);
    let again = fetch(&*broker, 1).await.remove(0);
    assert_eq!((again.job.failures, again.job.orphaned), (1, 1), "a person gives no retries back");
    settle(&*broker, &again, Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) }).await;
    put_in_over(&prefix, "2030-01-01T00:00:00.000000Z").await;
    let anew = fetch(&*broker, 1).await.remove(0);
    assert_eq!((anew.job.failures, anew.job.orphaned), (0, 0));
    broker.end_lease(&me()).await.unwrap();
    let orphan = broker.orphans(9).await.unwrap().remove(0).delivery;
    assert_eq!((orphan.job.failures, orphan.job.orphaned), (0, 0));
    settle(&*broker, &anew, Disposition::Rescue).await;
    assert_eq!(record(&*broker, "a").await.orphaned, 1);
}

#[tokio::test]
async fn what_runs_again_after_a_good_end_counts_its_own_failures() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let mut run = one(&*broker, job("a")).await;
    prefix.ask(&["HSET", "job:a", "repeats_left", "1", "repeat_intervals", "[0]"]).await;
    // Its repetition, and then as rq-scheduler puts it in: as it was.
    for round in 0..3 {
        let told = format!("round {round}");
        assert_eq!(run.job.failures, 0, "{told}");
        settle(&*broker, &run, Disposition::RetryAt { delay: Duration::ZERO, error: "no".into() }).await;
        let retried = fetch(&*broker, 1).await.remove(0);
        assert_eq!(retried.job.failures, 1, "{told}");
        assert_eq!(settle(&*broker, &retried, ack()).await, Settled::Done);
        if round > 0 {
            assert_eq!(record(&*broker, "a").await.failures, 1, "{told}: it is told of what has ended");
            prefix.ask(&["HSET", "job:a", "status", "queued"]).await;
            prefix.ask(&["RPUSH", "queue:q", "a"]).await;
        }
        run = fetch(&*broker, 1).await.remove(0);
    }
}

#[tokio::test]
async fn what_is_put_in_anew_or_after_a_good_end_may_ask_for_as_many_retries_as_ever() {
    let asked = || Disposition::RunAgain {
        delay: Duration::ZERO,
        asked: RetryAsked::at_most(1),
        keep: Limit::After(LONG),
    };
    let exhausted = || Disposition::Exhaust { asked: RetryAsked::at_most(1), keep: Limit::After(LONG) };
    for well in [true, false] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let mut run = one(&*broker, job("a")).await;
        for night in 1..=3 {
            let told = format!("night {night}, well: {well}");
            assert_eq!(run.job.retries_asked, 0, "{told}");
            settle(&*broker, &run, asked()).await;
            let again = fetch(&*broker, 1).await.remove(0);
            assert_eq!(again.job.retries_asked, 1, "{told}");
            settle(&*broker, &again, if well { ack() } else { exhausted() }).await;
            assert_eq!(record(&*broker, "a").await.retries_asked, 1, "{told}: it is told of what has ended");
            if well {
                prefix.ask(&["HSET", "job:a", "status", "queued"]).await;
                prefix.ask(&["RPUSH", "queue:q", "a"]).await;
            } else {
                put_in_over(&prefix, &format!("2030-01-0{night}T00:00:00.000000Z")).await;
            }
            run = fetch(&*broker, 1).await.remove(0);
        }
    }
}
