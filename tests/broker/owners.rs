//! A settlement affects only its own execution: no job enqueued anew with the same id, no other execution of
//! the job, and nothing of an earlier end.

use std::time::Duration;

use serde_json::json;
use tikkun::job::{JobState, Limit, NewJob, Unique};
use tikkun::queue::{Broker, Budget, Delivery, Disposition, Settled};

use super::ground::*;
use super::rq::Prefix;

/// What an end keeps its job for, where the time must not pass within a test.
const KEPT: Duration = Duration::from_secs(60);

fn ends(what: &str) -> Disposition {
    Disposition::Ack { result: json!(what), keep: Limit::After(KEPT) }
}

fn fails() -> Disposition {
    Disposition::Discard { error: "no".into(), keep: Limit::After(KEPT) }
}

fn dropped() -> Disposition {
    Disposition::Ack { result: json!(null), keep: Limit::After(Duration::ZERO) }
}

/// Puts the job's id into its queue again over what is there, as clients of RQ do.
async fn again(prefix: &Prefix, fields: &[&str]) {
    prefix.ask(&[&["HSET", "job:a", "status", "queued"], fields].concat()).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
}

/// A second run of a job that runs.
async fn second_run(prefix: &Prefix, broker: &dyn Broker) -> Delivery {
    again(prefix, &["worker_name", "", "started_at", ""]).await;
    fetch(broker, 1).await.pop().expect("the second run")
}

async fn nobody_holds_it(prefix: &Prefix) {
    for key in ["wip:q", "executions:a", "tikkun:deliveries"] {
        assert_eq!(prefix.ask_number(&["EXISTS", key]).await, 0, "{key}");
    }
}

async fn in_registry(prefix: &Prefix, registry: &str) -> Vec<String> {
    prefix.ask_list(&["ZRANGE", registry, "0", "-1"]).await
}

/// As RQ before 2 deletes a running job: its execution stays where it was.
async fn put_in_anew(prefix: &Prefix, broker: &dyn Broker) {
    prefix.ask(&["DEL", "job:a"]).await;
    enqueue(broker, &["a"]).await;
}

#[tokio::test]
async fn an_old_run_overwrites_nothing_of_a_job_that_was_put_in_anew() {
    for end in [ends("old"), fails(), dropped(), Disposition::Rescue] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        // The new one has ended already.
        let old = one(&*broker, job("a")).await;
        put_in_anew(&prefix, &*broker).await;
        let new = fetch(&*broker, 1).await.remove(0);
        assert_eq!(settle(&*broker, &new, ends("new")).await, Settled::Done);
        assert_eq!(settle(&*broker, &old, end.clone()).await, Settled::NotOurs, "{end:?}");
        let found = record(&*broker, "a").await;
        assert_eq!((found.state, found.result), (JobState::Finished, Some(json!("new"))), "{end:?}");
        assert_eq!(counts(&*broker).await.failed, 0);
        nobody_holds_it(&prefix).await;
    }
}

#[tokio::test]
async fn an_old_run_takes_nothing_from_a_job_that_was_put_in_anew_and_waits_or_runs() {
    for end in [ends("old"), fails(), dropped(), Disposition::Rescue] {
        for runs in [false, true] {
            let told = format!("{end:?}, runs: {runs}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let old = one(&*broker, job("a")).await;
            put_in_anew(&prefix, &*broker).await;
            let mut new = if runs { fetch(&*broker, 1).await } else { Vec::new() };
            assert_eq!(settle(&*broker, &old, end.clone()).await, Settled::NotOurs, "{told}");
            assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{told}");
            assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, i64::from(!runs), "{told}");
            if !runs {
                new = fetch(&*broker, 1).await;
            }
            assert_eq!(settle(&*broker, &new[0], ends("new")).await, Settled::Done, "{told}");
            assert_eq!(record(&*broker, "a").await.result, Some(json!("new")), "{told}");
            nobody_holds_it(&prefix).await;
        }
    }
}

