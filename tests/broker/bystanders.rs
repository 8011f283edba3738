//! Keys that an end affects besides its job: a rate limit, a unique key, RQ's registries, dependents.
//! Whatever is wrong with them, the end counts once and blocks no other; a refused write is made later.

use std::time::Duration;

use serde_json::json;
use tikkun::fault::FaultKind;
use tikkun::job::{JobState, Limit};
use tikkun::queue::{Broker, Delivery, Disposition, Settled};

use super::ground::*;
use super::refused::User;
use super::rq::Prefix;

const KEPT: Duration = Duration::from_secs(60);

fn fails() -> Disposition {
    Disposition::Discard { error: "no".into(), keep: Limit::After(KEPT) }
}

fn dropped() -> Disposition {
    Disposition::Ack { result: json!(null), keep: Limit::After(Duration::ZERO) }
}

/// A job that runs, and is to be run so many times more.
async fn repeated(prefix: &Prefix, broker: &dyn Broker, id: &str, times: &str, interval: &str) -> Delivery {
    enqueue(broker, &[id]).await;
    let name = format!("job:{id}");
    prefix.ask(&["HSET", &name, "repeats_left", times, "repeat_intervals", interval]).await;
    fetch(broker, 1).await.remove(0)
}

async fn field(prefix: &Prefix, id: &str, name: &str) -> String {
    prefix.ask_text(&["HGET", &format!("job:{id}"), name]).await
}

#[tokio::test]
async fn repetition_that_is_refused_is_made_once_when_it_is_let() {
    let intervals = [("[0]", "LLEN", "queue:q"), ("[60]", "ZCARD", "scheduled:q")];
    for command in ["rpush", "sadd", "zadd", "persist", "hdel", "hset", "xadd"] {
        for (interval, count, list) in intervals {
            let told = format!("{command}, {interval}");
            let prefix = Prefix::new();
            let (all, user) = (leased(&prefix).await, User::of(&prefix));
            let delivery = repeated(&prefix, &*all, "a", "1", interval).await;
            prefix.ask(&["DEL", "queues"]).await;
            user.may_not(command);
            let end = [settlement(&delivery, ack())];
            for _ in 0..2 {
                let _ = user.broker.settle(&end).await;
            }
            user.may_all();
            user.broker.settle(&end).await.unwrap();
            assert_eq!(prefix.ask_number(&[count, list]).await, 1, "{told}: it is to run once more");
            assert_eq!(field(&prefix, "a", "repeats_left").await, "0", "{told}");
        }
    }
    for (interval, count, list) in intervals {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = repeated(&prefix, &*broker, "a", "1", interval).await;
        prefix.ask(&["SET", list, "something else"]).await;
        let end = [settlement(&delivery, ack())];
        for _ in 0..2 {
            assert_eq!(broker.settle(&end).await.unwrap_err().kind(), FaultKind::Retryable, "{list}");
        }
        prefix.ask(&["DEL", list]).await;
        broker.settle(&end).await.unwrap();
        assert_eq!(prefix.ask_number(&[count, list]).await, 1, "{list}");
    }
}

#[tokio::test]
async fn ends_of_one_call_are_written_once_each_whichever_of_them_is_refused() {
    let commands =
        ["zadd", "hget", "xadd", "pexpireat", "hincrby", "zrem"].map(|command| (Some(command), ""));
    let keys = ["finished:q", "failed:q"].map(|key| (None, key));
    for (command, key) in commands.into_iter().chain(keys) {
        let told = format!("{command:?}, {key}");
        let prefix = Prefix::new();
        let (all, user) = (leased(&prefix).await, User::of(&prefix));
        let retried = one(&*all, job("retried")).await;
        prefix.ask(&["HSET", "job:retried", "x_unique", "key"]).await;
        let ended = one(&*all, job("ended")).await;
        let failed = one(&*all, job("failed")).await;
        let again = repeated(&prefix, &*all, "again", "3", "[0]").await;
        let retry = Disposition::RetryAt { delay: Duration::ZERO, error: "later".into() };
        let ends = [
            settlement(&retried, retry),
            settlement(&ended, ack()),
            settlement(&failed, fails()),
            settlement(&again, ack()),
        ];
        match command {
            Some(command) => user.may_not(command),
            None => prefix.ask(&["SET", key, "something else"]).await,
        }
        for _ in 0..2 {
            let _ = user.broker.settle(&ends).await;
        }
        user.may_all();
        if command.is_none() {
            prefix.ask(&["DEL", key]).await;
        }
        user.broker.settle(&ends).await.unwrap_or_else(|fault| panic!("{told}: {}", fault.chain()));
        let mut waiting = prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await;
        waiting.sort();
        assert_eq!(waiting, ["again", "retried"], "{told}: each once");
        assert_eq!(field(&prefix, "again", "repeats_left").await, "2", "{told}");
        for id in ["retried", "failed"] {
            assert_eq!(record(&*all, id).await.failures, 1, "{told}: {id}");
        }
        assert_eq!(record(&*all, "failed").await.state, JobState::Failed, "{told}");
        assert_eq!(record(&*all, "ended").await.state, JobState::Finished, "{told}");
        assert_eq!(prefix.ask_number(&["EXISTS", "tikkun:deliveries", "wip:q"]).await, 0, "{told}");
    }
}

