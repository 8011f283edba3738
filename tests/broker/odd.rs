//! Entries that our clients never make: of another queue or none, with an id that is no text, or expiring.

use std::time::Duration;

use tikkun::job::{JobState, Limit};
use tikkun::queue::{Disposition, Requeued, RqSettings, Settled, open_rq};

use super::ground::*;
use super::rq::Prefix;

fn fails() -> Disposition {
    Disposition::Discard { error: "no".into(), keep: Limit::After(LONG) }
}

async fn in_registry(prefix: &Prefix, registry: &str) -> Vec<String> {
    prefix.ask_list(&["ZRANGE", registry, "0", "-1"]).await
}

#[tokio::test]
async fn job_whose_entry_was_moved_belongs_to_the_queue_that_it_is_taken_from() {
    let later = Disposition::RetryAt { delay: LONG, error: "later".into() };
    for (end, registry) in [(fails(), "failed:other"), (later, "scheduled:other")] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["a"]).await;
        prefix.ask(&["LMOVE", "queue:q", "queue:other", "LEFT", "RIGHT"]).await;
        let lent = broker.fetch(&"other".into(), 1, &me()).await.unwrap().remove(0);
        settle(&*broker, &lent, end).await;
        assert_eq!(in_registry(&prefix, registry).await, ["a"]);
        broker.cancel(&"a".into()).await.unwrap();
        assert_eq!(broker.requeue(&["a".into()]).await.unwrap(), [Requeued::Waits]);
        // What an entry left behind would run a second time, or say that it failed.
        assert_eq!(in_registry(&prefix, registry).await, Vec::<String>::new());
        assert_eq!(ids(&broker.fetch(&"other".into(), 9, &me()).await.unwrap()), ["a"]);
    }
}

#[tokio::test]
async fn job_that_does_not_say_where_it_belongs_holds_up_no_other() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    for id in ["a", "b", "c"] {
        let lent = one(&*broker, job(id)).await;
        settle(&*broker, &lent, fails()).await;
    }
    prefix.ask(&["HDEL", "job:b", "origin"]).await;
    let all = ["a", "b", "c"].map(Into::into);
    let expected = [Requeued::Waits, Requeued::Is(JobState::Failed), Requeued::Waits];
    assert_eq!(broker.requeue(&all).await.unwrap(), expected);
    prefix.ask(&["HDEL", "job:c", "origin"]).await;
    assert_eq!(broker.cancel(&"c".into()).await.unwrap(), Some(JobState::Canceled));
    assert_eq!(prefix.ask_number(&["EXISTS", "canceled", "queue", "scheduled"]).await, 0);
    prefix.ask(&["HDEL", "job:a", "origin"]).await;
    let lent = fetch(&*broker, 9).await;
    assert_eq!(ids(&lent), ["a"]);
    settle(&*broker, &lent[0], fails()).await;
    assert_eq!(
        broker.requeue(&["a".into()]).await.unwrap(),
        [Requeued::Waits],
        "it belongs to this queue now"
    );
}

#[tokio::test]
async fn id_that_is_no_text_keeps_nobody_from_running() {
    // Each of them is no UTF-8, in its own way; the hash is whole.
    let lua = "for _, id in ipairs({ '\\255', '\\192\\128', '\\237\\160\\128', '\\244\\144\\128\\128', 'a\\195' }) do
        redis.call('COPY', ARGV[1] .. 'job:a', ARGV[1] .. 'job:' .. id)
        redis.call('LPUSH', ARGV[1] .. 'queue:q', id)
    end";
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let texts = ["a", "é", "ק", "\u{d7ff}", "\u{ffff}", "😀", "\u{10ffff}"];
    enqueue(&*broker, &texts).await;
    prefix.script(lua, &[]).await;
    let lent = fetch(&*broker, 14).await;
    assert_eq!(ids(&lent), texts);
    assert_eq!(broker.held(&queue(), &me()).await.unwrap().len(), texts.len());
    broker.end_lease(&me()).await.unwrap();
    assert_eq!(broker.orphans(14).await.unwrap().len(), texts.len());
    for delivery in &lent {
        assert_eq!(settle(&*broker, delivery, ack()).await, Settled::Done);
    }
}

