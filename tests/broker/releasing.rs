//! Dependents are released by the ends of the jobs before them: each once, whatever ran under their ids meanwhile. Very
//! many are released in steps, and none is lost if the process dies.

use std::time::Duration;

use tikkun::job::{JobState, Limit};
use tikkun::queue::{Disposition, Requeued, Settled};

use super::ground::*;
use super::refused::User;
use super::rq::Prefix;

/// More than one script looks at.
const MANY: usize = 450;

/// Jobs that wait for `parent`, in a queue that nothing was put into directly.
async fn dependents(prefix: &Prefix, parent: &str) {
    let lua = "for i = 1, tonumber(ARGV[3]) do
        local id = 'child-' .. i
        redis.call('HSET', ARGV[1] .. 'job:' .. id, 'status', 'deferred', 'origin', 'lonely', 'data', '')
        redis.call('SADD', ARGV[1] .. 'job:' .. ARGV[2] .. ':dependents', id)
        redis.call('SADD', ARGV[1] .. 'job::' .. id .. ':dependencies', ARGV[2])
        redis.call('ZADD', ARGV[1] .. 'deferred:lonely', '1', id)
    end";
    prefix.script(lua, &[parent, &MANY.to_string()]).await;
}

async fn released(prefix: &Prefix) -> usize {
    usize::try_from(prefix.ask_number(&["LLEN", "queue:lonely"]).await).unwrap()
}

async fn all_are_free(prefix: &Prefix) {
    let mut ids = prefix.ask_list(&["LRANGE", "queue:lonely", "0", "-1"]).await;
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), released(prefix).await), (MANY, MANY), "each once");
    for gone in ["deferred:lonely", "tikkun:releases", "tikkun:release:a", "job:a:dependents"] {
        assert_eq!(prefix.ask_number(&["EXISTS", gone]).await, 0, "{gone}");
    }
    let lonely = prefix.key("queue:lonely");
    assert!(prefix.ask_list(&["SMEMBERS", "queues"]).await.contains(&lonely), "every reader finds it");
}

#[tokio::test]
async fn very_many_dependents_are_let_go_in_steps() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    dependents(&prefix, "a").await;
    // The job itself is gone at once.
    let keep = Limit::After(Duration::ZERO);
    let verdict = Disposition::Ack { result: serde_json::json!(1), keep };
    assert_eq!(settle(&*broker, &delivery, verdict).await, Settled::Done);
    eventually("all to wait in their queue", async || (released(&prefix).await == MANY).then_some(())).await;
    all_are_free(&prefix).await;
}

#[tokio::test]
async fn dependents_are_let_go_by_others_when_the_process_dies_between_two_steps() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    dependents(&prefix, "a").await;
    let dies = prefix.settings();
    let settlement = settlement(&delivery, ack());
    // What it had begun ends with its runtime.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let broker = tikkun::queue::open_rq(&dies).unwrap_or_else(|fault| panic!("{}", fault.chain()));
            assert_eq!(broker.settle(&[settlement]).await.unwrap(), [Settled::Done]);
        });
    })
    .join()
    .unwrap();
    let before = released(&prefix).await;
    assert!(before <= 200, "{before} in one script");
    eventually("all to wait in their queue", async || {
        broker.tend(100).await.unwrap();
        (released(&prefix).await == MANY).then_some(())
    })
    .await;
    all_are_free(&prefix).await;
}

#[tokio::test]
async fn dependents_of_a_failed_job_wait_on_and_are_let_go_by_its_good_end() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    dependents(&prefix, "a").await;
    let verdict = Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) };
    settle(&*broker, &delivery, verdict).await;
    eventually("all to be looked at", async || {
        (prefix.ask_number(&["EXISTS", "tikkun:releases"]).await == 0).then_some(())
    })
    .await;
    assert_eq!(prefix.ask_number(&["SCARD", "job:a:dependents"]).await, MANY as i64);
    assert!(prefix.ask_number(&["TTL", "job:a:dependents"]).await > 0, "they live as long as their job");
    assert_eq!(released(&prefix).await, 0);
    assert_eq!(record(&*broker, "child-7").await.state, JobState::Scheduled);
    broker.requeue(&["a".into()]).await.unwrap();
    let again = fetch(&*broker, 1).await.remove(0);
    settle(&*broker, &again, ack()).await;
    eventually("all to wait in their queue", async || (released(&prefix).await == MANY).then_some(())).await;
    all_are_free(&prefix).await;
}

#[tokio::test]
async fn dependents_that_may_not_be_let_go_for_a_while_are_let_go_afterwards() {
    let prefix = Prefix::new();
    let (broker, user) = (leased(&prefix).await, User::of(&prefix));
    let delivery = one(&*broker, job("a")).await;
    dependents(&prefix, "a").await;
    user.may_not("rpush");
    assert_eq!(user.broker.settle(&[settlement(&delivery, ack())]).await.unwrap(), [Settled::Done]);
    for _ in 0..3 {
        user.broker.tend(100).await.unwrap_err();
    }
    assert_eq!(released(&prefix).await, 0);
    user.may_all();
    eventually("all to wait in their queue", async || {
        broker.tend(100).await.unwrap();
        (released(&prefix).await == MANY).then_some(())
    })
    .await;
    all_are_free(&prefix).await;
}

/// As RQ's clients enqueue `child` over what is there under its id, so that it waits for the `parents`.
async fn waits_for(prefix: &Prefix, parents: &[&str]) {
    prefix.ask(&["HSET", "job:child", "status", "deferred"]).await;
    prefix.ask(&["ZADD", "deferred:q", "1", "child"]).await;
    for parent in parents {
        prefix.ask(&["SADD", &format!("job:{parent}:dependents"), "child"]).await;
        prefix.ask(&["SADD", "job::child:dependencies", parent]).await;
    }
}

