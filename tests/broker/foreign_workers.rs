//! Jobs that killed RQ workers abandon, created as the exact bytes that these leave.

use std::sync::Arc;

use tikkun::job::{JobId, JobState};
use tikkun::queue::{Abandoned, Broker, Fate, RqSettings, open_rq};

use super::ground::*;
use super::redis_server::Redis;
use super::rq::Prefix;

/// The most in one look.
const MAX: u32 = 100;
/// A score of long ago.
const LONG_AGO: &str = "1000";

/// A job that a worker of RQ has popped and begun, whose heartbeat is overdue.
async fn overdue(prefix: &Prefix, broker: &dyn Broker, id: &str, member: &str, fields: &[&str]) {
    enqueue(broker, &[id]).await;
    prefix.ask(&["LREM", "queue:q", "1", id]).await;
    prefix
        .ask(&[&["HSET", &format!("job:{id}"), "status", "started", "worker_name", "w"], fields].concat())
        .await;
    prefix.ask(&["ZADD", "wip:q", LONG_AGO, member]).await;
}

async fn tend(broker: &dyn Broker) -> Vec<(String, Fate)> {
    let mut found: Vec<_> =
        broker.tend(MAX).await.unwrap().into_iter().map(|one| (one.job.to_string(), one.fate)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn fates(expected: &[(&str, Fate)]) -> Vec<(String, Fate)> {
    expected.iter().map(|(id, fate)| ((*id).to_owned(), *fate)).collect()
}

#[tokio::test]
async fn an_abandoned_job_fails_in_rqs_words_and_frees_those_that_allow_it() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    overdue(&prefix, &*broker, "a", "a:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &["failure_ttl", "90"]).await;
    prefix.ask(&["ZADD", "executions:a", "1", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"]).await;
    for (child, lenient) in [("strict", "0"), ("lenient", "1")] {
        enqueue(&*broker, &[child]).await;
        prefix.ask(&["LREM", "queue:q", "1", child]).await;
        let name = format!("job:{child}");
        prefix.ask(&["HSET", &name, "status", "deferred", "allow_dependency_failures", lenient]).await;
        prefix.ask(&["ZADD", "deferred:q", "1", child]).await;
        prefix.ask(&["SADD", "job:a:dependents", child]).await;
    }
    assert_eq!(tend(&*broker).await, fates(&[("a", Fate::Failed)]));
    let job = record(&*broker, "a").await;
    assert_eq!((job.state, job.failures), (JobState::Failed, 1));
    let error = job.error.unwrap();
    assert!(error.starts_with("Moved to FailedJobRegistry, due to AbandonedJobError, at 20"), "{error}");
    assert!((80..=95).contains(&prefix.ask_number(&["TTL", "job:a"]).await));
    assert!((80..=95).contains(&prefix.ask_number(&["TTL", "results:a"]).await));
    assert_eq!(prefix.ask_number(&["ZCARD", "failed:q"]).await, 1);
    for gone in ["wip:q", "executions:a"] {
        assert_eq!(prefix.ask_number(&["EXISTS", gone]).await, 0, "{gone}");
    }
    assert_eq!(prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await, ["lenient"]);
    assert_eq!(record(&*broker, "strict").await.state, JobState::Scheduled);
    assert_eq!(tend(&*broker).await, [], "the second look changes nothing");
}

#[tokio::test]
async fn an_abandoned_job_with_retries_left_is_tried_again_at_its_interval() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    overdue(
        &prefix,
        &*broker,
        "now",
        "now:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        &["retries_left", "2", "retry_intervals", "[0]"],
    )
    .await;
    overdue(
        &prefix,
        &*broker,
        "later",
        "later:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        &["retries_left", "2", "retry_intervals", "[10, 300, 600]"],
    )
    .await;
    // Its worker died between two steps of a retry.
    overdue(
        &prefix,
        &*broker,
        "torn",
        "torn:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        &["status", "scheduled", "retries_left", "1"],
    )
    .await;
    let all = [("later", Fate::Retried), ("now", Fate::Retried), ("torn", Fate::Retried)];
    assert_eq!(tend(&*broker).await, fates(&all));
    assert_eq!(prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await, ["now", "torn"]);
    let now = prefix.ask_list(&["TIME"]).await[0].parse::<i64>().unwrap();
    let due = prefix.ask_number(&["ZSCORE", "scheduled:q", "later"]).await;
    assert!((now + 290..=now + 301).contains(&due), "the second interval: {due} at {now}");
    for (id, left) in [("now", 1), ("later", 1), ("torn", 0)] {
        assert_eq!(record(&*broker, id).await.retries.unwrap().left, left, "{id}");
    }
    assert_eq!(tend(&*broker).await, []);
}

#[tokio::test]
async fn an_abandoned_job_gives_its_place_under_a_rate_limit_to_the_next() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let limited = ["rate_limit_key", "l", "rate_limit_concurrency", "1"];
    overdue(&prefix, &*broker, "dead", "dead:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &limited).await;
    enqueue(&*broker, &["next"]).await;
    prefix.ask(&["LREM", "queue:q", "1", "next"]).await;
    prefix.ask(&[&["HSET", "job:next", "status", "rate_limited"][..], &limited].concat()).await;
    prefix.ask(&["SADD", "rl-keys", "l"]).await;
    prefix.ask(&["HSET", "rl:l", "concurrency", "1"]).await;
    prefix.ask(&["ZADD", "rl:l:allowed", "1", "dead"]).await;
    prefix.ask(&["ZADD", "rl:l:rate_limited", "2", "next"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("dead", Fate::Failed)]));
    assert_eq!(prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await, ["next"]);
    assert_eq!(prefix.ask_list(&["ZRANGE", "rl:l:allowed", "0", "-1"]).await, ["next"]);
}

#[tokio::test]
async fn a_live_workers_job_is_left_alone_however_overdue_it_looks() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    overdue(&prefix, &*broker, "new", "new:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &[]).await;
    prefix.ask(&["HSET", "execution:new:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "id", "e"]).await;
    overdue(&prefix, &*broker, "old", "old", &["worker_name", "w1"]).await;
    prefix.ask(&["HSET", "worker:w1", "state", "busy", "current_job", "old"]).await;
    let ours = one(&*broker, job("ours")).await;
    let member = format!("ours:{}", ours.execution);
    prefix.ask(&["ZADD", "wip:q", LONG_AGO, &member]).await;
    prefix.ask(&["DEL", &format!("execution:{member}")]).await;
    assert_eq!(tend(&*broker).await, []);
    assert_eq!(prefix.ask_number(&["ZCARD", "wip:q"]).await, 3);
    // Each of them dies.
    prefix.ask(&["DEL", "execution:new:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "worker:w1"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("new", Fate::Failed), ("old", Fate::Failed)]));
    assert_eq!(settle(&*broker, &ours, ack()).await, tikkun::queue::Settled::Done, "ours is ours");
}

#[tokio::test]
async fn leftovers_of_ended_jobs_go_without_a_word() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    for status in ["finished", "failed", "stopped", "canceled"] {
        overdue(
            &prefix,
            &*broker,
            status,
            &format!("{status}:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"),
            &["status", status],
        )
        .await;
    }
    prefix.ask(&["ZADD", "wip:q", LONG_AGO, "nobody:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"]).await;
    assert_eq!(tend(&*broker).await, []);
    assert_eq!(prefix.ask_number(&["EXISTS", "wip:q"]).await, 0);
    assert_eq!(record(&*broker, "finished").await.state, JobState::Finished);
}

#[tokio::test]
async fn a_leftover_whose_id_begins_like_another_job_touches_none_of_it() {
    for status in ["started", "queued", "scheduled"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        // Ids of RQ 1 may hold colons; its registry names them alone.
        overdue(&prefix, &*broker, "report:42:pdf", "report:42:pdf", &[]).await;
        prefix.ask(&["DEL", "job:report:42:pdf"]).await;
        let live = one(&*broker, job("report:42")).await;
        prefix.ask(&["HSET", "job:report:42", "status", status, "retries_left", "1"]).await;
        assert_eq!(tend(&*broker).await, [], "{status}");
        assert_eq!(prefix.ask_text(&["HGET", "job:report:42", "status"]).await, status);
        assert_eq!(prefix.ask_number(&["ZCARD", "wip:q"]).await, 1, "{status}: the leftover is gone");
        assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, 0, "{status}");
        assert_eq!(settle(&*broker, &live, ack()).await, tikkun::queue::Settled::Done, "{status}");
    }
}

#[tokio::test]
async fn a_queue_that_an_rq_worker_is_cleaning_is_left_to_it() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    overdue(&prefix, &*broker, "a", "a:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &[]).await;
    prefix.ask(&["SET", "clean_registries:q", "1"]).await;
    assert_eq!(tend(&*broker).await, []);
    prefix.ask(&["DEL", "clean_registries:q"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("a", Fate::Failed)]));
}

#[tokio::test]
async fn of_many_processes_one_looks_after_a_job() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    for number in 0..20 {
        overdue(
            &prefix,
            &*broker,
            &format!("j{number}"),
            &format!("j{number}:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"),
            &["retries_left", "1"],
        )
        .await;
    }
    let others: Vec<Arc<dyn Broker>> = vec![prefix.open().await, prefix.open().await, prefix.open().await];
    let looks = others.iter().map(|other| other.tend(MAX));
    let found: Vec<Abandoned> =
        futures::future::try_join_all(looks).await.unwrap().into_iter().flatten().collect();
    assert_eq!((found.len(), prefix.ask_number(&["LLEN", "queue:q"]).await), (20, 20));
}

#[tokio::test]
async fn one_look_moves_no_more_than_it_may() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    for number in 0..20 {
        overdue(
            &prefix,
            &*broker,
            &format!("j{number}"),
            &format!("j{number}:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"),
            &[],
        )
        .await;
    }
    assert_eq!(broker.tend(8).await.unwrap().len(), 8);
    assert_eq!(broker.tend(8).await.unwrap().len(), 8);
    assert_eq!(broker.tend(8).await.unwrap().len(), 4);
}

/// As a worker that was killed between the pop and the registration leaves it.
async fn popped(prefix: &Prefix, broker: &dyn Broker, ids: &[&str]) {
    enqueue(broker, ids).await;
    for _ in ids {
        prefix.ask(&["LMOVE", "queue:q", "queue:q:intermediate", "LEFT", "RIGHT"]).await;
    }
}

/// Lets a minute pass for those that were seen.
async fn a_minute_later(prefix: &Prefix, ids: &[&str]) {
    for id in ids {
        let seen = prefix.ask_text(&["HGET", "tikkun:seen:q", id]).await;
        let (at, enqueued) = seen.split_once(' ').unwrap();
        let at = at.parse::<i64>().unwrap() - 61_000;
        prefix.ask(&["HSET", "tikkun:seen:q", id, &format!("{at} {enqueued}")]).await;
    }
}

#[tokio::test]
async fn what_was_popped_and_never_registered_comes_back_to_the_head_after_the_grace() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    popped(&prefix, &*broker, &["a", "b", "deleted", "canceled"]).await;
    enqueue(&*broker, &["waits"]).await;
    prefix.ask(&["DEL", "job:deleted"]).await;
    prefix.ask(&["HSET", "job:canceled", "status", "canceled"]).await;
    // RQ's mark of an earlier visit condemns nobody here.
    prefix.ask(&["SET", "queue:q:intermediate:first_seen:a", "1"]).await;
    assert_eq!(tend(&*broker).await, []);
    assert_eq!(tend(&*broker).await, [], "not before the grace is over");
    assert_eq!(prefix.ask_number(&["LLEN", "queue:q:intermediate"]).await, 3, "the deleted one is gone");
    a_minute_later(&prefix, &["a", "b", "canceled"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("a", Fate::Returned), ("b", Fate::Returned)]));
    assert_eq!(prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await, ["a", "b", "waits"]);
    for gone in ["queue:q:intermediate", "queue:q:intermediate:first_seen:a", "tikkun:seen:q"] {
        assert_eq!(prefix.ask_number(&["EXISTS", gone]).await, 0, "{gone}");
    }
    assert_eq!(ids(&fetch(&*broker, 9).await), ["a", "b", "waits"]);
}