#[tokio::test]
async fn of_two_runs_of_one_job_the_last_end_decides_where_it_stands() {
    for end in [ends("first"), fails(), dropped()] {
        for older_first in [true, false] {
            let told = format!("{end:?}, the older first: {older_first}");
            let prefix = Prefix::new();
            let broker = leased(&prefix).await;
            let older = one(&*broker, job("a")).await;
            let newer = second_run(&prefix, &*broker).await;
            let (first, last) = if older_first { (&older, &newer) } else { (&newer, &older) };
            assert_eq!(settle(&*broker, first, end.clone()).await, Settled::Done, "{told}");
            assert_eq!(record(&*broker, "a").await.state, JobState::Started, "{told}");
            assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{told}");
            let all = counts(&*broker).await;
            assert_eq!((all.started, all.finished, all.failed), (1, 0, 0), "{told}");
            assert_eq!(prefix.ask_number(&["ZCARD", "executions:a"]).await, 1, "{told}");
            assert_eq!(settle(&*broker, last, ends("last")).await, Settled::Done, "{told}");
            let found = record(&*broker, "a").await;
            assert_eq!((found.state, found.result), (JobState::Finished, Some(json!("last"))), "{told}");
            assert!(prefix.ask_number(&["TTL", "job:a"]).await > 0, "{told}");
            nobody_holds_it(&prefix).await;
        }
    }
}

#[tokio::test]
async fn a_job_that_waits_again_stays_for_its_next_run() {
    for end in [ends("first"), fails(), dropped()] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let first = one(&*broker, job("a")).await;
        again(&prefix, &[]).await;
        assert_eq!(settle(&*broker, &first, end.clone()).await, Settled::Done, "{end:?}");
        let found = record(&*broker, "a").await;
        assert_eq!(found.state, JobState::Queued, "{end:?}");
        assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{end:?}");
        let next = fetch(&*broker, 1).await.remove(0);
        assert_eq!(settle(&*broker, &next, ends("second")).await, Settled::Done);
        assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
        nobody_holds_it(&prefix).await;
    }
}

#[tokio::test]
async fn a_job_that_waits_in_rq_scheduler_stays_for_its_next_run() {
    for end in [ends("first"), fails(), dropped()] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let first = one(&*broker, job("a")).await;
        prefix.ask(&["HSET", "job:a", "status", "scheduled"]).await;
        prefix.ask(&["ZADD", "scheduler:scheduled_jobs", "9999999999", "a"]).await;
        assert_eq!(settle(&*broker, &first, end.clone()).await, Settled::Done, "{end:?}");
        assert_eq!(record(&*broker, "a").await.state, JobState::Scheduled, "{end:?}");
        assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{end:?}");
        nobody_holds_it(&prefix).await;
    }
    // A periodic one is always listed there, and its end is its own.
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    prefix.ask(&["ZADD", "scheduler:scheduled_jobs", "9999999999", "a"]).await;
    let periodic = one(&*broker, job("a")).await;
    assert_eq!(settle(&*broker, &periodic, ends("x")).await, Settled::Done);
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
    assert!(prefix.ask_number(&["TTL", "job:a"]).await > 0);
}

