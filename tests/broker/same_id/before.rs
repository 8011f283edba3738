//! An entry that was there before a run of its id began is run in its turn, however little that run's end keeps.

use std::time::Duration;

use serde_json::json;
use tikkun::job::Limit;
use tikkun::queue::{Broker, Budget, Disposition, Settled};

use super::super::ground::*;
use super::super::rq::Prefix;

/// Where an id may wait, though its status tells of a run.
const PLACES: [&str; 4] = ["scheduled:q", "deferred:q", "ready:q", "scheduler:scheduled_jobs"];

fn ends(well: bool, seconds: u64) -> Disposition {
    let keep = Limit::After(Duration::from_secs(seconds));
    match well {
        true => Disposition::Ack { result: json!(1), keep },
        false => Disposition::Discard { error: "no".into(), keep },
    }
}

async fn exists(prefix: &Prefix, key: &str) -> bool {
    prefix.ask_number(&["EXISTS", key]).await == 1
}

/// Runs once more from its queue, and then nothing of it is left.
async fn runs_again_and_is_gone(prefix: &Prefix, broker: &dyn Broker, told: &str) {
    let next = fetch(broker, 9).await;
    assert_eq!(ids(&next), ["a"], "{told}");
    assert_eq!(settle(broker, &next[0], ends(true, 0)).await, Settled::Done, "{told}");
    assert!(!exists(prefix, "job:a").await, "{told}");
}

#[tokio::test]
async fn what_waits_in_a_registry_outlives_the_end_of_a_run_that_began_meanwhile() {
    for place in PLACES {
        for (well, seconds) in [(true, 0), (true, 4), (false, 0), (false, 4)] {
            let told = format!("{place}, well: {well}, kept for {seconds} s");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            enqueue(&*broker, &["a"]).await;
            prefix.ask(&["ZADD", place, "9999999999", "a"]).await;
            let first = fetch(&*broker, 1).await.remove(0);
            assert_eq!(settle(&*broker, &first, ends(well, seconds)).await, Settled::Done, "{told}");
            broker.expire(9).await.unwrap();
            assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{told}");
            if place == "scheduled:q" {
                prefix.ask(&["ZADD", place, "1", "a"]).await;
                assert_eq!(broker.promote_due(9).await.unwrap(), 1, "{told}");
            } else {
                prefix.ask(&["ZREM", place, "a"]).await;
                prefix.ask(&["RPUSH", "queue:q", "a"]).await;
            }
            runs_again_and_is_gone(&prefix, &*broker, &told).await;
        }
    }
}

#[tokio::test]
async fn second_entry_in_the_queue_outlives_the_end_of_the_first() {
    for (well, seconds) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let told = format!("well: {well}, kept for {seconds} s");
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["a"]).await;
        prefix.ask(&["RPUSH", "queue:q", "a"]).await;
        let first = fetch(&*broker, 1).await.remove(0);
        settle(&*broker, &first, ends(well, seconds)).await;
        if seconds > 0 {
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            assert_eq!(broker.expire(9).await.unwrap(), 1, "{told}: the entry of the first end");
        }
        assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{told}");
        runs_again_and_is_gone(&prefix, &*broker, &told).await;
    }
}

#[tokio::test]
async fn of_many_ends_at_once_those_are_kept_whose_ids_wait_again() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let names: Vec<_> = (0..30).map(|place| format!("job-{place}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    enqueue(&*broker, &names).await;
    let lent = fetch(&*broker, 30).await;
    for name in names.iter().step_by(2) {
        prefix.ask(&["RPUSH", "queue:q", name]).await;
    }
    let all: Vec<_> = lent.iter().map(|one| settlement(one, ends(true, 0))).collect();
    assert_eq!(broker.settle(&all).await.unwrap(), [Settled::Done; 30]);
    for (place, name) in names.iter().enumerate() {
        assert_eq!(exists(&prefix, &format!("job:{name}")).await, place % 2 == 0, "{name}");
    }
    assert_eq!(fetch(&*broker, 30).await.len(), 15);
}

#[tokio::test]
async fn budget_drops_the_entry_of_an_end_and_not_what_waits_again() {
    for waits in ["scheduled", "queued"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        for id in ["a", "b"] {
            let run = one(&*broker, job(id)).await;
            settle(&*broker, &run, ends(true, 60)).await;
        }
        if waits == "queued" {
            prefix.ask(&["HSET", "job:a", "status", waits]).await;
        } else {
            prefix.ask(&["ZADD", "scheduled:q", "9999999999", "a"]).await;
        }
        prefix.ask(&["ZADD", "finished:q", "XX", "1", "a"]).await;
        assert_eq!(broker.trim(Budget { finished: 1, failed: 1 }, 9).await.unwrap(), 1);
        assert_eq!(prefix.ask_list(&["ZRANGE", "finished:q", "0", "-1"]).await, ["b"], "{waits}");
        assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{waits}");
    }
}

#[tokio::test]
async fn job_of_a_dead_worker_of_rq_that_waits_again_is_not_dropped_with_its_failure() {
    for waits in [true, false] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["a"]).await;
        prefix.ask(&["LREM", "queue:q", "1", "a"]).await;
        prefix.ask(&["HSET", "job:a", "status", "started", "worker_name", "w", "failure_ttl", "0"]).await;
        prefix.ask(&["ZADD", "wip:q", "1000", "a:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"]).await;
        if waits {
            prefix.ask(&["ZADD", "scheduled:q", "9999999999", "a"]).await;
        }
        assert_eq!(broker.tend(9).await.unwrap().len(), 1);
        assert_eq!(exists(&prefix, "job:a").await, waits);
    }
}