#[tokio::test]
async fn workers_that_could_not_reach_the_server_have_time_to_report_when_they_can() {
    for is_noticed_before in [true, false] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        overdue(&prefix, &*broker, "runs", "runs:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &["retries_left", "1"])
            .await;
        popped(&prefix, &*broker, &["begins"]).await;
        // An hour in which nobody reached the server.
        prefix.ask(&["INCRBY", "tikkun:heard", "-3600000"]).await;
        if !is_noticed_before {
            assert_eq!(tend(&*broker).await, []);
        }
        assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
        assert_eq!(tend(&*broker).await, []);
        assert_eq!(prefix.ask_number(&["ZCARD", "wip:q"]).await, 1);
        let left = prefix.ask_number(&["PTTL", "tikkun:reports"]).await;
        assert!((120_000..=150_000).contains(&left), "{left}");
        prefix.ask(&["DEL", "tikkun:reports"]).await;
        assert_eq!(tend(&*broker).await, fates(&[("runs", Fate::Retried)]));
        a_minute_later(&prefix, &["begins"]).await;
        assert_eq!(tend(&*broker).await, fates(&[("begins", Fate::Returned)]));
    }
}

#[tokio::test]
async fn an_id_that_comes_by_a_second_time_is_seen_anew() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    popped(&prefix, &*broker, &["a"]).await;
    tend(&*broker).await;
    a_minute_later(&prefix, &["a"]).await;
    prefix.ask(&["HSET", "job:a", "enqueued_at", "2026-01-02T03:04:05.000006Z"]).await;
    assert_eq!(tend(&*broker).await, [], "it was enqueued again meanwhile");
    a_minute_later(&prefix, &["a"]).await;
    prefix.ask(&["ZADD", "executions:a", "1", "e"]).await;
    assert_eq!(tend(&*broker).await, [], "it runs");
    assert_eq!(prefix.ask_number(&["LLEN", "queue:q:intermediate"]).await, 1);
}