#[tokio::test]
async fn a_run_decides_though_the_execution_of_a_dead_worker_is_still_listed() {
    for end in [ends("last"), fails()] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let first = one(&*broker, job("a")).await;
        settle(&*broker, &first, ends("first")).await;
        again(&prefix, &["worker_name", "", "started_at", ""]).await;
        // RQ gave it up, and so nobody will.
        prefix.ask(&["ZADD", "executions:a", "9999999999", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"]).await;
        let last = fetch(&*broker, 1).await.remove(0);
        assert_eq!(settle(&*broker, &last, end.clone()).await, Settled::Done, "{end:?}");
        let state =
            if matches!(end, Disposition::Ack { .. }) { JobState::Finished } else { JobState::Failed };
        assert_eq!(record(&*broker, "a").await.state, state, "{end:?}");
        assert!(prefix.ask_number(&["TTL", "job:a"]).await > 0, "{end:?}");
    }
}

#[tokio::test]
async fn a_run_that_the_maintenance_of_others_gave_up_too_early_counts_at_its_end() {
    for end in [ends("x"), fails(), Disposition::Rescue] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        // As RQ from 2 on does it to what nobody has kept alive for a while.
        taken_off(&prefix, &delivery).await;
        prefix.ask(&["HSET", "job:a", "status", "failed"]).await;
        prefix.ask(&["ZADD", "failed:q", "9999999999", "a"]).await;
        assert_eq!(settle(&*broker, &delivery, end.clone()).await, Settled::Done, "{end:?}");
        let (state, listed) = match end {
            Disposition::Ack { .. } => (JobState::Finished, 0),
            Disposition::Rescue => (JobState::Queued, 0),
            _ => (JobState::Failed, 1),
        };
        assert_eq!(record(&*broker, "a").await.state, state, "{end:?}");
        assert_eq!(in_registry(&prefix, "failed:q").await.len(), listed, "{end:?}");
        nobody_holds_it(&prefix).await;
    }
}

#[tokio::test]
async fn a_status_that_others_wrote_without_putting_the_job_in_does_not_outlive_its_end() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    // A client saved the job as it was before it ran.
    prefix.ask(&["HSET", "job:a", "status", "queued", "worker_name", "", "started_at", ""]).await;
    assert_eq!(settle(&*broker, &delivery, ends("x")).await, Settled::Done);
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
}

#[tokio::test]
async fn a_job_that_ends_anew_leaves_the_registry_of_its_earlier_end() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let first = one(&*broker, job("a")).await;
    settle(&*broker, &first, ends("first")).await;
    again(&prefix, &[]).await;
    let second = fetch(&*broker, 1).await.remove(0);
    settle(&*broker, &second, fails()).await;
    assert_eq!(in_registry(&prefix, "finished:q").await, Vec::<String>::new());
    assert_eq!(in_registry(&prefix, "failed:q").await, ["a"]);
    again(&prefix, &[]).await;
    let third = fetch(&*broker, 1).await.remove(0);
    settle(&*broker, &third, ends("third")).await;
    assert_eq!(in_registry(&prefix, "failed:q").await, Vec::<String>::new());
    assert_eq!(in_registry(&prefix, "finished:q").await, ["a"]);
    again(&prefix, &[]).await;
    broker.cancel(&"a".into()).await.unwrap();
    assert_eq!(in_registry(&prefix, "finished:q").await, Vec::<String>::new());
    assert_eq!(in_registry(&prefix, "canceled:q").await, ["a"]);
}

#[tokio::test]
async fn a_job_leaves_the_registry_of_an_end_that_others_wrote() {
    for (end, left) in [(ends("x"), "finished:q"), (fails(), "failed:q"), (dropped(), "")] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        // It ended under a worker of RQ, or was canceled, and was put in over what was there.
        for registry in ["finished:q", "failed:q", "canceled:q"] {
            prefix.ask(&["ZADD", registry, "9999999999", "a"]).await;
        }
        let delivery = one(&*broker, job("a")).await;
        assert_eq!(settle(&*broker, &delivery, end.clone()).await, Settled::Done);
        for registry in ["finished:q", "failed:q", "canceled:q"] {
            let is_there = !in_registry(&prefix, registry).await.is_empty();
            assert_eq!(is_there, registry == left, "{end:?}: {registry}");
        }
    }
}

/// A failed job, which RQ's registry of finished ones still lists from long ago.
async fn listed_twice(prefix: &Prefix) -> std::sync::Arc<dyn Broker> {
    let broker = leased(prefix).await;
    let delivery = one(&*broker, job("a")).await;
    settle(&*broker, &delivery, fails()).await;
    prefix.ask(&["ZADD", "finished:q", "1000", "a"]).await;
    broker
}

