//! Several entries with one id: rate limits, keys, retries and cancellation with several executions.

use std::time::Duration;

use serde_json::json;
use tikkun::job::{JobState, Limit, Unique};
use tikkun::queue::{Delivery, Disposition, Order, RqSettings, Settled, StopAsked, open_rq};

use super::super::ground::*;
use super::super::redis_server::Redis;
use super::super::rq::{Prefix, ordered};

async fn push(prefix: &Prefix, id: &str, queue: &str) {
    prefix.ask(&["HSET", &format!("job:{id}"), "status", "queued", "origin", queue]).await;
    prefix.ask(&["RPUSH", &format!("queue:{queue}"), id]).await;
}

fn is_state(found: &tikkun::job::JobRecord, state: JobState, told: &str) {
    assert_eq!(found.state, state, "{told}: {:?}", found.remark);
}

#[tokio::test]
async fn three_runs_of_one_id_hold_one_place_and_one_key_until_the_last_of_them_ends() {
    let retry = || Disposition::RetryAt { delay: LONG, error: "later".into() };
    // Which of the three is tried again later.
    for retried in [None, Some(0), Some(1), Some(2)] {
        let told = format!("{retried:?}");
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let mut new = job("a");
        new.unique = Some(Unique { key: "k".to_owned(), period: None });
        let mut runs = vec![one(&*broker, new).await];
        prefix.ask(&["HSET", "rl:mail", "concurrency", "1"]).await;
        prefix.ask(&["SADD", "rl-keys", "mail"]).await;
        prefix.ask(&["ZADD", "rl:mail:allowed", "1", "a"]).await;
        prefix.ask(&["HSET", "job:a", "rate_limit_key", "mail", "rate_limit_concurrency", "1"]).await;
        let fields = ["status", "rate_limited", "origin", "q", "data", "", "rate_limit_key", "mail"];
        prefix.ask(&[&["HSET", "job:b"], &fields[..]].concat()).await;
        prefix.ask(&["ZADD", "rl:mail:rate_limited", "1", "b"]).await;
        push(&prefix, "a", "q").await;
        push(&prefix, "a", "q").await;
        runs.extend(fetch(&*broker, 4).await);
        assert_eq!(ids(&runs), ["a", "a", "a"], "{told}");
        for (place, run) in runs.iter().enumerate() {
            let is_last = place == 2;
            let verdict = if retried == Some(place) { retry() } else { ack() };
            assert_eq!(settle(&*broker, run, verdict).await, Settled::Done, "{told}, {place}");
            let held = prefix.ask_number(&["EXISTS", "tikkun:unique:k"]).await;
            assert_eq!(held, i64::from(!is_last || retried.is_some()), "{told}, {place}: the key");
            assert_eq!(prefix.ask_number(&["EXISTS", "job:a"]).await, 1, "{told}");
            if !is_last && retried.is_none() {
                assert_eq!(
                    prefix.ask_number(&["LLEN", "queue:q"]).await,
                    0,
                    "{told}, {place}: one at a time"
                );
            }
        }
        is_state(
            &record(&*broker, "a").await,
            if retried.is_some() { JobState::Scheduled } else { JobState::Finished },
            &told,
        );
        assert_eq!(ids(&fetch(&*broker, 4).await), ["b"], "{told}");
        if retried.is_some() {
            prefix.ask(&["ZADD", "scheduled:q", "1", "a"]).await;
            broker.promote_due(9).await.unwrap();
            let b = broker.held(&queue(), &me()).await.unwrap().remove(0);
            settle(&*broker, &b, ack()).await;
            assert_eq!(ids(&fetch(&*broker, 4).await), ["a"], "{told}: its retry");
        }
    }
}