#[tokio::test]
async fn a_job_that_was_registered_and_never_begun_comes_back_unharmed() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    overdue(&prefix, &*broker, "lost", "lost:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &["status", "queued"]).await;
    overdue(&prefix, &*broker, "waits", "waits:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &["status", "queued"])
        .await;
    prefix.ask(&["RPUSH", "queue:q", "waits"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("lost", Fate::Returned)]));
    assert_eq!(
        prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await,
        ["lost", "waits"],
        "and nobody twice"
    );
}

#[tokio::test]
async fn job_that_waits_for_another_is_found_although_its_queue_is_on_no_list_yet() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["child"]).await;
    prefix.ask(&["LREM", "queue:q", "1", "child"]).await;
    prefix.ask(&["HSET", "job:child", "status", "deferred"]).await;
    prefix.ask(&["ZADD", "deferred:q", "1", "child"]).await;
    // RQ puts a queue on the list when a job comes into it, which this one has not yet.
    prefix.ask(&["DEL", "queues"]).await;
    let kind = record(&*broker, "child").await.kind;
    let open = broker.open_jobs(&kind).await.unwrap();
    assert_eq!(open.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["child"]);
}

#[tokio::test]
async fn what_else_rq_cleans_is_clean() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a", "ready"]).await;
    prefix.ask(&["HSET", "worker:w1", "birth", "x"]).await;
    for register in ["workers", "workers:q"] {
        for worker in ["w1", "w2"] {
            prefix.ask_with_keys(&["SADD", register], &[&format!("worker:{worker}")]).await;
        }
    }
    prefix.ask(&["ZADD", "deferred:q", "1", "gone", "1", "a"]).await;
    prefix.ask(&["LREM", "queue:q", "1", "ready"]).await;
    prefix.ask(&["HSET", "job:ready", "status", "ready_to_enqueue"]).await;
    prefix.ask(&["ZADD", "ready:q", "1", "ready", "1", "a"]).await;
    prefix.ask(&["SADD", "groups", "some", "none"]).await;
    prefix.ask(&["SADD", "group:some", "a", "gone"]).await;
    prefix.ask(&["SADD", "group:none", "gone"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("ready", Fate::Returned)]));
    for register in ["workers", "workers:q"] {
        let left = prefix.ask_list(&["SMEMBERS", register]).await;
        let ours = |name: &&String| !name.contains("tikkun.");
        assert_eq!(left.iter().filter(ours).count(), 1, "{left:?}");
    }
    assert_eq!(prefix.ask_list(&["ZRANGE", "deferred:q", "0", "-1"]).await, ["a"]);
    assert_eq!(prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await, ["a", "ready"]);
    assert_eq!(prefix.ask_list(&["SMEMBERS", "groups"]).await, ["some"]);
    assert_eq!(prefix.ask_list(&["SMEMBERS", "group:some"]).await, ["a"]);
    assert!(prefix.ask_number(&["TTL", "clean_groups"]).await > 500, "for ten minutes nobody needs to do it");
    assert_eq!(tend(&*broker).await, []);
}