#[tokio::test]
async fn an_entry_of_an_earlier_end_drops_nothing() {
    let prefix = Prefix::new();
    let broker = listed_twice(&prefix).await;
    broker.expire(9).await.unwrap();
    assert_eq!(record(&*broker, "a").await.error.as_deref(), Some("no"));
    assert_eq!(in_registry(&prefix, "finished:q").await, Vec::<String>::new());

    let prefix = Prefix::new();
    let broker = listed_twice(&prefix).await;
    let b = one(&*broker, job("b")).await;
    settle(&*broker, &b, ends("b")).await;
    broker.trim(Budget { finished: 1, failed: 1 }, 9).await.unwrap();
    assert_eq!(record(&*broker, "a").await.error.as_deref(), Some("no"));
    assert_eq!(in_registry(&prefix, "finished:q").await, ["b"]);

    // Of another queue, in which it has ended before.
    prefix.ask(&["SADD", "queues", &prefix.key("queue:other")]).await;
    prefix.ask(&["ZADD", "failed:other", "1000", "a"]).await;
    broker.expire(9).await.unwrap();
    assert_eq!(record(&*broker, "a").await.state, JobState::Failed);
}

#[tokio::test]
async fn a_repeated_job_that_fails_at_last_stays_as_long_as_a_failed_one() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a"]).await;
    prefix.ask(&["HSET", "job:a", "repeats_left", "1", "repeat_intervals", "[0]"]).await;
    let first = fetch(&*broker, 1).await.remove(0);
    settle(&*broker, &first, ends("first")).await;
    let second = fetch(&*broker, 1).await.remove(0);
    prefix.ask(&["ZADD", "finished:q", "XX", "1000", "a"]).await;
    settle(&*broker, &second, fails()).await;
    broker.expire(9).await.unwrap();
    let found = record(&*broker, "a").await;
    assert_eq!((found.state, found.error.as_deref()), (JobState::Failed, Some("no")));
}

#[tokio::test]
async fn dependents_wait_on_for_a_job_that_was_put_back() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    prefix.ask(&["SADD", "job:a:dependents", "child"]).await;
    settle(&*broker, &delivery, fails()).await;
    assert!(prefix.ask_number(&["TTL", "job:a:dependents"]).await > 0);
    broker.requeue(&["a".into()]).await.unwrap();
    assert_eq!(prefix.ask_number(&["TTL", "job:a:dependents"]).await, -1);
}

/// As RQ from 2 on takes a running job off its registries.
async fn taken_off(prefix: &Prefix, delivery: &Delivery) {
    let member = format!("a:{}", delivery.execution);
    prefix.ask(&["ZREM", "wip:q", &member]).await;
}

async fn worker_is_idle(prefix: &Prefix) {
    let worker = format!("worker:tikkun.host.{ME}.1");
    assert_eq!(prefix.ask_text(&["HGET", &worker, "state"]).await, "idle");
    assert_eq!(prefix.ask_number(&["HEXISTS", &worker, "current_job"]).await, 0);
}

#[tokio::test]
async fn a_running_job_that_a_client_cancels_is_let_go_at_its_end() {
    for (end, results) in [(ends("x"), 1), (fails(), 0), (Disposition::Rescue, 0)] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        prefix.ask(&["HSET", "job:a", "status", "canceled"]).await;
        taken_off(&prefix, &delivery).await;
        prefix.ask(&["ZADD", "canceled:q", "1", "a"]).await;
        assert_eq!(broker.held(&queue(), &me()).await.unwrap().len(), 1, "it is out until its end");
        assert_eq!(settle(&*broker, &delivery, end).await, Settled::Done);
        assert_eq!(record(&*broker, "a").await.state, JobState::Canceled);
        assert_eq!(prefix.ask_number(&["XLEN", "results:a"]).await, results);
        assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, 0);
        assert!(
            prefix.ask_number(&["TTL", "job:a"]).await > 31_000_000,
            "as one that was canceled in its queue"
        );
        nobody_holds_it(&prefix).await;
        worker_is_idle(&prefix).await;
    }
}