#[tokio::test]
async fn id_that_is_canceled_while_its_second_entry_waits_is_not_run_and_not_revived() {
    for end in
        [ack(), Disposition::Rescue, Disposition::RetryAt { delay: Duration::ZERO, error: "no".into() }]
    {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let first = one(&*broker, job("a")).await;
        push(&prefix, "a", "q").await;
        push(&prefix, "a", "q").await;
        assert_eq!(broker.cancel(&"a".into()).await.unwrap(), Some(JobState::Canceled));
        assert_eq!(fetch(&*broker, 9).await.len(), 0, "{end:?}");
        assert_eq!(settle(&*broker, &first, end.clone()).await, Settled::Done, "{end:?}");
        is_state(&record(&*broker, "a").await, JobState::Canceled, "canceled");
        assert_eq!(
            prefix.ask_number(&["EXISTS", "queue:q", "wip:q", "tikkun:deliveries"]).await,
            0,
            "{end:?}"
        );
        broker.requeue(&["a".into()]).await.unwrap();
        assert_eq!(ids(&fetch(&*broker, 9).await), ["a"]);
    }
}

#[tokio::test]
async fn requeued_after_it_was_canceled_while_it_runs_its_new_run_decides() {
    for end in [ack(), Disposition::Rescue] {
        for taken in [false, true] {
            let told = format!("{end:?}, taken {taken}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let first = one(&*broker, job("a")).await;
            prefix.ask(&["HSET", "job:a", "status", "canceled"]).await;
            prefix.ask(&["ZADD", "canceled:q", "1", "a"]).await;
            broker.requeue(&["a".into()]).await.unwrap();
            let mut second = if taken { fetch(&*broker, 9).await } else { Vec::new() };
            settle(&*broker, &first, end.clone()).await;
            second.extend(fetch(&*broker, 9).await);
            assert!(!second.is_empty(), "{told}");
            for run in &second {
                settle(&*broker, run, Disposition::Ack { result: json!("new"), keep: Limit::After(LONG) })
                    .await;
            }
            let found = record(&*broker, "a").await;
            is_state(&found, JobState::Finished, &told);
            assert_eq!(found.result, Some(json!("new")), "{told}");
        }
    }
}

#[tokio::test]
async fn put_into_another_queue_while_it_runs_it_is_run_there() {
    for anew in [false, true] {
        for end in [
            ack(),
            Disposition::Rescue,
            Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) },
        ] {
            for taken in [false, true] {
                let told = format!("anew {anew}, {end:?}, taken {taken}");
                let prefix = Prefix::new();
                let broker = leased(&prefix).await;
                let first = one(&*broker, job("a")).await;
                if anew {
                    prefix.ask(&["DEL", "job:a"]).await;
                    let mut new = job("a");
                    new.queue = "other".into();
                    broker.enqueue(&[new]).await.unwrap();
                } else {
                    push(&prefix, "a", "other").await;
                }
                let take = async || broker.fetch(&"other".into(), 1, &me()).await.unwrap();
                let mut second: Vec<Delivery> = if taken { take().await } else { Vec::new() };
                settle(&*broker, &first, end.clone()).await;
                if !taken {
                    second = take().await;
                }
                assert_eq!(ids(&second), ["a"], "{told}");
                assert_eq!(settle(&*broker, &second[0], ack()).await, Settled::Done, "{told}");
                is_state(&record(&*broker, "a").await, JobState::Finished, &told);
                assert_eq!(prefix.ask_number(&["ZCARD", "finished:other"]).await, 1, "{told}");
                let rescued = !anew && matches!(end, Disposition::Rescue);
                assert_eq!(fetch(&*broker, 9).await.len(), usize::from(rescued), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_server_may_evict_takes_nothing_from_a_job_that_runs() {
    for end in [ack(), Disposition::Rescue] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let first = one(&*broker, job("a")).await;
        push(&prefix, "a", "q").await;
        let second = fetch(&*broker, 1).await.remove(0);
        // All that has a time to live, as with `volatile-lru`.
        let lua = "for _, name in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
            if redis.call('PTTL', name) >= 0 then redis.call('DEL', name) end
        end";
        prefix.script(lua, &[]).await;
        assert!(prefix.open().await.renew_lease(&process(ME), LONG).await.unwrap());
        assert_eq!(settle(&*broker, &first, end.clone()).await, Settled::Done);
        assert_eq!(settle(&*broker, &second, ack()).await, Settled::Done);
        let left = fetch(&*broker, 9).await;
        assert_eq!(left.len(), usize::from(matches!(end, Disposition::Rescue)), "{end:?}");
    }
}

#[tokio::test]
async fn what_is_lent_is_known_though_the_list_of_it_was_evicted() {
    let later = Disposition::RetryAt { delay: Duration::ZERO, error: "no".into() };
    for (end, waits) in [(ack(), 0), (Disposition::Rescue, 1), (later, 1)] {
        for is_seen in [false, true] {
            let told = format!("{end:?}, seen {is_seen}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let running = one(&*broker, job("a")).await;
            let over = one(&*broker, job("b")).await;
            settle(&*broker, &over, ack()).await;
            prefix.ask(&["DEL", "tikkun:deliveries"]).await;
            if is_seen {
                // The next sign of life of the process.
                assert!(prefix.open().await.renew_lease(&process(ME), LONG).await.unwrap());
                assert_eq!(ids(&broker.held(&queue(), &me()).await.unwrap()), ["a"], "{told}");
            }
            assert_eq!(settle(&*broker, &running, end.clone()).await, Settled::Done, "{told}");
            assert_eq!(settle(&*broker, &over, ack()).await, Settled::NotOurs, "{told}");
            assert_eq!(prefix.ask_number(&["EXISTS", "wip:q", "tikkun:deliveries"]).await, 0, "{told}");
            assert_eq!(fetch(&*broker, 9).await.len(), waits, "{told}");
        }
    }
}

#[tokio::test]
async fn process_whose_lease_was_evicted_has_the_time_of_a_lease_to_make_it_anew() {
    let prefix = Prefix::new();
    let (broker, other) = (leased(&prefix).await, prefix.open().await);
    let running = one(&*broker, job("a")).await;
    assert!(other.renew_lease(&process("other"), SHORT * 4).await.unwrap());
    prefix.ask(&["DEL", "tikkun:leases"]).await;
    assert_eq!(other.orphans(9).await.unwrap(), []);
    broker.renew_lease(&process(ME), LONG).await.unwrap();
    assert_eq!(settle(&*broker, &running, ack()).await, Settled::Done);
    // One that does not is lost all the same.
    let left = one(&*broker, job("b")).await;
    prefix.ask(&["DEL", "tikkun:leases"]).await;
    let orphan = eventually("the orphan", async || other.orphans(9).await.unwrap().pop()).await;
    assert_eq!(orphan.delivery.execution, left.execution);
}

#[tokio::test]
async fn server_that_turns_into_a_replica_and_back_loses_and_doubles_nothing() {
    let (server, master) = (Redis::start(), Redis::start());
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    enqueue(&*broker, &["a", "b"]).await;
    let running = fetch(&*broker, 1).await.remove(0);
    // It follows one that cannot be reached, so it keeps what it has.
    drop(master);
    assert_eq!(server.ask(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    for _ in 0..2 {
        let kind = broker.settle(&[settlement(&running, ack())]).await.unwrap_err().kind();
        assert_ne!(kind, tikkun::fault::FaultKind::Permanent);
        let kind = broker.fetch(&queue(), 9, &me()).await.unwrap_err().kind();
        assert_ne!(kind, tikkun::fault::FaultKind::Permanent);
    }
    assert_eq!(server.ask(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(settle(&*broker, &running, ack()).await, Settled::Done);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["b"]);
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
}

/// After a failover the address leads to the new primary. The old one lives on as its replica, and keeps its connections open.
#[tokio::test]
async fn primary_that_became_a_replica_is_left_for_the_server_that_the_address_leads_to() {
    let (old, new) = (Redis::start_with_port(), Redis::start_with_port());
    let port = |of: &Redis| of.tcp_url(0).trim_end_matches("/0").rsplit(':').next().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("redis.sock");
    let lead_to = |to: &Redis| {
        let _ = std::fs::remove_file(&address);
        std::os::unix::fs::symlink(to.socket(), &address).unwrap();
    };
    lead_to(&old);
    let url = format!("redis+unix://{}", address.display());
    let broker = open_rq(&RqSettings { url: url.into(), ..Prefix::new().settings() }).unwrap();
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    enqueue(&*broker, &["a", "b"]).await;
    assert!(broker.wait(&queue(), LONG).await.unwrap());
    let running = fetch(&*broker, 1).await.remove(0);
    let follow = |follower: &Redis, leader: &Redis| {
        assert_eq!(follower.ask(&["REPLICAOF", "127.0.0.1", &port(leader)]), "OK");
    };
    let follows = async |follower: &Redis| {
        eventually("the replica follows", async || {
            follower.ask(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        })
        .await;
    };
    follow(&new, &old);
    follows(&new).await;
    assert_eq!(new.ask(&["REPLICAOF", "NO", "ONE"]), "OK");
    follow(&old, &new);
    follows(&old).await;
    lead_to(&new);
    let end = [settlement(&running, ack())];
    let settled = eventually("the end", async || broker.settle(&end).await.ok()).await;
    assert_eq!(settled, [Settled::Done]);
    eventually("a wait", async || broker.wait(&queue(), LONG).await.ok()?.then_some(())).await;
    assert_eq!(ids(&fetch(&*broker, 9).await), ["b"]);
    eventually("a request", async || broker.pause(&queue(), "a person").await.ok()).await;
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
}

#[tokio::test]
async fn answers_that_die_with_their_connection_are_had_again() {
    let server = Redis::start();
    let settings = RqSettings { url: server.url().into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    let warm = one(&*broker, job("warm")).await;
    settle(&*broker, &warm, ack()).await;
    for round in 0..20 {
        let id = format!("job-{round}");
        let delivery = one(&*broker, job(&id)).await;
        let end =
            [settlement(&delivery, Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) })];
        let call = broker.settle(&end);
        let kill = async { server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]) };
        let (first, _) = futures::future::join(call, kill).await;
        let settled = match first {
            Ok(settled) => settled,
            Err(_) => broker.settle(&end).await.unwrap(),
        };
        assert_eq!(settled, [Settled::Done], "{round}");
        // What people look at has a connection of its own, which is gone, too.
        let found = eventually("a look at it", async || broker.job(&id.as_str().into()).await.ok()?).await;
        assert_eq!((found.state, found.failures), (JobState::Failed, 1), "{round}");
    }
}

#[tokio::test]
async fn an_order_to_stop_reaches_every_run_of_an_id_and_rqs_own_the_run_of_its_worker_alone() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let first = one(&*broker, job("a")).await;
    push(&prefix, "a", "q").await;
    let second = fetch(&*broker, 1).await.remove(0);
    let worker = prefix.ask_text(&["HGET", "job:a", "worker_name"]).await;
    let stop = serde_json::json!({ "command": "stop-job", "job_id": "a" });
    assert_eq!(
        ordered(&prefix, &*broker, &worker, stop).await,
        Order::Stop {
            job: "a".into(),
            lent: vec![second.execution.clone()],
            others: vec![first.execution.clone()]
        },
        "the older run is another worker's"
    );
    // What people ask here is meant for the job, whichever of its runs began last.
    assert_eq!(broker.stop(&"a".into()).await.unwrap(), StopAsked::Told);
    let mut spared = Vec::new();
    while spared.len() < 2 {
        for order in broker.orders(&me(), LONG).await.unwrap() {
            let Order::Stop { others, .. } = order else { panic!("{order:?}") };
            spared.extend(others);
        }
    }
    spared.sort();
    let mut both = [first.execution.clone(), second.execution.clone()];
    both.sort();
    assert_eq!(spared, both, "each order spares the other run");
}