#[tokio::test]
async fn a_key_of_the_wrong_type_spoils_its_own_queue_alone() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    overdue(&prefix, &*broker, "a", "a:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &[]).await;
    let mut elsewhere = job("b");
    elsewhere.queue = "other".into();
    broker.enqueue(&[elsewhere]).await.unwrap();
    prefix.ask(&["SET", "wip:other", "no set"]).await;
    prefix.ask(&["SET", "queue:q:intermediate", "no list"]).await;
    tend(&*broker).await;
    overdue(&prefix, &*broker, "c", "c:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &[]).await;
    prefix.ask(&["DEL", "queue:q:intermediate"]).await;
    assert!(tend(&*broker).await.contains(&("c".to_owned(), Fate::Failed)));
}

#[tokio::test]
async fn the_callback_of_an_abandoned_job_is_told() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let fields = ["failure_callback_name", "app.sorry", "failure_callback_timeout", "7"];
    overdue(&prefix, &*broker, "a", "a:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &fields).await;
    let found = broker.tend(MAX).await.unwrap();
    let callback = found[0].on_failure.clone().unwrap();
    assert_eq!((callback.function.as_str(), callback.timeout.as_secs()), ("app.sorry", 7));
    assert_eq!(broker.job(&JobId::from("a")).await.unwrap().unwrap().callbacks.failure, Some(callback));
}

#[tokio::test]
async fn an_abandoned_job_with_a_callback_is_left_to_a_worker_of_rqs_for_a_quarter_of_an_hour() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let fields = ["failure_callback_name", "app.sorry"];
    prefix.ask(&["HSET", "worker:python", "birth", "x"]).await;
    for worker in ["python", "gone", "tikkun.host.1"] {
        prefix.ask_with_keys(&["SADD", "workers:q"], &[&format!("worker:{worker}")]).await;
    }
    let member = |id: &str| format!("{id}:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
    for (id, ago) in [("new", 800), ("old", 1000), ("last", 800)] {
        overdue(&prefix, &*broker, id, &member(id), &fields).await;
        let since = chrono::Utc::now().timestamp() - ago;
        prefix.ask(&["ZADD", "wip:q", &since.to_string(), &member(id)]).await;
    }
    overdue(&prefix, &*broker, "plain", &member("plain"), &[]).await;
    assert_eq!(tend(&*broker).await, fates(&[("old", Fate::Failed), ("plain", Fate::Failed)]));
    prefix.ask(&["HSET", "worker:python", "death", "x"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("last", Fate::Failed), ("new", Fate::Failed)]));
}

