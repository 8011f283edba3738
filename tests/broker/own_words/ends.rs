//! Ends in the words of another language. Only Redis has enqueuers in one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tikkun::job::{
    Completion, JobChanges, JobError, JobResult, JobState, Limit, Retries, RetryAsked, Verbatim, own_words,
};
use tikkun::queue::{Broker, Delivery, Disposition, Settled, Settlement};

use crate::broker::ground::*;
use crate::broker::rq::Prefix;

fn finished(payload: Option<Vec<u8>>, changes: JobChanges) -> JobResult {
    Ok(Completion::in_own_words(None, Verbatim { payload, changes, ..Verbatim::default() }))
}

fn retry(asked: RetryAsked, payload: Option<Vec<u8>>, changes: JobChanges) -> JobResult {
    Ok(Completion::in_own_words(Some(asked), Verbatim { payload, changes, ..Verbatim::default() }))
}

fn failed(traceback: String, changes: JobChanges) -> JobResult {
    Err(JobError::in_own_words(Verbatim { traceback: Some(traceback), changes, ..Verbatim::default() }))
}

fn words(ended: JobResult) -> Option<Arc<Verbatim>> {
    let words = own_words(&ended).cloned();
    assert!(words.is_some(), "{ended:?}");
    words
}

async fn end(broker: &dyn Broker, delivery: &Delivery, verdict: Disposition, ended: JobResult) {
    let one = Settlement { verbatim: words(ended), ..settlement(delivery, verdict) };
    assert_eq!(broker.settle(&[one]).await.unwrap(), [Settled::Done]);
}

fn kept() -> Limit {
    Limit::After(LONG)
}

/// What Redis has of the newest result of `a`.
async fn result(prefix: &Prefix, field: &str) -> String {
    let script = "local last = redis.call('XREVRANGE', ARGV[1] .. 'results:a', '+', '-')[1][2]
        for i = 1, #last, 2 do
          if last[i] == ARGV[2] then redis.call('SET', ARGV[1] .. 'told', last[i + 1]) return end
        end
        redis.call('SET', ARGV[1] .. 'told', '(none)')";
    prefix.script(script, &[field]).await;
    prefix.ask_text(&["GET", "told"]).await
}

#[tokio::test]
async fn a_payload_is_stored_as_it_is_and_read_as_far_as_it_can_be() {
    let class = b"\x80\x04cshop.models\nOrder\n)\x81.".to_vec();
    let cases = [
        (Some(b"\x80\x04K\x1b.".to_vec()), "gARLGy4=", json!(27)),
        (Some(class), "gARjc2hvcC5tb2RlbHMKT3JkZXIKKYEu", json!(null)),
        (None, "(none)", json!(null)),
    ];
    for (payload, stored, value) in cases {
        let is_readable = payload.is_none() || value != json!(null);
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        let ended = finished(payload, JobChanges::default());
        end(&*broker, &delivery, Disposition::Ack { result: json!("in words"), keep: kept() }, ended).await;
        assert_eq!(result(&prefix, "return_value").await, stored);
        let found = record(&*broker, "a").await;
        assert_eq!(found.state, JobState::Finished);
        let shown = found.result.unwrap();
        match is_readable {
            true => assert_eq!(shown, value),
            false => assert!(shown.as_str().unwrap().contains("shop.models.Order"), "{shown}"),
        }
    }
}

#[tokio::test]
async fn a_traceback_is_stored_as_it_is_and_its_last_line_is_the_error() {
    let text = "Traceback (most recent call last):\n  File \"x.py\", line 1\nshop.Bad: no ק\n";
    let error = || "shop.Bad: no ק".to_owned();
    let verdicts = [
        Disposition::Discard { error: error(), keep: kept() },
        Disposition::RetryAt { delay: LONG, error: error() },
        Disposition::Stop { error: error(), keep: kept() },
    ];
    for verdict in verdicts {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        let told = format!("{verdict:?}");
        end(&*broker, &delivery, verdict, failed(text.into(), JobChanges::default())).await;
        assert_eq!(record(&*broker, "a").await.error, Some(error()), "{told}");
        let attempts = broker.attempts(&"a".into()).await.unwrap();
        assert_eq!(attempts[0].error.as_deref(), Some(text.trim_end()), "{told}");
    }
}

#[tokio::test]
async fn a_returned_retry_keeps_what_was_returned() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    let asked = RetryAsked::at_most(1);
    let verdict = Disposition::RunAgain { delay: Duration::ZERO, asked: asked.clone(), keep: kept() };
    let ended = || retry(asked.clone(), Some(b"\x80\x04K\x1b.".to_vec()), JobChanges::default());
    end(&*broker, &delivery, verdict, ended()).await;
    assert_eq!(result(&prefix, "return_value").await, "gARLGy4=");
    assert_eq!(result(&prefix, "type").await, "4");
    let delivery = fetch(&*broker, 1).await.remove(0);
    let verdict = Disposition::Exhaust { asked: asked.clone(), keep: kept() };
    end(&*broker, &delivery, verdict, ended()).await;
    assert_eq!(result(&prefix, "return_value").await, "gARLGy4=");
    assert_eq!(result(&prefix, "type").await, "5");
}