#[tokio::test]
async fn time_to_live_of_a_job_that_has_not_begun_counts_from_when_it_comes_into_its_queue() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let parent = one(&*broker, job("parent")).await;
    let child = ["status", "deferred", "origin", "q", "data", "x", "ttl", "60"];
    prefix.ask(&[&["HSET", "job:child"], &child[..]].concat()).await;
    prefix.ask(&["SADD", "job:parent:dependents", "child"]).await;
    let mut due = job("due");
    due.delay = Some(LONG);
    broker.enqueue(&[due]).await.unwrap();
    prefix.ask(&["HSET", "job:due", "ttl", "60"]).await;
    prefix.ask(&["ZADD", "scheduled:q", "1", "due"]).await;
    settle(&*broker, &parent, ack()).await;
    broker.promote_due(9).await.unwrap();
    for id in ["child", "due"] {
        let lives = prefix.ask_number(&["TTL", &format!("job:{id}")]).await;
        assert!((50..=60).contains(&lives), "{id}: {lives}");
    }
    for lent in fetch(&*broker, 9).await {
        let name = format!("job:{}", lent.job.id);
        assert_eq!(prefix.ask_number(&["TTL", &name]).await, -1, "it has begun");
        settle(&*broker, &lent, Disposition::Rescue).await;
        assert_eq!(prefix.ask_number(&["TTL", &name]).await, -1, "what has begun is brought back");
    }
}

#[tokio::test]
async fn what_is_to_be_kept_for_centuries_is_kept_for_ever() {
    // Python's `sys.maxsize`.
    let keep = Limit::After(Duration::from_secs(i64::MAX as u64));
    let good = Disposition::Ack { result: serde_json::json!(1), keep };
    let bad = Disposition::Discard { error: "no".into(), keep };
    for (end, state, registry, score) in
        [(good, JobState::Finished, "finished:q", "inf"), (bad, JobState::Failed, "failed:q", "-1")]
    {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let lent = one(&*broker, job("a")).await;
        assert_eq!(settle(&*broker, &lent, end).await, Settled::Done);
        let found = record(&*broker, "a").await;
        assert_eq!((found.state, found.remark), (state, None));
        assert_eq!(prefix.ask_text(&["ZSCORE", registry, "a"]).await, score);
        assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1);
    }
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a", "b"]).await;
    for id in ["a", "b"] {
        prefix.ask(&["HSET", &format!("job:{id}"), "failure_ttl", "9223372036854775807"]).await;
    }
    assert_eq!(broker.cancel(&"a".into()).await.unwrap(), Some(JobState::Canceled));
    prefix.ask(&["HSET", "job:b", "status", "started"]).await;
    prefix.ask(&["DEL", "queue:q"]).await;
    prefix.ask(&["ZADD", "wip:q", "1000", "b:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"]).await;
    assert_eq!(broker.tend(9).await.unwrap().len(), 1, "an abandoned one has failed");
    assert_eq!(prefix.ask_text(&["ZSCORE", "failed:q", "b"]).await, "-1");
}

#[tokio::test]
async fn what_waits_in_a_queue_that_was_taken_off_the_list_comes_due() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let mut due = job("a");
    due.delay = Some(LONG);
    broker.enqueue(&[due]).await.unwrap();
    prefix.ask(&["ZADD", "scheduled:q", "1", "a"]).await;
    // As RQ's `Queue.delete` does it.
    prefix.ask(&["DEL", "queues", "queue:q"]).await;
    assert_eq!(broker.promote_due(9).await.unwrap(), 1);
    assert_eq!(prefix.ask_list(&["SMEMBERS", "queues"]).await, [prefix.key("queue:q")], "and no other");
    assert_eq!(ids(&fetch(&*broker, 9).await), ["a"]);
}

#[tokio::test]
async fn what_an_rq_client_lists_as_scheduled_before_it_writes_it_is_not_lost() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    // As RQ does it before version 3; the job itself comes a moment later.
    prefix.ask(&["ZADD", "scheduled:q", "1", "a"]).await;
    prefix.ask(&["SADD", "queues", &prefix.key("queue:q")]).await;
    assert_eq!(broker.promote_due(9).await.unwrap(), 0);
    prefix.ask(&["HSET", "job:a", "status", "scheduled", "origin", "q", "data", "x"]).await;
    let promoted = eventually("the job to come due again", async || {
        Some(broker.promote_due(9).await.unwrap()).filter(|promoted| *promoted > 0)
    });
    assert_eq!(promoted.await, 1);
    assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, 1);
    assert_eq!(prefix.ask_number(&["ZCARD", "scheduled:q"]).await, 0);
}

