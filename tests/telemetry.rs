//! The data that an OpenTelemetry collector receives, checked with a server in the test that stores it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is what a test is for"
)]

#[path = "service/client.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod client;
#[path = "service/ground.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod ground;
#[path = "service/process.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod process;
#[path = "servers/s3.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod s3;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::{Value, json};
use tikkun::job::{Args, NewJob, Retries};
use tokio::net::{TcpListener, TcpStream};

use crate::ground::Ground;
use crate::process::{SECRET, Service, Start};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// OTLP's numbers for a consumer, and for an error.
const CONSUMER: i32 = 5;
const ERROR: i32 = 2;

fn parent(flags: &str) -> Value {
    json!({ "traceparent": format!("00-{TRACE}-{CALLER}-{flags}"), "tracestate": "vendor=1" })
}

/// Keeps what it is sent.
#[derive(Clone)]
struct Collector {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let keeper = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(keeper.clone().serve(stream));
            }
        });
        collector
    }

    async fn serve(self, stream: TcpStream) {
        let keep = service_fn(async |request: Request<Incoming>| {
            assert_eq!(request.uri().path(), "/v1/traces");
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            let mut body = request.into_body();
            let mut bytes = Vec::new();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                bytes.extend(frame.unwrap().into_data().unwrap_or_default());
            }
            self.requests.lock().push(ExportTraceServiceRequest::decode(&*bytes).unwrap());
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        // A client that goes away is no failure of the collector.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), keep).await;
    }

    /// Everything that has arrived.
    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock();
        let scopes = requests.iter().flat_map(|one| &one.resource_spans).flat_map(|one| &one.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The spans of a job's attempts, first to last.
    fn attempts(&self, job: &str) -> Vec<Span> {
        let of_job = |span: &Span| pairs(&span.attributes).get("messaging.message.id") == Some(&json!(job));
        let mut found: Vec<_> = self.spans().into_iter().filter(of_job).collect();
        found.sort_by_key(|span| span.start_time_unix_nano);
        found
    }

    fn resource(&self) -> BTreeMap<String, Value> {
        let requests = self.requests.lock();
        pairs(&requests[0].resource_spans[0].resource.as_ref().unwrap().attributes)
    }
}

fn pairs(attributes: &[KeyValue]) -> BTreeMap<String, Value> {
    let value = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::IntValue(number)) => json!(number),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), value(&pair.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn exporting(ground: &Ground, to: SocketAddr) -> Start {
    ground
        .service()
        .set("TIKKUN_DIAGNOSTICS__ENABLED", "true")
        .set("LOG_LEVEL", "INFO")
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{to}"))
        .set("OTEL_BSP_SCHEDULE_DELAY", "100")
}

async fn enqueue(ground: &Ground, id: &str, function: &str, meta: Value) {
    let job = NewJob {
        retries: Some(Retries { left: 1, intervals: Vec::new() }),
        meta: meta.as_object().unwrap().clone(),
        ..NewJob::new(id, "default", function, Args::default())
    };
    ground.broker().await.enqueue(&[job]).await.unwrap();
}

async fn arrived(service: &mut Service, collector: &Collector, job: &str, attempts: usize) -> Vec<Span> {
    let what = format!("{attempts} spans of job {job}");
    let look = async |_: &Service| Some(collector.attempts(job)).filter(|found| found.len() == attempts);
    service.until(&what, look).await
}

async fn ended(service: &mut Service, ground: &Ground, jobs: usize) {
    service
        .until("every job to end", async |_| {
            let entries = ground.entries().await;
            (entries.iter().filter(|entry| entry.state == "finished").count() == jobs).then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_attempt_arrives_as_a_child_of_the_span_that_enqueued_it() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let start = exporting(&ground, collector.address)
        .set("OTEL_SERVICE_NAME", "deletions")
        .set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    let mut service = start.start().await;
    enqueue(&ground, "unrecorded", "tikkun.noop", parent("00")).await;
    enqueue(&ground, "well", "tikkun.noop", parent("01")).await;
    enqueue(&ground, "badly", "tikkun.fail", parent("01")).await;
    enqueue(&ground, "alone", "tikkun.noop", json!({ "traceparent": "nonsense" })).await;

    let well = arrived(&mut service, &collector, "well", 1).await.remove(0);
    assert_eq!((hex(&well.trace_id), hex(&well.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(
        (well.name.as_str(), well.kind, well.trace_state.as_str()),
        ("process default", CONSUMER, "vendor=1")
    );
    assert!(well.status.is_none_or(|status| status.code == 0));
    let expected = json!({
        "messaging.system": "rq", "messaging.operation.name": "process", "messaging.operation.type": "process",
        "messaging.destination.name": "default", "messaging.message.id": "well",
        "code.function.name": "tikkun.noop", "job.attempt": 1,
    });
    assert_eq!(json!(pairs(&well.attributes)), expected);

    let badly = arrived(&mut service, &collector, "badly", 2).await;
    let attempts: Vec<_> = badly.iter().map(|span| pairs(&span.attributes)["job.attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2]);
    for span in &badly {
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code, ERROR);
        let entry = ground.entries().await.into_iter().find(|entry| entry.id == "badly").unwrap();
        assert_eq!(Some(&status.message), entry.error.as_ref());
    }

    let alone = arrived(&mut service, &collector, "alone", 1).await.remove(0);
    assert!(hex(&alone.trace_id) != TRACE && alone.parent_span_id.is_empty());
    assert!(collector.attempts("unrecorded").is_empty(), "its enqueuer wants it unrecorded");
    let resource = collector.resource();
    assert_eq!(resource["service.name"], "deletions");
    assert_eq!(resource["deployment.environment.name"], "test");
}

#[tokio::test]
async fn batches_and_calls_to_the_storage_are_children_of_their_attempt() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let tenant = ground.tenant(7, 40).await;
    let mut service = exporting(&ground, collector.address).start().await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [
        ("X-Internal-Secret", SECRET),
        ("X-Business-Id", "7"),
        ("X-User-Role", "owner"),
        ("traceparent", parent.as_str()),
    ];
    let row = service.call("POST", "/api/receipts/delete_all", &headers).expect(202).json();
    let row = row["job_id"].as_i64().unwrap();
    ground.completed(&mut service, row, &tenant).await;
    let job = ground.carrier_ended(&mut service, row).await.id;
    let attempt = arrived(&mut service, &collector, &job, 1).await.remove(0);
    assert_eq!(hex(&attempt.trace_id), TRACE);
    let spans = collector.spans();
    for (name, at_least) in [("batch", 2), ("clean_up", 1)] {
        let of_name: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        assert!(of_name.len() >= at_least, "{} of `{name}`", of_name.len());
        assert!(of_name.iter().all(|span| span.parent_span_id == attempt.span_id), "{of_name:#?}");
    }
    assert_eq!(collector.resource()["service.name"], "tikkun");
}

#[tokio::test]
async fn what_is_left_is_sent_when_the_service_leaves() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let start = exporting(&ground, collector.address).set("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let mut service = start.start().await;
    enqueue(&ground, "last", "tikkun.noop", parent("01")).await;
    ended(&mut service, &ground, 1).await;
    assert!(collector.attempts("last").is_empty());
    assert_eq!(service.terminate().await, Some(0));
    assert_eq!(collector.attempts("last").len(), 1);
}

#[tokio::test]
async fn a_collector_that_is_away_keeps_no_job_waiting_and_is_told_of_once() {
    let ground = Ground::new().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut service = exporting(&ground, nobody).start().await;
    for number in 0..50 {
        enqueue(&ground, &format!("job-{number}"), "tikkun.noop", parent("01")).await;
    }
    ended(&mut service, &ground, 50).await;
    let said = service.says("spans cannot be sent to the OpenTelemetry collector").await;
    assert!(said.contains("WARN") && said.contains("refused"), "{said}");
    enqueue(&ground, "later", "tikkun.noop", parent("01")).await;
    ended(&mut service, &ground, 51).await;
    assert_eq!(service.terminate().await, Some(0));
    assert_eq!(service.lines("spans cannot be sent").len(), 1);
}

#[tokio::test]
async fn a_collector_that_never_answers_keeps_neither_jobs_nor_the_drain_waiting() {
    let ground = Ground::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let start = exporting(&ground, silent.local_addr().unwrap());
    let mut service = start.start().await;
    enqueue(&ground, "first", "tikkun.noop", parent("01")).await;
    // The thread that sends is held from here on.
    let held = service.until("a connection", async |_| {
        let accepted = tokio::time::timeout(std::time::Duration::from_millis(10), silent.accept()).await;
        accepted.ok().and_then(Result::ok)
    });
    let _held = held.await;
    for number in 0..50 {
        enqueue(&ground, &format!("job-{number}"), "tikkun.noop", parent("01")).await;
    }
    ended(&mut service, &ground, 51).await;
    assert_eq!(service.terminate().await, Some(0));
}