#[tokio::test]
async fn what_the_code_changed_of_its_job_is_written_and_holds_for_this_end() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let mut new = job("a");
    new.retries = Some(Retries { left: 0, intervals: vec![LONG] });
    let delivery = one(&*broker, new).await;
    enqueue(&*broker, &["b"]).await;
    let changes = JobChanges {
        result_ttl: Some(Limit::After(Duration::from_secs(77))),
        failure_ttl: Some(Limit::Never),
        retries_left: Some(2),
        retry_intervals: Some(vec![Duration::ZERO, LONG]),
        at_front_on_retry: Some(true),
        ..JobChanges::default()
    };
    let verdict = Disposition::RetryAt { delay: Duration::ZERO, error: "no".into() };
    end(&*broker, &delivery, verdict, failed("no".into(), changes)).await;
    let next = fetch(&*broker, 1).await.remove(0).job;
    assert_eq!((next.id.as_str(), next.result_ttl), ("a", Some(Limit::After(Duration::from_secs(77)))));
    assert_eq!(
        (next.failure_ttl, next.retries),
        (Some(Limit::Never), Some(Retries { left: 1, intervals: vec![Duration::ZERO, LONG] }))
    );
    let hash = prefix
        .ask_list(&["HMGET", "job:a", "retry_intervals", "enqueue_at_front_on_retry", "result_ttl"])
        .await;
    assert_eq!(hash, ["[0, 600]", "1", "77"]);
}

#[tokio::test]
async fn repetitions_that_the_code_gave_its_job_begin_with_this_end() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    let changes = JobChanges {
        repeats_left: Some(2),
        repeat_intervals: Some(vec![Duration::ZERO, LONG]),
        ..JobChanges::default()
    };
    end(&*broker, &delivery, ack(), finished(None, changes)).await;
    let again = fetch(&*broker, 1).await.remove(0);
    assert_eq!(
        prefix.ask_list(&["HMGET", "job:a", "repeats_left", "repeat_intervals"]).await,
        ["1", "[600]"]
    );
    let changes = JobChanges { repeats_left: Some(0), ..JobChanges::default() };
    end(&*broker, &again, ack(), finished(None, changes)).await;
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished, "it will not be repeated");
}

#[tokio::test]
async fn other_fields_that_the_code_changed_are_written_byte_for_byte() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let fields = vec![("meta".to_owned(), bytes.clone()), ("description".to_owned(), "größe".into())];
    end(&*broker, &delivery, ack(), finished(None, JobChanges { fields, ..JobChanges::default() })).await;
    assert_eq!(prefix.ask_bytes(&["HGET", "job:a", "meta"]).await, bytes);
    assert_eq!(prefix.ask_text(&["HGET", "job:a", "description"]).await, "größe");
}

#[tokio::test]
async fn a_failure_that_is_not_to_be_listed_leaves_its_status_alone() {
    let error = || "no".to_owned();
    for (verdict, status) in [
        (Disposition::Discard { error: error(), keep: kept() }, "failed"),
        (Disposition::Discard { error: error(), keep: Limit::After(Duration::ZERO) }, "failed"),
        (Disposition::Stop { error: error(), keep: kept() }, "stopped"),
    ] {
        let prefix = Prefix::new();
        let broker = leased(&prefix).await;
        let delivery = one(&*broker, job("a")).await;
        let changes = JobChanges { retries_left: Some(9), ..JobChanges::default() };
        let unlisted = Verbatim { traceback: Some(error()), changes, unlisted: true, ..Verbatim::default() };
        let settled = Settlement { verbatim: Some(Arc::new(unlisted)), ..settlement(&delivery, verdict) };
        assert_eq!(broker.settle(&[settled]).await.unwrap(), [Settled::Done]);
        for (field, value) in [("status", status), ("ended_at", ""), ("retries_left", "")] {
            assert_eq!(prefix.ask_bytes(&["HGET", "job:a", field]).await, value.as_bytes(), "{field}");
        }
        for key in [format!("failed:{QUEUE}"), format!("wip:{QUEUE}"), "results:a".to_owned()] {
            assert_eq!(prefix.ask_number(&["EXISTS", &key]).await, 0, "{key}");
        }
        assert_eq!(prefix.ask_number(&["TTL", "job:a"]).await, -1);
    }
}

#[tokio::test]
async fn an_end_that_does_not_count_changes_nothing() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    let delivery = one(&*broker, job("a")).await;
    assert_eq!(settle(&*broker, &delivery, ack()).await, Settled::Done);
    let changes = JobChanges { retries_left: Some(9), ..JobChanges::default() };
    let late = Settlement {
        verbatim: words(failed("no".into(), changes)),
        ..settlement(&delivery, Disposition::RetryAt { delay: Duration::ZERO, error: "no".into() })
    };
    assert_eq!(broker.settle(&[late]).await.unwrap(), [Settled::NotOurs]);
    assert_eq!(prefix.ask_number(&["HEXISTS", "job:a", "retries_left"]).await, 0);
}
