//! An id that waits for a place under its rate limit a second time, while its first entry lies in its queue.

use std::time::Duration;

use serde_json::json;
use tikkun::job::{JobState, Limit};
use tikkun::queue::{Disposition, Settled};

use super::super::ground::*;
use super::super::rq::Prefix;

/// As RQ's clients enqueue a job under a limit of one at a time whose place is taken.
async fn put_in(prefix: &Prefix, id: &str, at: &str) {
    let name = format!("job:{id}");
    let fields =
        ["status", "rate_limited", "origin", "q", "rate_limit_key", "one", "rate_limit_concurrency", "1"];
    prefix.ask(&[&["HSET", &name], &fields[..]].concat()).await;
    prefix.ask(&["SADD", "rl-keys", "one"]).await;
    prefix.ask(&["HSET", "rl:one", "concurrency", "1"]).await;
    prefix.ask(&["ZADD", "rl:one:rate_limited", at, id]).await;
}

#[tokio::test]
async fn both_entries_of_a_limited_id_are_run_one_after_the_other() {
    let keep = |seconds| Limit::After(Duration::from_secs(seconds));
    let no = || "no".to_owned();
    for end in [
        ack(),
        Disposition::Ack { result: json!(1), keep: keep(0) },
        Disposition::Discard { error: no(), keep: keep(600) },
        Disposition::Discard { error: no(), keep: keep(0) },
        Disposition::RetryAt { delay: LONG, error: no() },
    ] {
        // Whether another job waits for the place before the second entry, and whether the first end's time is over by then.
        for other in [false, true] {
            let told = format!("{end:?}, another before it: {other}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            enqueue(&*broker, &["a"]).await;
            prefix.ask(&["ZADD", "rl:one:allowed", "1", "a"]).await;
            if other {
                enqueue(&*broker, &["b"]).await;
                prefix.ask(&["LREM", "queue:q", "1", "b"]).await;
                put_in(&prefix, "b", "1").await;
            }
            put_in(&prefix, "a", "2").await;
            let first = fetch(&*broker, 9).await;
            assert_eq!(ids(&first), ["a"], "{told}");
            assert_eq!(settle(&*broker, &first[0], end.clone()).await, Settled::Done, "{told}");
            if other {
                let between = fetch(&*broker, 9).await;
                assert_eq!(ids(&between), ["b"], "{told}");
                prefix.ask(&["ZADD", "finished:q", "XX", "1", "a"]).await;
                prefix.ask(&["ZADD", "failed:q", "XX", "1", "a"]).await;
                broker.expire(9).await.unwrap();
                settle(&*broker, &between[0], ack()).await;
            }
            let second = fetch(&*broker, 9).await;
            assert_eq!(ids(&second), ["a"], "{told}");
            assert_eq!(settle(&*broker, &second[0], ack()).await, Settled::Done, "{told}");
            assert_eq!(record(&*broker, "a").await.state, JobState::Finished, "{told}");
            assert_eq!(prefix.ask_number(&["EXISTS", "rl:one", "rl-keys", "queue:q"]).await, 0, "{told}");
        }
    }
}

#[tokio::test]
async fn limited_id_that_is_canceled_has_no_entry_left() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a"]).await;
    prefix.ask(&["ZADD", "rl:one:allowed", "1", "a"]).await;
    put_in(&prefix, "a", "2").await;
    assert_eq!(broker.cancel(&"a".into()).await.unwrap(), Some(JobState::Canceled));
    assert_eq!(
        prefix.ask_number(&["EXISTS", "rl:one", "rl:one:allowed", "rl:one:rate_limited", "queue:q"]).await,
        0
    );
    // Canceled by RQ's client while another runs: it leaves the second entry.
    broker.requeue(&["a".into()]).await.unwrap();
    let run = fetch(&*broker, 9).await.remove(0);
    prefix.ask(&["ZADD", "rl:one:rate_limited", "3", "a"]).await;
    prefix.ask(&["HSET", "job:a", "status", "canceled"]).await;
    settle(&*broker, &run, ack()).await;
    assert_eq!(fetch(&*broker, 9).await, []);
    assert_eq!(prefix.ask_number(&["EXISTS", "rl:one:rate_limited"]).await, 0);
}
