//! A job that was enqueued again after its end does not die with that end: RQ's clients leave the time to live of the
//! earlier end where it is.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tikkun::job::Limit;
use tikkun::queue::{Broker, Disposition, RqSettings, open_rq};

use super::super::ground::*;
use super::super::redis_server::Redis;
use super::super::rq::Prefix;

/// Ends a job, which is kept for so many seconds: well, or not.
async fn ended(prefix: &Prefix, seconds: u64, well: bool) -> Arc<dyn Broker> {
    let broker = leased(prefix).await;
    let delivery = one(&*broker, job("a")).await;
    let keep = Limit::After(Duration::from_secs(seconds));
    let end = match well {
        true => Disposition::Ack { result: json!(1), keep },
        false => Disposition::Discard { error: "no".into(), keep },
    };
    settle(&*broker, &delivery, end).await;
    broker
}

/// Every key that lives and dies with the job.
const KEYS: [&str; 3] = ["job:a", "job:a:dependents", "job::a:dependencies"];

#[tokio::test]
async fn what_waits_again_outlives_its_earlier_end() {
    for status in ["queued", "scheduled", "deferred", "rate_limited", "started"] {
        for well in [true, false] {
            let prefix = Prefix::new();
            let broker = ended(&prefix, 4, well).await;
            for key in &KEYS[1..] {
                prefix.ask(&["SADD", key, "other"]).await;
                prefix.ask(&["EXPIRE", key, "4"]).await;
            }
            prefix.ask(&["HSET", "job:a", "status", status]).await;
            assert_eq!(broker.expire(9).await.unwrap(), 0, "its time is not over");
            for key in KEYS {
                assert_eq!(prefix.ask_number(&["TTL", key]).await, -1, "{status}, {well}: {key}");
            }
        }
    }
}

#[tokio::test]
async fn what_its_client_gave_a_time_to_live_keeps_that() {
    let prefix = Prefix::new();
    let broker = ended(&prefix, 4, true).await;
    prefix.ask(&["HSET", "job:a", "status", "queued", "ttl", "60"]).await;
    prefix.ask(&["EXPIRE", "job:a", "60"]).await;
    broker.expire(9).await.unwrap();
    assert!((50..=60).contains(&prefix.ask_number(&["TTL", "job:a"]).await));
}

#[tokio::test]
async fn what_only_an_earlier_enqueueing_gave_a_time_to_live_outlives_its_earlier_end() {
    for status in ["queued", "scheduled", "deferred"] {
        for well in [true, false] {
            let prefix = Prefix::new();
            let broker = ended(&prefix, 4, well).await;
            // A worker of RQ gives the key no more than the entry says.
            for seconds in [None, Some("4")] {
                prefix.ask(&["HSET", "job:a", "status", status, "ttl", "300"]).await;
                if let Some(seconds) = seconds {
                    prefix.ask(&["EXPIRE", "job:a", seconds]).await;
                }
                broker.expire(9).await.unwrap();
                assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1, "{status}, {well}, {seconds:?}");
            }
        }
    }
}

#[tokio::test]
async fn time_to_live_of_its_client_stays_though_it_ends_when_that_of_an_earlier_end_does() {
    for asked in ["created_at", "enqueued_at"] {
        let prefix = Prefix::new();
        let broker = ended(&prefix, 4, true).await;
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        prefix.ask(&["HSET", "job:a", "created_at", "2026-01-01T00:00:00.000000Z"]).await;
        prefix.ask(&["HSET", "job:a", "enqueued_at", "2026-01-01T00:00:00.000000Z"]).await;
        prefix.ask(&["HSET", "job:a", "status", "queued", "ttl", "7", asked, &now]).await;
        prefix.ask(&["EXPIRE", "job:a", "7"]).await;
        broker.expire(9).await.unwrap();
        assert!((1..=7).contains(&prefix.ask_number(&["TTL", "job:a"]).await), "{asked}");
    }
}

/// Until the time for which an end keeps its job for a second is over, and the server deletes it not yet.
async fn second_is_over() {
    tokio::time::sleep(Duration::from_millis(2_100)).await;
}

#[tokio::test]
async fn what_is_put_in_again_as_its_time_ends_is_not_dropped() {
    let prefix = Prefix::new();
    let broker = ended(&prefix, 1, true).await;
    second_is_over().await;
    prefix.ask(&["HSET", "job:a", "status", "queued"]).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    assert_eq!(broker.expire(9).await.unwrap(), 1, "the entry of its earlier end");
    assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1);
    assert_eq!(ids(&fetch(&*broker, 9).await), ["a"]);
}