#[tokio::test]
async fn a_job_that_was_canceled_while_it_ran_is_kept_from_its_last_end_on() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let older = one(&*broker, job("a")).await;
    let newer = second_run(&prefix, &*broker).await;
    prefix.ask(&["HSET", "job:a", "status", "canceled", "failure_ttl", "60"]).await;
    assert_eq!(settle(&*broker, &older, ends("x")).await, Settled::Done);
    assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "the other one runs");
    assert_eq!(settle(&*broker, &newer, ends("x")).await, Settled::Done);
    assert!((1..=70).contains(&prefix.ask_number(&["TTL", "job:a"]).await));
}

#[tokio::test]
async fn a_running_job_that_a_client_deletes_is_let_go_at_its_end() {
    for end in [ends("x"), fails(), Disposition::Rescue] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        taken_off(&prefix, &delivery).await;
        let execution = format!("execution:a:{}", delivery.execution);
        prefix.ask(&["DEL", "job:a", "executions:a", &execution]).await;
        assert_eq!(settle(&*broker, &delivery, end).await, Settled::NotOurs);
        assert_eq!(broker.job(&"a".into()).await.unwrap(), None);
        nobody_holds_it(&prefix).await;
        worker_is_idle(&prefix).await;
    }
}

/// As RQ deletes a running job, which saves its progress afterwards.
async fn deleted_while_it_goes_on(prefix: &Prefix) {
    prefix.ask(&["DEL", "job:a"]).await;
    prefix.ask(&["HSET", "job:a", "meta", "half-way"]).await;
}

#[tokio::test]
async fn what_a_deleted_job_writes_while_it_goes_on_goes_with_its_end() {
    for end in [ends("x"), fails(), dropped(), Disposition::Rescue] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        taken_off(&prefix, &delivery).await;
        deleted_while_it_goes_on(&prefix).await;
        assert_eq!(settle(&*broker, &delivery, end.clone()).await, Settled::NotOurs, "{end:?}");
        assert_eq!(prefix.ask_number(&["EXISTS", "job:a"]).await, 0, "{end:?}");
        nobody_holds_it(&prefix).await;
    }
    // Nor is it rescued.
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    one(&*broker, job("a")).await;
    deleted_while_it_goes_on(&prefix).await;
    broker.end_lease(&me()).await.unwrap();
    assert_eq!(broker.orphans(9).await.unwrap().len(), 0);
    assert_eq!(prefix.ask_number(&["EXISTS", "job:a"]).await, 0);
    nobody_holds_it(&prefix).await;
}

#[tokio::test]
async fn what_others_have_under_the_id_of_a_deleted_job_stays_at_its_end() {
    // Another run of it goes on.
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let older = one(&*broker, job("a")).await;
    let newer = second_run(&prefix, &*broker).await;
    deleted_while_it_goes_on(&prefix).await;
    assert_eq!(settle(&*broker, &older, ends("x")).await, Settled::NotOurs);
    assert_eq!(prefix.ask_number(&["EXISTS", "job:a"]).await, 1);
    assert_eq!(settle(&*broker, &newer, ends("x")).await, Settled::NotOurs);
    assert_eq!(prefix.ask_number(&["EXISTS", "job:a"]).await, 0);
    // It is a job, though not a whole one, or none at all.
    for (command, rest) in [("HSET", &["created_at", "x"][..]), ("HSET", &["data", "x"]), ("SET", &["x"])] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        prefix.ask(&["DEL", "job:a"]).await;
        prefix.ask(&[&[command, "job:a"], rest].concat()).await;
        settle(&*broker, &delivery, ends("x")).await;
        assert_eq!(prefix.ask_number(&["EXISTS", "job:a"]).await, 1, "{command} {rest:?}");
    }
}