#[tokio::test]
async fn what_an_end_gives_back_or_tells_readers_is_no_reason_to_lose_it() {
    let worker = format!("worker:tikkun.host.{ME}.1");
    let spoils = [
        "rl:mail:allowed",
        "rl:mail:rate_limited",
        "rl:mail",
        "rl-keys",
        "tikkun:unique:key",
        &worker,
        "executions:a",
    ];
    for key in spoils {
        for gone in [false, true] {
            let told = format!("{key}, deleted: {gone}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let spoiled = one(&*broker, job("a")).await;
            let neighbour = repeated(&prefix, &*broker, "b", "3", "[60]").await;
            let limited = ["rate_limit_key", "mail", "rate_limit_concurrency", "1", "x_unique", "key"];
            prefix.ask(&[&["HSET", "job:a"], &limited[..]].concat()).await;
            prefix.ask(&["ZADD", "rl:mail:allowed", "1", "a"]).await;
            prefix.ask(&["SADD", "rl-keys", "mail"]).await;
            prefix.ask(&["DEL", key]).await;
            prefix.ask(&["SET", key, "something else"]).await;
            if gone {
                prefix.ask(&["DEL", "job:a"]).await;
            }
            let ends = [settlement(&neighbour, ack()), settlement(&spoiled, ack())];
            let settled =
                broker.settle(&ends).await.unwrap_or_else(|fault| panic!("{told}: {}", fault.chain()));
            let expected = if gone { Settled::NotOurs } else { Settled::Done };
            assert_eq!(settled, [Settled::Done, expected], "{told}");
            assert_eq!(field(&prefix, "b", "repeats_left").await, "2", "{told}: each run counts once");
            if !gone {
                let found = record(&*broker, "a").await;
                assert_eq!((found.state, found.remark), (JobState::Finished, None), "{told}");
            }
            assert_eq!(prefix.ask_number(&["EXISTS", "tikkun:deliveries"]).await, 0, "{told}");
        }
    }
}

#[tokio::test]
async fn dependent_that_cannot_be_let_go_is_no_failure_of_the_job_before_it() {
    for key in ["job::odd:dependencies", "queue:spoiled"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        for (id, queue) in [("odd", "spoiled"), ("b", "q")] {
            let fields = ["status", "deferred", "origin", queue, "data", ""];
            prefix.ask(&[&["HSET", &format!("job:{id}")], &fields[..]].concat()).await;
            prefix.ask(&["SADD", "job:a:dependents", id]).await;
        }
        prefix.ask(&["SET", key, "something else"]).await;
        assert_eq!(settle(&*broker, &delivery, ack()).await, Settled::Done, "{key}");
        let found = record(&*broker, "a").await;
        assert_eq!((found.state, found.remark), (JobState::Finished, None), "{key}");
        assert_eq!(ids(&fetch(&*broker, 9).await), ["b"], "{key}");
        assert_eq!(field(&prefix, "odd", "status").await, "deferred", "{key}: it waits on");
    }
}

#[tokio::test]
async fn canceled_job_whose_result_cannot_be_kept_is_let_go_beside_its_neighbours() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let neighbour = repeated(&prefix, &*broker, "b", "3", "[60]").await;
    let canceled = one(&*broker, job("a")).await;
    prefix.ask(&["HSET", "job:a", "status", "canceled"]).await;
    prefix.ask(&["SET", "results:a", "no stream"]).await;
    let ends = [settlement(&neighbour, ack()), settlement(&canceled, ack())];
    assert_eq!(broker.settle(&ends).await.unwrap(), [Settled::Done; 2]);
    assert_eq!(record(&*broker, "a").await.state, JobState::Canceled);
    assert_eq!(field(&prefix, "b", "repeats_left").await, "2");
    assert_eq!(counts(&*broker).await.started, 0);
}