#[tokio::test]
async fn what_has_ended_goes_with_all_that_is_kept_of_it_when_its_time_is_over() {
    for well in [true, false] {
        let prefix = Prefix::new();
        let broker = ended(&prefix, 1, well).await;
        second_is_over().await;
        for key in ["job:a", "results:a"] {
            assert_eq!(prefix.ask_number(&["EXISTS", key]).await, 1, "it is not left to the server: {key}");
            assert!(
                (1..=4).contains(&prefix.ask_number(&["TTL", key]).await),
                "but where nobody looks: {key}"
            );
        }
        assert_eq!(broker.expire(9).await.unwrap(), 1);
        assert_eq!(prefix.ask_number(&["EXISTS", "job:a", "results:a", "finished:q", "failed:q"]).await, 0);
    }
}

#[tokio::test]
async fn look_at_what_expires_soon_is_bounded() {
    let server = Redis::start();
    let settings = RqSettings { url: server.url().into(), prefix: "rq".into(), ..Prefix::new().settings() };
    let broker = open_rq(&settings).unwrap();
    let lua = "local now = tonumber(redis.call('TIME')[1])
        redis.call('SADD', 'rq:queues', 'rq:queue:q', 'rq:queue:other')
        for i = 1, 20000 do
            redis.call('HSET', 'rq:job:' .. i, 'status', 'finished')
            redis.call('ZADD', 'rq:finished:q', now + (i == 7 and 6 or 8), i)
        end
        redis.call('HSET', 'rq:job:7', 'status', 'queued')
        redis.call('EXPIRE', 'rq:job:7', 60)
        redis.call('CONFIG', 'RESETSTAT')";
    server.ask(&["EVAL", lua, "0"]);
    broker.expire(1_000).await.unwrap();
    let stats = server.ask(&["INFO", "commandstats"]);
    let read = stats.split_once("cmdstat_hmget:calls=").and_then(|(_, rest)| rest.split(',').next());
    assert!(read.unwrap().parse::<u32>().unwrap() <= 500, "{stats}");
    assert_eq!(server.ask(&["TTL", "rq:job:7"]), "-1", "the next ones come first");
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged while the look is made.
async fn log_of<T>(look: impl Future<Output = T>) -> (T, String) {
    let written = Written::default();
    let writer = written.clone();
    let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let logged = tracing::subscriber::set_default(logger);
    let answer = look.await;
    drop(logged);
    let log = String::from_utf8(written.0.lock().clone()).unwrap();
    (answer, log)
}

/// Where an earlier end is still listed, and how its loss is told of.
const LISTED: [(Option<&str>, &str); 3] =
    [(Some("finished:q"), "WARN"), (Some("failed:q"), "WARN"), (None, "INFO")];

fn is_told(log: &str, level: &str) -> bool {
    log.lines().any(|line| line.contains("job.id=\"a\"") && line.contains(level))
}

#[tokio::test]
async fn job_that_died_with_its_earlier_end_while_it_waited_is_told_of_as_a_loss() {
    for (registry, level) in LISTED {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        prefix.ask(&["RPUSH", "queue:q", "a"]).await;
        if let Some(registry) = registry {
            prefix.ask(&["ZADD", registry, "9999999999", "a"]).await;
        }
        let (found, log) = log_of(fetch(&*broker, 9)).await;
        assert_eq!(found, []);
        assert!(is_told(&log, level), "{registry:?}: {log}");
    }
}

#[tokio::test]
async fn scheduled_job_that_died_before_it_was_due_is_told_of_once_it_is_given_up() {
    for (registry, level) in LISTED {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        enqueue(&*broker, &["other"]).await;
        if let Some(registry) = registry {
            prefix.ask(&["ZADD", registry, "9999999999", "a"]).await;
        }
        for (looks, is_last) in [("1.875", false), ("1.9375", true)] {
            prefix.ask(&["ZADD", "scheduled:q", looks, "a"]).await;
            let (promoted, log) = log_of(broker.promote_due(9)).await;
            assert_eq!(promoted.unwrap(), 0);
            assert_eq!(is_told(&log, level), is_last, "{registry:?}: {log}");
        }
        assert_eq!(prefix.ask_number(&["ZCARD", "scheduled:q"]).await, 0);
    }
}
