//! Operators pause and resume queues over HTTP.

use serde_json::json;

use super::client::Answer;
use super::ground::Ground;
use super::process::{SECRET, Service};

fn post(service: &Service, path: &str, user: Option<&str>) -> Answer {
    let mut headers = vec![("X-Internal-Secret", SECRET)];
    headers.extend(user.map(|user| ("X-User-Id", user)));
    service.call("POST", path, &headers)
}

#[tokio::test]
async fn a_paused_queue_gives_nothing_until_it_is_resumed_and_the_log_says_who() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let pause = "/api/queues/default/pause";
    service.call("POST", pause, &[]).expect(401);
    let told = post(&service, pause, Some("5")).expect(200).json();
    assert_eq!(told, json!({ "success": true, "queue": "default", "paused": true, "changed": true }));
    assert_eq!(post(&service, pause, None).expect(200).json()["changed"], false);
    let line = service.says("queue paused").await;
    assert!(line.contains("user 5") && line.contains("default"), "{line}");
    let stats = service.get("/api/jobs/stats").json();
    assert_eq!(stats["queues"]["default"]["paused_by"], "user 5");

    let job = tikkun::job::NewJob::new("x", "default", "tikkun.noop", tikkun::job::Args::default());
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let state = async || ground.entries().await.remove(0).state;
    assert_eq!(state().await, "queued");
    let told = post(&service, "/api/queues/default/resume", None).expect(200).json();
    assert_eq!((&told["paused"], &told["changed"]), (&json!(false), &json!(true)));
    service.until("the job to run", async |_| (state().await == "finished").then_some(())).await;
    assert!(service.says("queue resumed").await.contains("http"));
}

#[tokio::test]
async fn a_queue_nobody_knows_is_not_paused() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let told = post(&service, "/api/queues/defualt/pause", None).expect(404).json();
    assert_eq!((&told["code"], &told["success"]), (&json!("queue_not_found"), &json!(false)));
    post(&service, "/api/queues/default/pause", Some("x")).expect(400);
    service.call("GET", "/api/queues/default/pause", &[("X-Internal-Secret", SECRET)]).expect(405);
    assert!(ground.broker().await.paused().await.unwrap().is_empty());
}
