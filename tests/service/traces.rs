//! Each log line of an attempt names its job, attempt and trace.

use serde_json::{Value, json};
use tikkun::job::{Args, JobId, NewJob, Retries};

use super::client::call_with_body;
use super::ground::Ground;
use super::process::{SECRET, Service};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The lines in JSON that lie in an attempt at this job of a queue.
fn lines_of(service: &Service, job: &str) -> Vec<Value> {
    let lines = service.lines("\"span\":");
    let read = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    lines.iter().map(read).filter(|line: &Value| line["span"]["job.id"] == job).collect()
}

fn has(lines: &[Value], text: &str) -> bool {
    lines.iter().any(|line| line["message"].as_str().is_some_and(|message| message.contains(text)))
}

fn owner(tenant: &str, more: &[(&'static str, &'static str)]) -> Vec<(&'static str, String)> {
    let plain = [("X-Internal-Secret", SECRET), ("X-User-Id", "5"), ("X-User-Role", "owner")];
    let given = plain.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned()));
    given.chain([("X-Business-Id", tenant.to_owned())]).collect()
}

fn call(service: &Service, path: &str, headers: &[(&'static str, String)], body: &[u8]) -> Value {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    call_with_body(service.address, ("POST", path), &headers, body).expect(202).json()
}

async fn meta(ground: &Ground, job: &str) -> Value {
    let job = ground.broker().await.job(&JobId::from(job)).await.unwrap().expect("the queue job");
    Value::Object(job.meta)
}

#[tokio::test]
async fn every_line_of_an_attempt_says_which_job_which_attempt_and_which_trace() {
    let ground = Ground::new().await;
    let start = ground.service().set("TIKKUN_LOG__FORMAT", "json").set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let mut service = start.start().await;
    let fails = |id: &str, meta: Value| NewJob {
        retries: Some(Retries { left: 1, intervals: Vec::new() }),
        meta: meta.as_object().unwrap().clone(),
        ..NewJob::new(id, "default", "tikkun.fail", Args::default())
    };
    let jobs = [
        fails("traced", json!({ "traceparent": PARENT })),
        fails("by-sentry", json!({ "_sentry_trace_headers": { "sentry-trace": &PARENT[3..52] } })),
        fails("untraced", json!({ "traceparent": "00-nobody-knows-01" })),
    ];
    ground.broker().await.enqueue(&jobs).await.unwrap();
    for (job, trace) in [("traced", json!(TRACE)), ("by-sentry", json!(TRACE)), ("untraced", Value::Null)] {
        let lines = service
            .until("two failed attempts", async |service| {
                let lines = lines_of(service, job);
                let failed =
                    |line: &&Value| line["message"].as_str().is_some_and(|text| text.contains("JOB FAILED"));
                (lines.iter().filter(failed).count() == 2).then_some(lines)
            })
            .await;
        for attempt in [1, 2] {
            let lines: Vec<_> =
                lines.iter().filter(|line| line["span"]["job.attempt"] == attempt).cloned().collect();
            for said in ["JOB PICKED", "the attempt ended", "an attempt failed", "JOB FAILED"] {
                assert!(has(&lines, said), "{job}, attempt {attempt}: no `{said}` in {lines:#?}");
            }
        }
        for line in &lines {
            let span = &line["span"];
            assert_eq!((&span["trace.id"], &span["queue.name"]), (&trace, &json!("default")), "{line}");
            assert_eq!(span["job.kind"], "tikkun.fail", "{line}");
        }
    }
    service.says("the trace in the job's meta is ignored").await;
}

#[tokio::test]
async fn trace_of_a_request_is_in_every_line_of_its_deletion() {
    let ground = Ground::new().await;
    let (traced, untraced) = (ground.tenant(7, 40).await, ground.tenant(20, 20).await);
    let mut service = ground.service().set("TIKKUN_LOG__FORMAT", "json").start().await;
    let path = "/api/receipts/delete_all";
    let headers = owner("7", &[("traceparent", PARENT), ("tracestate", "vendor=1")]);
    let row = call(&service, path, &headers, b"")["job_id"].as_i64().unwrap();
    let other = call(&service, path, &owner("20", &[("traceparent", "nonsense")]), b"");
    ground.completed(&mut service, row, &traced).await;
    ground.completed(&mut service, other["job_id"].as_i64().unwrap(), &untraced).await;
    let job = ground.carrier_ended(&mut service, row).await.id;
    assert_eq!(meta(&ground, &job).await, json!({ "traceparent": PARENT, "tracestate": "vendor=1" }));
    let lines = lines_of(&service, &job);
    for said in ["JOB PICKED", "JOB start", "Batch complete: 20 deleted", "R2 cleanup", "JOB complete"] {
        assert!(has(&lines, said), "no `{said}` in {lines:#?}");
    }
    assert!(lines.iter().all(|line| line["span"]["trace.id"] == TRACE), "{lines:#?}");
    let job = ground.carrier_ended(&mut service, other["job_id"].as_i64().unwrap()).await.id;
    assert_eq!(meta(&ground, &job).await, json!({}));
    assert!(lines_of(&service, &job).iter().all(|line| line["span"]["trace.id"].is_null()));
}

#[tokio::test]
async fn trace_of_a_request_reaches_the_job_through_the_pages_api_and_through_a_resume() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let service = ground.service().set("RQ_QUEUES", "high").start().await;
    let headers = owner("7", &[("traceparent", PARENT)]);
    let answer = call(&service, "/api/v1/tenants/7/deletion", &headers, br#"{"confirm": 7}"#);
    let row = answer["deletion"]["job_id"].as_i64().unwrap_or_else(|| panic!("{answer}"));
    let first = ground.carrier(row).await.id;
    assert_eq!(meta(&ground, &first).await, json!({ "traceparent": PARENT }));
    service.owner(7, "POST", &format!("/api/receipts/jobs/{row}/pause")).expect(200);
    let other = PARENT.replace("00f067aa0ba902b7", "00000000000000ff");
    let headers = [
        ("X-Internal-Secret", SECRET),
        ("X-Business-Id", "7"),
        ("X-User-Role", "owner"),
        ("traceparent", other.as_str()),
    ];
    service.call("POST", &format!("/api/receipts/jobs/{row}/resume"), &headers).expect(200);
    let second = ground.carrier(row).await.id;
    assert_ne!(first, second);
    assert_eq!(meta(&ground, &second).await, json!({ "traceparent": other }));
}
