//! The whole hash of a job, which code in another language is given.

use std::sync::Arc;
use std::time::Duration;

use tikkun::job::JobState;
use tikkun::queue::{Broker, Delivery, Disposition, RqSettings, open_rq};

use crate::broker::ground::*;
use crate::broker::rq::Prefix;

/// A broker of a process that runs code in another language.
async fn with_hashes(prefix: &Prefix) -> Arc<dyn Broker> {
    let broker = open_rq(&RqSettings { whole_hashes: vec!["q".into()], ..prefix.settings() }).unwrap();
    assert!(broker.renew_lease(&process(ME), LONG).await.unwrap());
    broker
}

fn field<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a [u8]> {
    let hash = delivery.hash.as_ref().unwrap_or_else(|| panic!("{delivery:?}"));
    hash.fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| value.as_slice())
}

#[tokio::test]
async fn a_delivery_brings_the_whole_hash_where_that_is_asked_for() {
    let prefix = Prefix::new();
    let broker = with_hashes(&prefix).await;
    enqueue(&*broker, &["a", "gone", "b"]).await;
    prefix.ask(&["DEL", "job:gone"]).await;
    prefix.set_field("job:a", "webhooks", b"[]").await;
    prefix.set_field("job:a", "raw", b"\xff\x00").await;
    prefix.set_field("job:a", "success_callback_name", b"shop.done").await;
    prefix.set_field("job:a", "success_callback_timeout", b"7").await;
    prefix.set_field("job:b", "number_of_retries", b"3").await;
    let taken = fetch(&*broker, 9).await;
    assert_eq!(ids(&taken), ["a", "b"]);
    let (a, b) = (&taken[0], &taken[1]);
    assert_eq!((field(a, "webhooks"), field(a, "raw")), (Some(&b"[]"[..]), Some(&b"\xff\x00"[..])));
    assert_eq!(field(a, "status"), Some(&b"queued"[..]), "as it was before the fetch");
    assert_eq!(field(b, "webhooks"), None);
    assert_eq!(field(b, "data"), Some(&*prefix.ask_bytes(&["HGET", "job:b", "data"]).await));
    assert_eq!(a.job.callbacks.success.as_ref().unwrap().timeout, Duration::from_secs(7));
    assert_eq!((b.job.retries_asked, b.job.attempt, &b.job.args), (3, 1, &Ok(job("b").args)));
    let plain = Prefix::new();
    assert_eq!(one(&*leased(&plain).await, job("a")).await.hash, None, "nobody asked for it");
}

#[tokio::test]
async fn with_the_whole_hash_jobs_count_as_without_it() {
    let prefix = Prefix::new();
    let broker = with_hashes(&prefix).await;
    let first = one(&*broker, job("a")).await;
    settle(&*broker, &first, Disposition::RetryAt { delay: Duration::ZERO, error: "no".into() }).await;
    // Of two entries of one id each is an attempt of its own.
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    let runs = fetch(&*broker, 9).await;
    let told: Vec<_> = runs.iter().map(|run| (run.job.attempt, run.job.failures)).collect();
    assert_eq!(told, [(2, 1), (3, 1)]);
    for run in &runs {
        settle(&*broker, run, ack()).await;
    }
    // Its client puts it in again, over the old one: failures and retries that it asks for begin anew.
    let anew = ["status", "queued", "created_at", "2026-01-02T03:04:05Z", "number_of_retries", "7"];
    prefix.ask(&[&["HSET", "job:a"], &anew[..]].concat()).await;
    prefix.ask(&["RPUSH", "queue:q", "a"]).await;
    let anew = fetch(&*broker, 9).await.remove(0);
    assert_eq!((anew.job.attempt, anew.job.failures, anew.job.queue.as_str()), (4, 0, "q"));
    assert_eq!((anew.job.retries_asked, field(&anew, "number_of_retries")), (0, None));
    assert!(field(&anew, "created_at").is_some() && field(&anew, "data").is_some());
    settle(&*broker, &anew, ack()).await;
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
}

#[tokio::test]
async fn whole_hashes_that_are_too_many_for_one_answer_come_with_the_next() {
    let prefix = Prefix::new();
    let broker = with_hashes(&prefix).await;
    let names = ["a", "b", "c", "d", "e"];
    enqueue(&*broker, &names).await;
    for id in names {
        prefix.set_field(&format!("job:{id}"), "beside", &vec![b'x'; 60 << 10]).await;
    }
    for answer in names.chunks(2) {
        assert_eq!(ids(&fetch(&*broker, 12).await), answer);
    }
}
