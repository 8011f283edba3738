//! With any value under the keys of a job, nothing panics, the failure can be read, and the next job runs.

use tikkun::job::{JobId, Limit, QueueEnd};
use tikkun::queue::{Broker, Budget, Disposition, JobFilter, Settled};

use super::ground::*;
use super::rq::Prefix;

/// Jobs, each spoiled in its own way.
const ROUNDS: usize = 400;

/// What a field may hold instead of what belongs there.
const ODD: &[&[u8]] = &[
    b"",
    b"x",
    b"-1",
    b"-99999999999999999999",
    b"1e999",
    b"nan",
    b"inf",
    b"0x10",
    b"3.7",
    b" 5 ",
    b"\xff\xfe\x00",
    b"[",
    b"[[]]",
    b"{\"a\": 1}",
    b"[\"x\", -3, null]",
    b"null",
    b"2026-13-45T99:99:99.999999999Z",
    b"\x78\x9c",
    b"\x80\x05.",
];

const FIELDS: &[&str] = &[
    "data",
    "status",
    "timeout",
    "origin",
    "created_at",
    "enqueued_at",
    "started_at",
    "ended_at",
    "retries_left",
    "retry_intervals",
    "result_ttl",
    "failure_ttl",
    "repeats_left",
    "repeat_intervals",
    "enqueue_at_front",
    "enqueue_at_front_on_retry",
    "dependency_ids",
    "meta",
    "success_callback_name",
    "failure_callback_timeout",
    "x_attempt",
    "x_failures",
    "x_orphaned",
    "x_due",
    "x_unique",
];

/// Keys beside the job's own, and what makes them something else.
const NEIGHBOURS: &[&str] = &["results:j", "job:j:dependents", "job::j:dependencies", "executions:j"];

const OTHER_TYPES: &[&[&str]] = &[&["SET"], &["RPUSH"], &["SADD"], &["ZADD", "1"], &["XADD", "*", "a"]];

fn any<'a, T: ?Sized>(of: &[&'a T]) -> &'a T {
    of[fastrand::usize(..of.len())]
}

async fn something_else(prefix: &Prefix, key: &str) {
    let (command, rest) = any(OTHER_TYPES).split_first().unwrap();
    prefix.ask(&["DEL", key]).await;
    prefix.ask(&[&[command, key], rest, &["something else"]].concat()).await;
}

/// Spoils the job `j` in up to four ways; says how.
async fn spoil(prefix: &Prefix) -> Vec<String> {
    let mut ways = Vec::new();
    for _ in 0..fastrand::usize(1..=4) {
        if prefix.ask_text(&["TYPE", "job:j"]).await != "hash" {
            return ways;
        }
        match fastrand::u8(..10) {
            0 => {
                something_else(prefix, "job:j").await;
                ways.push("the key is no hash".to_owned());
                return ways;
            }
            1 => {
                let key = any(NEIGHBOURS);
                something_else(prefix, key).await;
                ways.push(format!("{key} is something else"));
            }
            2 => {
                let field = any(FIELDS);
                prefix.ask(&["HDEL", "job:j", field]).await;
                ways.push(format!("no {field}"));
            }
            3 => {
                let data = prefix.ask_bytes(&["HGET", "job:j", "data"]).await;
                let cut = fastrand::usize(..=data.len());
                prefix.set_field("job:j", "data", &data[..cut]).await;
                ways.push(format!("data cut at {cut}"));
            }
            _ => {
                let (field, value) = (any(FIELDS), any(ODD));
                prefix.set_field("job:j", field, value).await;
                ways.push(format!("{field} = {value:?}"));
            }
        }
    }
    ways
}

fn any_verdict() -> Disposition {
    let keep = [Limit::Never, Limit::After(SHORT), Limit::After(LONG)][fastrand::usize(..3)];
    let delay = [std::time::Duration::ZERO, LONG][fastrand::usize(..2)];
    match fastrand::u8(..6) {
        0 => Disposition::Ack { result: serde_json::json!(1), keep },
        1 => Disposition::RetryAt { delay, error: "no".into() },
        2 => Disposition::Discard { error: "no".into(), keep },
        3 => Disposition::Stop { error: "no".into(), keep },
        4 => Disposition::Release { end: QueueEnd::Tail },
        _ => Disposition::Rescue,
    }
}