#[tokio::test]
async fn an_abandoned_job_is_told_of_whatever_else_cannot_be_looked_after() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    overdue(&prefix, &*broker, "a", "a:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", &[]).await;
    prefix.ask(&["SET", "groups", "something else"]).await;
    assert_eq!(tend(&*broker).await, fates(&[("a", Fate::Failed)]), "nobody could be told of it later");
}

#[tokio::test]
async fn an_abandoned_job_whose_queue_takes_nothing_for_a_while_loses_no_retries() {
    for (interval, list, count) in [("[0]", "queue:q", "LLEN"), ("[60]", "scheduled:q", "ZCARD")] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        overdue(
            &prefix,
            &*broker,
            "a",
            "a:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
            &["retries_left", "2", "retry_intervals", interval],
        )
        .await;
        prefix.ask(&["SET", list, "something else"]).await;
        for _ in 0..4 {
            assert_eq!(tend(&*broker).await, [], "{list}");
        }
        prefix.ask(&["DEL", list]).await;
        assert_eq!(tend(&*broker).await, fates(&[("a", Fate::Retried)]), "{list}");
        assert_eq!(prefix.ask_number(&[count, list]).await, 1, "{list}");
        let job = record(&*broker, "a").await;
        assert_eq!((job.failures, job.retries.unwrap().left), (1, 1), "{list}: it costs one retry");
    }
}