#[tokio::test]
async fn dependent_whose_earlier_entry_ran_meanwhile_is_let_go_all_the_same() {
    let retry = Disposition::RetryAt { delay: LONG, error: "no".into() };
    for end in [Some(ack()), None, Some(retry)] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["child"]).await;
        waits_for(&prefix, &["a"]).await;
        let earlier = fetch(&*broker, 1).await.remove(0);
        let parent = one(&*broker, job("a")).await;
        if let Some(end) = end.clone() {
            settle(&*broker, &earlier, end).await;
        }
        settle(&*broker, &parent, ack()).await;
        let child = fetch(&*broker, 9).await;
        assert_eq!(ids(&child), ["child"], "{end:?}");
        assert_eq!(prefix.ask_number(&["EXISTS", "deferred:q", "job:a:dependents"]).await, 0, "{end:?}");
        if end.is_none() {
            assert_eq!(settle(&*broker, &earlier, ack()).await, Settled::Done);
        }
        assert_eq!(settle(&*broker, &child[0], ack()).await, Settled::Done, "{end:?}");
        assert_eq!(record(&*broker, "child").await.state, JobState::Finished, "{end:?}");
        assert_eq!(fetch(&*broker, 9).await, [], "{end:?}");
    }
}

#[tokio::test]
async fn dependent_that_was_canceled_or_that_a_worker_of_rq_is_enqueuing_is_not_let_go() {
    for status in ["canceled", "ready_to_enqueue"] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let parent = one(&*broker, job("a")).await;
        enqueue(&*broker, &["child"]).await;
        prefix.ask(&["DEL", "queue:q"]).await;
        waits_for(&prefix, &["a"]).await;
        prefix.ask(&["HSET", "job:child", "status", status]).await;
        settle(&*broker, &parent, ack()).await;
        assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, 0, "{status}");
        assert_eq!(prefix.ask_text(&["HGET", "job:child", "status"]).await, status);
    }
}

#[tokio::test]
async fn dependent_of_two_is_let_go_once_though_the_first_ends_again() {
    for in_steps in [false, true] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["a", "b", "child"]).await;
        prefix.ask(&["LREM", "queue:q", "1", "child"]).await;
        waits_for(&prefix, &["a", "b"]).await;
        let parents = fetch(&*broker, 9).await;
        settle(&*broker, &parents[0], ack()).await;
        assert_eq!(fetch(&*broker, 9).await, [], "{in_steps}: it waits for the other");
        if in_steps {
            // As if the first had very many more.
            prefix.ask(&["DEL", "job:a:dependents"]).await;
            prefix.ask(&["SADD", "tikkun:release:a", "child"]).await;
            prefix.ask(&["HSET", "tikkun:releases", "a", "1"]).await;
        }
        settle(&*broker, &parents[1], ack()).await;
        let child = fetch(&*broker, 9).await;
        assert_eq!(ids(&child), ["child"], "{in_steps}");
        settle(&*broker, &child[0], ack()).await;
        prefix.ask(&["HSET", "job:a", "status", "queued"]).await;
        prefix.ask(&["RPUSH", "queue:q", "a"]).await;
        let again = fetch(&*broker, 9).await;
        assert_eq!(ids(&again), ["a"]);
        settle(&*broker, &again[0], ack()).await;
        broker.tend(100).await.unwrap();
        assert_eq!(fetch(&*broker, 9).await, [], "{in_steps}");
        assert_eq!(prefix.ask_number(&["EXISTS", "tikkun:releases"]).await, 0, "{in_steps}");
    }
}

#[tokio::test]
async fn dependent_that_a_person_has_put_back_waits_for_nothing_any_more() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let parent = one(&*broker, job("a")).await;
    enqueue(&*broker, &["child"]).await;
    prefix.ask(&["DEL", "queue:q"]).await;
    waits_for(&prefix, &["a"]).await;
    assert_eq!(broker.cancel(&"child".into()).await.unwrap(), Some(JobState::Canceled));
    assert_eq!(broker.requeue(&["child".into()]).await.unwrap(), [Requeued::Waits]);
    let child = fetch(&*broker, 9).await;
    assert_eq!(ids(&child), ["child"]);
    settle(&*broker, &child[0], ack()).await;
    settle(&*broker, &parent, ack()).await;
    assert_eq!(fetch(&*broker, 9).await, []);
}

/// RQ's requeue leaves the time to live of the failure on all keys of the job.
#[tokio::test]
async fn dependents_are_let_go_by_a_run_that_outlasts_what_was_left_of_an_earlier_failure() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let parent = one(&*broker, job("a")).await;
    enqueue(&*broker, &["child"]).await;
    prefix.ask(&["DEL", "queue:q"]).await;
    waits_for(&prefix, &["a"]).await;
    let keep = Limit::After(Duration::from_secs(1));
    settle(&*broker, &parent, Disposition::Discard { error: "no".into(), keep }).await;
    let left = prefix.ask_number(&["PTTL", "job:a:dependents"]).await;
    assert!((1..=6_000).contains(&left), "{left}");
    prefix.ask(&["ZREM", "failed:q", "a"]).await;
    prefix.ask(&["HSET", "job:a", "status", "queued", "started_at", "", "ended_at", ""]).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    let again = fetch(&*broker, 9).await;
    assert_eq!(ids(&again), ["a"]);
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap() + 100)).await;
    settle(&*broker, &again[0], ack()).await;
    assert_eq!(ids(&fetch(&*broker, 9).await), ["child"]);
}