#[tokio::test]
async fn job_whose_end_cannot_be_written_is_listed_as_failed_alone() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    for number in 0..64 {
        broker.enqueue(&[job(&number.to_string())]).await.unwrap();
    }
    let mut lent = Vec::new();
    while lent.len() < 64 {
        lent.extend(fetch(&*broker, 16).await);
    }
    prefix.ask(&["SET", "results:27", "no stream"]).await;
    let ends: Vec<_> = lent.iter().map(|delivery| settlement(delivery, ack())).collect();
    assert_eq!(broker.settle(&ends).await.unwrap(), vec![Settled::Done; 64]);
    let all = counts(&*broker).await;
    assert_eq!((all.started, all.finished, all.failed), (0, 63, 1));
}

#[tokio::test]
async fn registry_of_what_runs_is_no_fault_of_what_ends() {
    for key in ["wip:q", "tikkun:deliveries"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        let end = [settlement(&delivery, ack())];
        prefix.ask(&["RENAME", key, &prefix.key("kept")]).await;
        prefix.ask(&["SET", key, "something else"]).await;
        let fault = broker.settle(&end).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Retryable, "{}", fault.chain());
        assert!(fault.chain().contains(key), "{}", fault.chain());
        prefix.ask(&["DEL", key]).await;
        prefix.ask(&["RENAME", "kept", &prefix.key(key)]).await;
        assert_eq!(broker.settle(&end).await.unwrap(), [Settled::Done]);
    }
}

#[tokio::test]
async fn head_of_a_rate_limit_that_is_no_job_keeps_nobody_waiting() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let running = one(&*broker, job("a")).await;
    prefix.ask(&["HSET", "rl:mail", "concurrency", "1"]).await;
    prefix.ask(&["SADD", "rl-keys", "mail"]).await;
    prefix.ask(&["ZADD", "rl:mail:allowed", "1", "a"]).await;
    prefix.ask(&["HSET", "job:a", "rate_limit_key", "mail"]).await;
    prefix.ask(&["SET", "job:odd", "no hash"]).await;
    prefix.ask(&["SET", "queue:spoiled", "no list"]).await;
    for (id, queue) in [("elsewhere", "spoiled"), ("b", "q")] {
        let fields = ["status", "rate_limited", "origin", queue, "data", "", "rate_limit_key", "mail"];
        prefix.ask(&[&["HSET", &format!("job:{id}")], &fields[..]].concat()).await;
    }
    for (score, id) in [("1", "odd"), ("2", "elsewhere"), ("3", "b")] {
        prefix.ask(&["ZADD", "rl:mail:rate_limited", score, id]).await;
    }
    assert_eq!(settle(&*broker, &running, ack()).await, Settled::Done);
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["b"]);
    assert_eq!(field(&prefix, "elsewhere", "status").await, "rate_limited");
}

#[tokio::test]
async fn an_end_that_leaves_its_job_waiting_counts_when_it_is_told_again() {
    for again in ["repeats", "waits", "runs"] {
        for end in [dropped(), fails()] {
            let told = format!("{again}, {end:?}");
            let prefix = Prefix::new();
            let user = User::of(&prefix);
            let (broker, _all) = (&*user.broker, leased(&prefix).await);
            let left = if again == "repeats" { "1" } else { "0" };
            let delivery = repeated(&prefix, broker, "a", left, "[0]").await;
            let mut ends = vec![settlement(&delivery, end.clone())];
            if again != "repeats" {
                prefix.ask(&["HSET", "job:a", "status", "queued"]).await;
                prefix.ask(&["RPUSH", "queue:q", "a"]).await;
            }
            if again == "runs" {
                ends.push(settlement(&fetch(broker, 1).await[0], end.clone()));
            }
            let known = one(broker, job("known")).await;
            assert_eq!(settle(broker, &known, ack()).await, Settled::Done, "the script is on the server");
            // It is sent with the first look at it, and nobody takes the answer.
            let mut call = broker.settle(&ends);
            assert!(futures::poll!(&mut call).is_pending());
            eventually("the end to be written", async || {
                (prefix.ask_number(&["EXISTS", "tikkun:deliveries"]).await == 0).then_some(())
            })
            .await;
            drop(call);
            assert_eq!(broker.settle(&ends).await.unwrap(), vec![Settled::Done; ends.len()], "{told}");
        }
    }
}