#[tokio::test]
async fn places_under_a_limit_that_nobody_gives_back_are_taken_back() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["waits", "runs", "deleted", "later", "empty"]).await;
    prefix.ask(&["SADD", "rl-keys", "mail"]).await;
    prefix.ask(&["HSET", "rl:mail", "concurrency", "4"]).await;
    for id in ["runs", "waits", "deleted", "empty", "later"] {
        prefix.ask(&["ZADD", "rl:mail:allowed", "1", id]).await;
    }
    prefix.ask(&["DEL", "queue:q"]).await;
    // As RQ's `Queue.empty` does it; and a running one.
    prefix.ask(&["DEL", "job:empty", "job:deleted"]).await;
    prefix.ask(&["ZADD", "executions:deleted", "99999999999", "execution"]).await;
    prefix.ask(&["HSET", "execution:deleted:execution", "id", "execution"]).await;
    prefix.ask(&["HSET", "job:later", "status", "scheduled"]).await;
    let limit = ["rate_limit_key", "mail", "rate_limit_concurrency", "4"];
    for next in ["first", "second"] {
        let next_one = ["status", "rate_limited", "origin", "q", "data", ""];
        prefix.ask(&[&["HSET", &format!("job:{next}")], &next_one[..], &limit[..]].concat()).await;
        prefix.ask(&["ZADD", "rl:mail:rate_limited", if next == "first" { "1" } else { "2" }, next]).await;
    }
    prefix.ask(&["SADD", "rl-keys", "spoiled"]).await;
    prefix.ask(&["SET", "rl:spoiled:allowed", "something else"]).await;
    tend(&*broker).await;
    let mut holders = prefix.ask_list(&["ZRANGE", "rl:mail:allowed", "0", "-1"]).await;
    holders.sort();
    assert_eq!(holders, ["deleted", "first", "runs", "waits"], "what may still run keeps its place");
    assert_eq!(ids(&fetch(&*broker, 9).await), ["first"]);
}

#[tokio::test]
async fn upkeep_of_very_many_queues_comes_round_in_steps() {
    let server = Redis::start();
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    let lua = "for i = 1, 3000 do
        local queue = ARGV[1] .. ':queue:q' .. i
        redis.call('SADD', ARGV[1] .. ':queues', queue)
        redis.call('ZADD', ARGV[1] .. ':finished:q' .. i, 1, 'gone')
        redis.call('RPUSH', queue .. ':intermediate', 'gone')
    end";
    server.ask(&["EVAL", lua, "0", settings.prefix.as_str()]);
    let calls = || -> u64 {
        let stats = server.ask(&["INFO", "commandstats"]);
        let counts = stats.split(":calls=").skip(1).filter_map(|rest| rest.split(',').next());
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    };
    let mut rounds = 0;
    loop {
        let before = calls();
        broker.tend(100).await.unwrap();
        broker.expire(1_000).await.unwrap();
        assert!(calls() - before < 30_000, "one look is bounded");
        let left = format!(
            "return #redis.call('KEYS', '{0}:finished:*') + #redis.call('KEYS', '{0}:queue:*')",
            settings.prefix
        );
        if server.ask(&["EVAL", &left, "0"]) == "0" {
            break;
        }
        rounds += 1;
        assert!(rounds < 500, "each queue has its turn");
    }
}

#[tokio::test]
async fn due_jobs_of_very_many_queues_come_in_one_look_of_several_short_scripts_and_all_are_counted() {
    let server = Redis::start();
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    let lua = "for i = 1, 3000 do
        redis.call('SADD', ARGV[1] .. ':queues', ARGV[1] .. ':queue:q' .. i)
        redis.call('HSET', ARGV[1] .. ':job:j' .. i, 'status', 'scheduled', 'origin', 'q' .. i)
        redis.call('ZADD', ARGV[1] .. ':scheduled:q' .. i, 1, 'j' .. i)
    end";
    server.ask(&["EVAL", lua, "0", settings.prefix.as_str()]);
    let scripts = || -> u64 {
        let stats = server.ask(&["INFO", "commandstats"]);
        let counts = stats
            .split("cmdstat_eval")
            .skip(1)
            .filter_map(|rest| rest.split("calls=").nth(1)?.split(',').next());
        counts.map(|count| count.parse::<u64>().unwrap()).sum()
    };
    let before = scripts();
    assert_eq!(broker.promote_due(10_000).await.unwrap(), 3000);
    assert!(scripts() - before >= 3, "no script looks at them all");
    let counts = broker.counts().await.unwrap();
    assert_eq!((counts.len(), counts.values().map(|counts| counts.queued).sum::<u64>()), (3000, 3000));
    // What is asked for at most is not passed, wherever it is reached.
    for (at_most, moved) in [(1500, 1500), (10_000, 1500), (10_000, 0)] {
        if at_most == 1500 {
            let again =
                "for i = 1, 3000 do redis.call('ZADD', ARGV[1] .. ':scheduled:q' .. i, 1, 'j' .. i) end";
            server.ask(&["EVAL", again, "0", settings.prefix.as_str()]);
        }
        assert_eq!(broker.promote_due(at_most).await.unwrap(), moved);
    }
}