fn with_key(id: &str, period: Option<Duration>) -> NewJob {
    NewJob { unique: Some(Unique { key: "report/27".to_owned(), period }), ..job(id) }
}

const UNIQUE: &str = "tikkun:unique:report/27";

#[tokio::test]
async fn a_unique_key_goes_with_its_job_or_at_the_end_of_its_period() {
    let later = Disposition::RetryAt { delay: LONG, error: "later".into() };
    for (end, is_open) in [(ends("x"), false), (fails(), false), (dropped(), false), (later, true)] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, with_key("a", None)).await;
        assert_eq!(prefix.ask_number(&["TTL", UNIQUE]).await, -1, "as long as it is open");
        settle(&*broker, &delivery, end.clone()).await;
        broker.expire(9).await.unwrap();
        assert_eq!(prefix.ask_number(&["EXISTS", UNIQUE]).await, i64::from(is_open), "{end:?}");
    }
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, with_key("a", Some(KEPT))).await;
    settle(&*broker, &delivery, fails()).await;
    assert!((1..=60).contains(&prefix.ask_number(&["TTL", UNIQUE]).await));
    broker.requeue(&["a".into()]).await.unwrap();
    assert_eq!(prefix.ask_number(&["TTL", UNIQUE]).await, -1, "it is open again");
    broker.cancel(&"a".into()).await.unwrap();
    assert!((1..=60).contains(&prefix.ask_number(&["TTL", UNIQUE]).await));
}

#[tokio::test]
async fn unique_keys_that_were_left_behind_go_in_time() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    broker.enqueue(&[with_key("open", None)]).await.unwrap();
    for (key, until) in [("gone", "0"), ("by the period", "99999999999999")] {
        let name = format!("tikkun:unique:{key}");
        prefix.ask(&["HSET", &name, "job", "deleted", "until", until]).await;
    }
    eventually("the key of a deleted job to go", async || {
        broker.trim(Budget::default(), 9).await.unwrap();
        let left = prefix.ask_number(&["EXISTS", "tikkun:unique:gone"]).await;
        let lives = prefix.ask_number(&["TTL", "tikkun:unique:by the period"]).await;
        (left == 0 && lives > 0).then_some(())
    })
    .await;
    assert_eq!(prefix.ask_number(&["TTL", UNIQUE]).await, -1, "an open job holds its key");
}

#[tokio::test]
async fn whatever_puts_a_job_into_a_queue_lists_the_queue() {
    let listed = async |prefix: &Prefix| prefix.ask_number(&["SCARD", "queues"]).await;
    let delay = Duration::ZERO;
    let retry = Disposition::RetryAt { delay, error: "no".into() };
    for verdict in [Disposition::Rescue, Disposition::Forward { queue: queue() }, retry] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        prefix.ask(&["DEL", "queues"]).await;
        settle(&*broker, &delivery, verdict.clone()).await;
        assert_eq!(listed(&prefix).await, 1, "{verdict:?}");
    }
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    settle(&*broker, &delivery, fails()).await;
    prefix.ask(&["DEL", "queues"]).await;
    broker.requeue(&["a".into()]).await.unwrap();
    assert_eq!(listed(&prefix).await, 1, "requeued");
}

#[tokio::test]
async fn a_canceled_job_is_looked_for_from_the_end_that_it_is_near() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["old", "b", "c", "d", "new"]).await;
    // Which of two entries goes shows where the search began.
    for id in ["new", "old"] {
        prefix.ask(&["LPUSH", "queue:q", id]).await;
        prefix.ask(&["RPUSH", "queue:q", id]).await;
    }
    for id in ["new", "old"] {
        broker.cancel(&id.into()).await.unwrap();
    }
    let left = prefix.ask_list(&["LRANGE", "queue:q", "0", "-1"]).await;
    assert_eq!(left, ["new", "old", "b", "c", "d", "new", "old"]);
}