#[tokio::test]
async fn an_old_run_ends_nothing_of_a_job_that_was_put_in_anew_and_is_tried_again() {
    for end in [ack(), fails(), dropped(), Disposition::Rescue] {
        for dead in [false, true] {
            let told = format!("{end:?}, dead: {dead}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let old = one(&*broker, job("a")).await;
            prefix.ask(&["DEL", "job:a"]).await;
            enqueue(&*broker, &["a"]).await;
            let new = fetch(&*broker, 1).await.remove(0);
            let retry = Disposition::RetryAt { delay: Duration::ZERO, error: "later".into() };
            assert_eq!(settle(&*broker, &new, retry).await, Settled::Done, "{told}");
            let new = fetch(&*broker, 1).await.remove(0);
            assert_eq!(new.job.attempt, 2, "{told}");
            if dead {
                // Only the old run is left to others.
                let ended = Disposition::Ack { result: json!("new"), keep: Limit::After(KEPT) };
                assert_eq!(settle(&*broker, &new, ended).await, Settled::Done, "{told}");
                broker.end_lease(&me()).await.unwrap();
                assert_eq!(broker.orphans(9).await.unwrap(), [], "{told}");
                assert_eq!(record(&*broker, "a").await.result, Some(json!("new")), "{told}");
            } else {
                assert_eq!(settle(&*broker, &old, end.clone()).await, Settled::NotOurs, "{told}");
                assert_eq!(settle(&*broker, &new, ack()).await, Settled::Done, "{told}");
            }
            assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, 0, "{told}");
        }
    }
}

#[tokio::test]
async fn signs_of_life_reach_jobs_beside_a_registry_that_is_something_else() {
    let worker = format!("worker:tikkun.host.{ME}.1");
    for key in ["wip:other", &worker, "workers", "workers:q"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let lent = one(&*broker, job("a")).await;
        let mut elsewhere = job("b");
        elsewhere.queue = "other".into();
        broker.enqueue(&[elsewhere]).await.unwrap();
        assert_eq!(broker.fetch(&"other".into(), 1, &me()).await.unwrap().len(), 1);
        let member = format!("a:{}", lent.execution);
        prefix.ask(&["ZADD", "wip:q", "1", &member]).await;
        prefix.ask(&["DEL", key]).await;
        prefix.ask(&["SET", key, "something else"]).await;
        // Another broker under the same lease speaks at once.
        let same = prefix.open().await;
        assert!(
            same.renew_lease(&process(ME), LONG)
                .await
                .unwrap_or_else(|fault| panic!("{key}: {}", fault.chain()))
        );
        let score = prefix.ask_text(&["ZSCORE", "wip:q", &member]).await;
        assert_ne!(score, "1", "{key}");
    }
}

#[tokio::test]
async fn upkeep_goes_on_beside_a_registry_that_is_something_else() {
    for key in ["finished:other", "failed:other", "canceled:other"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        for (id, queue) in [("a", "q"), ("b", "q"), ("c", "other")] {
            let mut new = job(id);
            new.queue = queue.into();
            broker.enqueue(&[new]).await.unwrap();
            let lent = broker.fetch(&queue.into(), 1, &me()).await.unwrap().remove(0);
            settle(&*broker, &lent, ack()).await;
        }
        prefix.ask(&["ZADD", "finished:q", "1000", "a"]).await;
        prefix.ask(&["DEL", key]).await;
        prefix.ask(&["SET", key, "something else"]).await;
        let _ = broker.expire(9).await;
        assert_eq!(prefix.ask_list(&["ZRANGE", "finished:q", "0", "-1"]).await, ["b"], "{key}");
        assert!(broker.counts().await.is_ok(), "{key}");
    }
}
