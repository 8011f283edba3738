//! Keys shared by jobs: the set of queues, the registries, the keys of a rate limit. If the server refuses
//! one, or it has a wrong type, no job is blamed, and nothing waits for ever.

use std::time::Duration;

use tikkun::job::{JobState, Limit, QueueEnd, Unique};
use tikkun::queue::{Broker, Delivery, Disposition, RqSettings, open_rq};

use super::ground::*;
use super::redis_server::SHARED;
use super::refused::User;
use super::rq::Prefix;

const LIMITED: [&str; 4] = ["rate_limit_key", "mail", "rate_limit_concurrency", "1"];

/// A job that has a key and the only place of a limit, for which `next` waits.
async fn waited_for(prefix: &Prefix, broker: &dyn Broker) {
    let unique = Some(Unique { key: "k".to_owned(), period: None });
    broker.enqueue(&[tikkun::job::NewJob { unique, ..job("a") }]).await.unwrap();
    prefix.ask(&["HSET", "rl:mail", "concurrency", "1"]).await;
    prefix.ask(&["SADD", "rl-keys", "mail"]).await;
    prefix.ask(&["ZADD", "rl:mail:allowed", "1", "a"]).await;
    prefix.ask(&[&["HSET", "job:a"], &LIMITED[..]].concat()).await;
    let next = ["status", "rate_limited", "origin", "lonely", "data", ""];
    prefix.ask(&[&["HSET", "job:next"], &next[..], &LIMITED[..]].concat()).await;
    prefix.ask(&["ZADD", "rl:mail:rate_limited", "1", "next"]).await;
}

/// The same in its second attempt, and a job that depends on it.
async fn second_attempt(prefix: &Prefix, broker: &dyn Broker) -> Delivery {
    waited_for(prefix, broker).await;
    let first = fetch(broker, 1).await.remove(0);
    settle(broker, &first, retry(Duration::ZERO)).await;
    prefix.ask(&["HSET", "job:child", "status", "deferred", "origin", "lonely", "data", ""]).await;
    prefix.ask(&["SADD", "job:a:dependents", "child"]).await;
    prefix.ask(&["ZADD", "deferred:lonely", "1", "child"]).await;
    fetch(broker, 1).await.remove(0)
}

fn retry(delay: Duration) -> Disposition {
    Disposition::RetryAt { delay, error: "no".into() }
}

fn verdicts() -> [(Disposition, JobState); 6] {
    [
        (ack(), JobState::Finished),
        (Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) }, JobState::Failed),
        (retry(Duration::ZERO), JobState::Queued),
        (retry(LONG), JobState::Scheduled),
        (Disposition::Release { end: QueueEnd::Head }, JobState::Queued),
        (Disposition::Rescue, JobState::Queued),
    ]
}

/// As if nothing had been refused.
async fn has_ended_so(prefix: &Prefix, broker: &dyn Broker, state: JobState, told: &str) {
    let found = record(broker, "a").await;
    assert_eq!((found.state, found.remark), (state, None), "{told}");
    let mut free = prefix.ask_list(&["LRANGE", "queue:lonely", "0", "-1"]).await;
    free.sort();
    let expected: &[&str] = match state {
        JobState::Finished => &["child", "next"],
        JobState::Queued => &[],
        _ => &["next"],
    };
    assert_eq!(free, expected, "{told}: who waited for its end");
    assert_eq!(prefix.ask_number(&["EXISTS", "tikkun:deliveries"]).await, 0, "{told}");
}

