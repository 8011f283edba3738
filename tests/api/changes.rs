//! What a change must bring, and that one which is sent twice happens once.

use serde_json::json;
use tikkun::job::{Args, NewJob};

use super::calls::{KNOWN, code};
use super::ground::Ground;

#[tokio::test]
async fn a_service_that_only_shows_refuses_every_change() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_HTTP__READ_ONLY", "true").start().await;
    for path in ["/api/v1/queues/default/pause", "/api/v1/jobs/x/cancel", "/api/v1/tenants/7/deletion"] {
        assert_eq!(code(&service.call("POST", path, &[KNOWN]).expect(403)), "read_only", "{path}");
    }
    service.call("GET", "/api/v1/overview", &[KNOWN]).expect(200);
}

#[tokio::test]
async fn a_change_that_is_sent_twice_happens_once() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let key = ("Idempotency-Key", "one");
    let pause = "/api/v1/queues/default/pause";
    let first = service.call("POST", pause, &[KNOWN, key]).expect(200);
    let again = service.call("POST", pause, &[KNOWN, key]).expect(200);
    assert_eq!(first.body, again.body);
    assert_eq!(again.json()["changed"], true);
    let other = service.call("POST", "/api/v1/queues/high/pause", &[KNOWN, key]).expect(422);
    assert_eq!(code(&other), "idempotency_key_reused");
    assert_eq!(service.call("POST", pause, &[KNOWN]).expect(200).json()["changed"], false);
}

#[tokio::test]
async fn what_was_refused_under_a_key_may_pass_under_the_same_key() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let key = ("Idempotency-Key", "again");
    let cancel = "/api/v1/jobs/late/cancel";
    assert_eq!(code(&service.call("POST", cancel, &[KNOWN, key]).expect(404)), "job_not_found");
    let job = NewJob::new("late", "nobody_listens", "shop.greet", Args::default());
    ground.broker().await.enqueue(&[job]).await.unwrap();
    let done = service.call("POST", cancel, &[KNOWN, key]).expect(200).json();
    assert_eq!((&done["state"], &done["changed"]), (&json!("canceled"), &json!(true)));
}
