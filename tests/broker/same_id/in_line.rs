//! A job that lies in line does not die with an earlier end that no registry lists any more: RQ's clients leave its time to
//! live where they enqueue a canceled job again, and RQ's requeue does.

use std::sync::Arc;

use tikkun::job::{JobState, Limit};
use tikkun::queue::{Broker, Budget, Disposition};

use super::super::ground::*;
use super::super::rq::Prefix;

/// Every key that lives and dies with the job.
const KEYS: [&str; 3] = ["job:a", "job:a:dependents", "job::a:dependencies"];

/// Gives all of them so long to live.
async fn dies_in(prefix: &Prefix, seconds: &str) {
    for key in &KEYS[1..] {
        prefix.ask(&["SADD", key, "other"]).await;
    }
    for key in KEYS {
        prefix.ask(&["EXPIRE", key, seconds]).await;
    }
}

async fn lives_on(prefix: &Prefix, told: &str) {
    for key in KEYS {
        assert_eq!(prefix.ask_number(&["TTL", key]).await, -1, "{told}: {key}");
    }
}

/// As RQ's clients enqueue an id over what is there.
async fn put_in(prefix: &Prefix, status: &str, line: &str) {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    prefix
        .ask(&["HSET", "job:a", "status", status, "created_at", &now, "started_at", "", "ended_at", ""])
        .await;
    match line {
        "queue:q" => prefix.ask(&["RPUSH", line, "a"]).await,
        line => prefix.ask(&["ZADD", line, "9999999999", "a"]).await,
    }
}

/// A job that was canceled while it waited, or while it ran.
async fn canceled(prefix: &Prefix, runs: bool) -> Arc<dyn Broker> {
    let broker = leased(prefix).await;
    enqueue(&*broker, &["a"]).await;
    prefix.ask(&["HSET", "job:a", "failure_ttl", "4"]).await;
    if runs {
        let run = fetch(&*broker, 1).await.remove(0);
        // As RQ's clients do it.
        prefix.ask(&["HSET", "job:a", "status", "canceled"]).await;
        prefix.ask(&["ZADD", "canceled:q", "1", "a"]).await;
        settle(&*broker, &run, ack()).await;
    } else {
        assert_eq!(broker.cancel(&"a".into()).await.unwrap(), Some(JobState::Canceled));
    }
    assert!((4..=9).contains(&prefix.ask_number(&["TTL", "job:a"]).await));
    dies_in(prefix, "9").await;
    broker
}

async fn tidy(broker: &dyn Broker) {
    broker.trim(Budget { finished: 0, failed: 0 }, 9).await.unwrap();
}

#[tokio::test]
async fn what_was_canceled_and_is_put_in_again_outlives_its_cancellation() {
    for runs in [false, true] {
        for (status, line) in
            [("queued", "queue:q"), ("scheduled", "scheduled:q"), ("deferred", "deferred:q")]
        {
            let told = format!("{status}, canceled while it ran: {runs}");
            let prefix = Prefix::new();
            let broker = canceled(&prefix, runs).await;
            put_in(&prefix, status, line).await;
            if line == "queue:q" {
                broker.expire(9).await.unwrap();
                lives_on(&prefix, &told).await;
                dies_in(&prefix, "9").await;
            }
            tidy(&*broker).await;
            lives_on(&prefix, &told).await;
            assert_eq!(prefix.ask_number(&["EXISTS", "canceled:q"]).await, 0, "{told}");
        }
    }
}

#[tokio::test]
async fn what_was_canceled_dies_as_it_must_unless_it_is_put_in_again() {
    let prefix = Prefix::new();
    let broker = canceled(&prefix, false).await;
    // What lies in line of it is dropped when its turn comes.
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    broker.expire(9).await.unwrap();
    tidy(&*broker).await;
    assert!((1..=9).contains(&prefix.ask_number(&["TTL", "job:a"]).await));
}

#[tokio::test]
async fn what_was_canceled_keeps_the_time_to_live_of_its_client_alone() {
    for (status, line) in [("queued", "queue:q"), ("scheduled", "scheduled:q")] {
        let prefix = Prefix::new();
        let broker = canceled(&prefix, false).await;
        put_in(&prefix, status, line).await;
        prefix.ask(&["HSET", "job:a", "ttl", "60"]).await;
        dies_in(&prefix, "60").await;
        broker.expire(9).await.unwrap();
        tidy(&*broker).await;
        assert!((50..=60).contains(&prefix.ask_number(&["TTL", "job:a"]).await), "{status}");
        // The field is there yet from an earlier enqueueing, and the time is of the cancellation.
        prefix.ask(&["ZADD", "canceled:q", "1", "a"]).await;
        dies_in(&prefix, "9").await;
        tidy(&*broker).await;
        lives_on(&prefix, status).await;
    }
}

#[tokio::test]
async fn what_rq_requeues_outlives_its_failure_wherever_it_waits() {
    for is_limited in [false, true] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let run = one(&*broker, job("a")).await;
        settle(&*broker, &run, Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) }).await;
        dies_in(&prefix, "9").await;
        prefix.ask(&["ZREM", "failed:q", "a"]).await;
        if is_limited {
            put_in(&prefix, "rate_limited", "rl:one:rate_limited").await;
            prefix.ask(&["SADD", "rl-keys", "one"]).await;
            broker.tend(9).await.unwrap();
        } else {
            put_in(&prefix, "queued", "queue:q").await;
            broker.expire(9).await.unwrap();
        }
        lives_on(&prefix, &format!("limited: {is_limited}")).await;
    }
}

#[tokio::test]
async fn a_long_line_is_looked_through_in_parts() {
    const LENGTH: usize = 2_500;
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["first"]).await;
    prefix.ask(&["EXPIRE", "job:first", "60"]).await;
    let lua = "for i = 2, tonumber(ARGV[2]) do
        redis.call('HSET', ARGV[1] .. 'job:' .. i, 'status', 'queued')
        redis.call('EXPIRE', ARGV[1] .. 'job:' .. i, 60)
        redis.call('RPUSH', ARGV[1] .. 'queue:q', i)
    end";
    prefix.script(lua, &[&LENGTH.to_string()]).await;
    for (looks, places) in [(1, [LENGTH, 1501]), (2, [1500, 501]), (3, [500, 2])] {
        // A second later.
        prefix.ask(&["DEL", "tikkun:looked"]).await;
        for place in &places {
            assert!(
                prefix.ask_number(&["TTL", &format!("job:{place}")]).await > 0,
                "before look {looks}: {place}"
            );
        }
        broker.expire(9).await.unwrap();
        for place in &places {
            assert_eq!(
                prefix.ask_number(&["TTL", &format!("job:{place}")]).await,
                -1,
                "look {looks}: {place}"
            );
        }
    }
    assert_eq!(prefix.ask_number(&["TTL", "job:first"]).await, -1);
    assert_eq!(prefix.ask_number(&["EXISTS", "tikkun:lines"]).await, 0, "the next look begins at the tail");
}

#[tokio::test]
async fn nothing_of_a_job_dies_while_it_runs() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a", "b"]).await;
    dies_in(&prefix, "9").await;
    let runs = fetch(&*broker, 9).await;
    lives_on(&prefix, "a").await;
    assert_eq!(prefix.ask_number(&["EXISTS", "job:b:dependents", "job::b:dependencies"]).await, 0);
    // As a run of RQ's workers leaves them, which saves the hash alone.
    dies_in(&prefix, "9").await;
    settle(&*broker, &runs[0], Disposition::Rescue).await;
    lives_on(&prefix, "while it waits again").await;
}