#[tokio::test]
async fn a_scheduled_id_whose_job_never_comes_is_let_go() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    prefix.ask(&["SADD", "queues", &prefix.key("queue:q")]).await;
    // Fourteen looks, and fifteen; each leaves it for a second.
    for (score, is_left) in [("1.875", 1), ("1.9375", 0)] {
        prefix.ask(&["ZADD", "scheduled:q", score, "none"]).await;
        assert_eq!(broker.promote_due(9).await.unwrap(), 0);
        assert_eq!(prefix.ask_number(&["ZCARD", "scheduled:q"]).await, is_left);
    }
}

#[tokio::test]
async fn very_many_jobs_whose_time_to_live_is_over_leave_their_queue_in_steps() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let lua = "for i = 1, 5000 do redis.call('RPUSH', ARGV[1] .. 'queue:q', 'gone-' .. i) end";
    prefix.script(lua, &[]).await;
    enqueue(&*broker, &["a"]).await;
    assert_eq!(fetch(&*broker, 1).await.len(), 0, "one look is bounded");
    assert!(prefix.ask_number(&["LLEN", "queue:q"]).await >= 4_000);
    let taken = eventually("the job behind them", async || fetch(&*broker, 1).await.pop()).await;
    assert_eq!(taken.job.id.as_str(), "a");
}

/// Users name their workers as they like, also with what looks like the rest of an entry of ours.
#[tokio::test]
async fn what_a_worker_with_blanks_in_its_name_has_is_kept_ended_and_rescued() {
    for name in ["mail worker 1", " two  blanks ", "v 2.5 x"] {
        let prefix = Prefix::new();
        let settings = RqSettings { worker_name: Some(name.into()), ..prefix.settings() };
        let (broker, rescuer) = (open_rq(&settings).unwrap(), prefix.open().await);
        broker.renew_lease(&process(ME), LONG).await.unwrap();
        enqueue(&*broker, &["a", "b"]).await;
        let lent = fetch(&*broker, 2).await;
        assert_eq!(ids(&broker.held(&queue(), &me()).await.unwrap()).len(), 2, "{name}");
        assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
        assert_eq!(settle(&*broker, &lent[0], ack()).await, Settled::Done, "{name}");
        broker.end_lease(&me()).await.unwrap();
        let orphans = rescuer.orphans(9).await.unwrap();
        let found: Vec<_> = orphans.iter().map(|orphan| orphan.delivery.job.id.as_str()).collect();
        assert_eq!(found, [lent[1].job.id.as_str()], "{name}");
        assert_eq!(settle(&*rescuer, &orphans[0].delivery, Disposition::Rescue).await, Settled::Done);
        assert_eq!(prefix.ask_number(&["LLEN", "queue:q"]).await, 1, "{name}");
        assert_eq!(prefix.ask_number(&["EXISTS", "wip:q", "tikkun:deliveries"]).await, 0, "{name}");
    }
}

/// Some orphans are left to others. Those hide none of the rest, however little one look takes.
#[tokio::test]
async fn every_orphan_comes_into_sight_though_the_others_stay() {
    let prefix = Prefix::new();
    let (broker, rescuer) = (leased(&prefix).await, prefix.open().await);
    enqueue(&*broker, &["a", "b", "c"]).await;
    assert_eq!(fetch(&*broker, 3).await.len(), 3);
    broker.end_lease(&me()).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    eventually("each of the three", async || {
        let one = rescuer.orphans(1).await.unwrap().remove(0);
        seen.insert(one.delivery.job.id.to_string());
        (seen.len() == 3).then_some(())
    })
    .await;
}

/// What is left to others is in nobody's hand here, and its payload may be long.
#[tokio::test]
async fn orphan_of_an_earlier_look_is_not_remembered() {
    let prefix = Prefix::new();
    let (broker, rescuer) = (leased(&prefix).await, prefix.open().await);
    enqueue(&*broker, &["a", "b"]).await;
    assert_eq!(fetch(&*broker, 2).await.len(), 2);
    broker.end_lease(&me()).await.unwrap();
    let first = eventually("an orphan", async || rescuer.orphans(1).await.unwrap().pop()).await.delivery;
    eventually("the other one", async || {
        rescuer.orphans(1).await.unwrap().pop().filter(|other| other.delivery.execution != first.execution)
    })
    .await;
    // What is remembered needs no look at the server.
    assert_eq!(prefix.ask_number(&["DEL", &format!("job:{}", first.job.id)]).await, 1);
    assert!(!matches!(rescuer.unfold(&first).await, Ok(Ok(_))), "its payload is kept here");
}