/// Everything that looks at jobs or moves them on.
async fn everything_else(broker: &dyn Broker, told: &str) {
    let id = JobId::from("j");
    let filter = JobFilter { limit: 50, ..JobFilter::default() };
    let told = |fault: tikkun::fault::Fault| panic!("{told}: {}", fault.chain());
    broker.job(&id).await.map(drop).unwrap_or_else(told);
    broker.jobs(&filter).await.map(drop).unwrap_or_else(told);
    broker.open_jobs(&"shop.jobs.noop".into()).await.map(drop).unwrap_or_else(told);
    broker.open_of(std::slice::from_ref(&id)).await.map(drop).unwrap_or_else(told);
    broker.held(&queue(), &me()).await.map(drop).unwrap_or_else(told);
    broker.promote_due(9).await.map(drop).unwrap_or_else(told);
    broker.expire(9).await.map(drop).unwrap_or_else(told);
    broker.trim(Budget { finished: 1, failed: 1 }, 9).await.map(drop).unwrap_or_else(told);
    broker.orphans(9).await.map(drop).unwrap_or_else(told);
    broker.tend(9).await.map(drop).unwrap_or_else(told);
    broker.counts().await.map(drop).unwrap_or_else(told);
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap_or_else(|fault| panic!("{}", fault.chain())));
}

#[tokio::test]
async fn whatever_lies_under_a_jobs_keys_the_next_job_runs() {
    for round in 0..ROUNDS {
        fastrand::seed(round as u64);
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["j"]).await;
        let (early, late) = (fastrand::bool(), fastrand::bool());
        let mut ways = if early { spoil(&prefix).await } else { Vec::new() };
        let lent = fetch(&*broker, 1).await;
        if late {
            ways.extend(spoil(&prefix).await);
        }
        let told = format!("seed {round}, {} lent, {ways:?}", lent.len());
        everything_else(&*broker, &told).await;
        for delivery in lent {
            if let Err(error) = &delivery.job.args {
                assert!(error.to_string().starts_with("cannot read the arguments"), "{told}: {error}");
            }
            let verdict = any_verdict();
            let settled = broker.settle(&[settlement(&delivery, verdict.clone())]).await;
            settled.unwrap_or_else(|fault| panic!("{told}, {verdict:?}: {}", fault.chain()));
            assert_eq!(prefix.ask_number(&["ZCARD", "wip:q"]).await, 0, "{told}");
        }
        everything_else(&*broker, &told).await;
        prefix.ask(&["DEL", "queue:q"]).await;
        let next = one(&*broker, job("next")).await;
        assert_eq!(settle(&*broker, &next, ack()).await, Settled::Done, "{told}");
        assert!(prefix.ask_number(&["EXISTS", "job:next"]).await == 1, "{told}");
    }
}

#[tokio::test]
async fn a_key_that_is_no_hash_is_left_as_it_was_and_its_neighbours_run() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a", "b", "c"]).await;
    prefix.ask(&["DEL", "job:b"]).await;
    prefix.ask(&["SET", "job:b", "something else"]).await;
    let lent = fetch(&*broker, 9).await;
    assert_eq!(ids(&lent), ["a", "c"]);
    assert_eq!(prefix.ask_text(&["GET", "job:b"]).await, "something else");
    for delivery in &lent {
        assert_eq!(settle(&*broker, delivery, ack()).await, Settled::Done);
    }
}

#[tokio::test]
async fn a_job_whose_end_cannot_be_written_fails_and_says_why() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let lent = one(&*broker, job("a")).await;
    let other = one(&*broker, job("b")).await;
    prefix.ask(&["SET", "results:a", "no stream"]).await;
    let both = [settlement(&lent, ack()), settlement(&other, ack())];
    assert_eq!(broker.settle(&both).await.unwrap(), [Settled::Done; 2]);
    let job = record(&*broker, "a").await;
    assert_eq!(job.state, tikkun::job::JobState::Failed);
    assert!(job.remark.unwrap().contains("WRONGTYPE"));
    assert_eq!(record(&*broker, "b").await.state, tikkun::job::JobState::Finished);
}
