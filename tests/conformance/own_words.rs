//! Beyond the checklist: ends in the words of Python itself, as RQ reads them back.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde_json::json;
use tikkun::job::{Completion, JobChanges, JobError, JobResult, Limit, Verbatim, own_words};
use tikkun::queue::{Broker, Delivery, Disposition, ProcessRecord, RqSettings, Settled, Settlement, open_rq};

use crate::claims::Claim;
use crate::ground::{Place, RUNTIME, registries, text};
use crate::python::{ALL, Version};

pub const CLAIMS: &[Claim] = &[
    ("a_result_that_python_serialized_is_read_back_by_rq", ALL, result),
    ("a_traceback_of_python_is_read_back_by_rq_with_what_the_job_changed", ALL, failure),
];

fn finished(payload: Option<Vec<u8>>, changes: JobChanges) -> JobResult {
    Ok(Completion::in_own_words(None, Verbatim { payload, changes, ..Verbatim::default() }))
}

fn failed(traceback: String, changes: JobChanges) -> JobResult {
    Err(JobError::in_own_words(Verbatim { traceback: Some(traceback), changes, ..Verbatim::default() }))
}

/// A pickle of `complex(1, 2)`, which is no plain value.
const COMPLEX: &[u8] = b"cbuiltins\ncomplex\n(I1\nI2\ntR.";

/// Takes the one job that waits here.
async fn take(place: &Place) -> (Arc<dyn Broker>, Delivery) {
    let settings = RqSettings {
        url: place.url.clone().into(),
        prefix: "rq".to_owned(),
        slots: 1,
        payload_limit: 1 << 20,
        expanded_limit: 16 << 20,
        whole_hashes: vec!["default".into()],
        worker_name: None,
    };
    let broker = open_rq(&settings).unwrap();
    let now = Utc::now();
    let process = ProcessRecord {
        id: "me".into(),
        host: "host".into(),
        pid: std::process::id(),
        queues: vec!["default".into()],
        started_at: now,
        lease_until: now,
    };
    broker.renew_lease(&process, Duration::from_secs(600)).await.unwrap();
    let delivery = broker.fetch(&"default".into(), 1, &process.id).await.unwrap().remove(0);
    (broker, delivery)
}

fn end(place: &Place, verdict: Disposition, ended: JobResult) {
    RUNTIME.block_on(async {
        let (broker, delivery) = take(place).await;
        assert!(delivery.hash.is_some());
        let verbatim = own_words(&ended).cloned();
        let one = Settlement { verbatim, ..Settlement::new(&delivery, verdict) };
        assert_eq!(broker.settle(&[one]).await.unwrap(), [Settled::Done]);
    });
}

fn result(version: Version) {
    let place = Place::new(version);
    let id = place.enqueue("--func app.jobs.number");
    let verdict =
        Disposition::Ack { result: json!("in words"), keep: Limit::After(Duration::from_secs(500)) };
    end(&place, verdict, finished(Some(COMPLEX.to_vec()), JobChanges::default()));
    let job = place.job(&id);
    assert_eq!(job["return_value"], json!({ "$repr": "(1+2j)" }), "{job}");
    assert_eq!(
        (text(&job["latest_result"]["type"]), registries(&job)),
        ("SUCCESSFUL".to_owned(), vec!["finished".to_owned()])
    );
}

fn failure(version: Version) {
    let place = Place::new(version);
    let id = place.enqueue("--func app.jobs.number");
    let told = "Traceback (most recent call last):\n  File \"x.py\", line 1, in f\nValueError: קבלה\n";
    let changes = JobChanges {
        failure_ttl: Some(Limit::After(Duration::from_secs(600))),
        retries_left: Some(0),
        retry_intervals: Some(vec![Duration::from_secs(10), Duration::from_secs(30)]),
        at_front_on_retry: Some(true),
        ..JobChanges::default()
    };
    let keep = Limit::After(Duration::from_secs(600));
    let verdict = Disposition::Discard { error: "ValueError: קבלה".to_owned(), keep };
    end(&place, verdict, failed(told.to_owned(), changes));
    let job = place.job(&id);
    assert_eq!(
        (text(&job["exc_info"]), text(&job["status"])),
        (told.to_owned(), "failed".to_owned()),
        "{job}"
    );
    assert_eq!(job["limits"]["failure_ttl"], 600, "{job}");
    let retry = &job["retry"];
    assert_eq!((&retry["retries_left"], &retry["retry_intervals"]), (&json!(0), &json!([10, 30])), "{job}");
    if version != Version::Rq1 {
        assert_eq!(retry["enqueue_at_front_on_retry"], true, "{job}");
    }
}