#[tokio::test]
async fn what_all_jobs_share_is_no_fault_of_one_of_them() {
    for key in ["queues", "canceled:q", "tikkun:releases"] {
        for (verdict, state) in verdicts() {
            let told = format!("{key}, {verdict:?}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let end = [settlement(&second_attempt(&prefix, &*broker).await, verdict)];
            prefix.ask(&["DEL", key]).await;
            prefix.ask(&["SET", key, "something else"]).await;
            for _ in 0..2 {
                let _ = broker.settle(&end).await;
            }
            prefix.ask(&["DEL", key]).await;
            broker.settle(&end).await.unwrap();
            has_ended_so(&prefix, &*broker, state, &told).await;
        }
    }
}

#[tokio::test]
async fn limit_whose_keys_are_something_else_fails_none_of_its_jobs() {
    for key in ["rl-keys", "rl:mail", "rl:mail:allowed", "rl:mail:rate_limited"] {
        for (verdict, state) in verdicts().into_iter().skip(2) {
            let told = format!("{key}, {verdict:?}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let end = [settlement(&second_attempt(&prefix, &*broker).await, verdict)];
            prefix.ask(&["RENAME", key, &prefix.key("kept")]).await;
            prefix.ask(&["SET", key, "something else"]).await;
            for _ in 0..2 {
                let _ = broker.settle(&end).await;
            }
            prefix.ask(&["DEL", key]).await;
            prefix.ask(&["RENAME", "kept", &prefix.key(key)]).await;
            broker.settle(&end).await.unwrap();
            has_ended_so(&prefix, &*broker, state, &told).await;
        }
    }
}

/// Sorts of keys, each of which may be left out of an ACL.
const SORTS: [&str; 25] = [
    "job:*",
    "results:*",
    "queue:*",
    "queues",
    "wip:*",
    "finished:*",
    "failed:*",
    "deferred:*",
    "scheduled:*",
    "canceled:*",
    "execution:*",
    "executions:*",
    "worker*",
    "scheduler*",
    "suspended",
    "rl:*",
    "rl-keys",
    "tikkun:deliveries",
    "tikkun:held:*",
    "tikkun:release*",
    "tikkun:told:*",
    "tikkun:unique:*",
    "tikkun:proof*",
    "tikkun:nothing",
    "tikkun:[lmp]*",
];

#[tokio::test]
async fn user_who_may_not_touch_one_sort_of_keys_fails_no_job() {
    for denied in SORTS {
        for (verdict, state) in verdicts() {
            let told = format!("{denied}, {verdict:?}");
            let prefix = Prefix::new();
            let (broker, name) = (leased(&prefix).await, prefix.name());
            let end = [settlement(&second_attempt(&prefix, &*broker).await, verdict)];
            let others = SORTS.iter().filter(|sort| **sort != denied).map(|sort| format!("~{name}:{sort}"));
            let others: Vec<_> = others.collect();
            let mut rule = vec!["ACL", "SETUSER", name, "on", ">secret", "&*", "+@all"];
            rule.extend(others.iter().map(String::as_str));
            assert_eq!(SHARED.ask(&rule), "OK");
            let url = format!("{}?user={name}&pass=secret", SHARED.url());
            let user = open_rq(&RqSettings { url: url.into(), ..prefix.settings() }).unwrap();
            for _ in 0..2 {
                let _ = user.settle(&end).await;
            }
            SHARED.ask(&["ACL", "DELUSER", name]);
            broker.settle(&end).await.unwrap();
            has_ended_so(&prefix, &*broker, state, &told).await;
            // Nothing that is left of that run keeps the next one from ending the job.
            if state == JobState::Queued
                && let Some(next) = fetch(&*broker, 1).await.first()
            {
                assert_eq!(settle(&*broker, next, ack()).await, tikkun::queue::Settled::Done, "{told}");
                assert_eq!(record(&*broker, "a").await.state, JobState::Finished, "{told}");
            }
        }
    }
}

#[tokio::test]
async fn cancellation_that_is_broken_off_is_finished_by_the_next() {
    for command in ["zadd", "hset", "hdel", "lindex", "lrem", "zrem", "hget", "zrange", "rpush", "exists"] {
        let prefix = Prefix::new();
        let (all, user) = (leased(&prefix).await, User::of(&prefix));
        waited_for(&prefix, &*all).await;
        user.may_not(command);
        let _ = user.broker.cancel(&"a".into()).await;
        user.may_all();
        assert_eq!(user.broker.cancel(&"a".into()).await.unwrap(), Some(JobState::Canceled), "{command}");
        assert_eq!(record(&*all, "a").await.state, JobState::Canceled, "{command}");
        assert_eq!(fetch(&*all, 9).await, [], "{command}");
        assert_eq!(prefix.ask_list(&["LRANGE", "queue:lonely", "0", "-1"]).await, ["next"], "{command}");
        assert_eq!(prefix.ask_number(&["EXISTS", "tikkun:unique:k"]).await, 0, "{command}");
    }
}
