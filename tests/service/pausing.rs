//! A user pauses and resumes a job, whatever it is doing at that moment.

use serde_json::{Value, json};

use super::ground::Ground;
use super::process::Service;

fn wish(service: &Service, job: i64, what: &str) -> Value {
    service.owner(7, "POST", &format!("/api/receipts/jobs/{job}/{what}")).expect(200).json()
}

#[tokio::test]
async fn paused_while_it_runs_it_keeps_its_place_and_goes_on_when_told() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    assert_eq!(wish(&service, job, "pause")["status"], "paused");
    service.says(&format!("🛑 Job {job} was paused - stopping")).await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!(entry.state, "finished");
    assert_eq!(entry.result.as_deref(), Some(r#"{"paused":true}"#));
    let shown = service.owner(7, "GET", &format!("/api/receipts/jobs/{job}")).expect(200).json();
    assert_eq!((&shown["status"], &shown["paused_by"]), (&json!("paused"), &json!("person")));
    assert_eq!(ground.live(7).await, 40);
    service.terminate().await;

    let mut service = ground.service().start().await;
    assert_eq!(ground.row(job).await.status, "paused", "a restart does not resume what a person paused");
    assert_eq!(wish(&service, job, "resume")["status"], "queued");
    ground.completed(&mut service, job, &tenant).await;
}

#[tokio::test]
async fn paused_before_it_starts_it_ends_quietly_and_is_enqueued_anew() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let mut front = ground.service().set("RQ_QUEUES", "high").start().await;
    let job = front.delete_all(7);
    wish(&front, job, "pause");
    front.terminate().await;
    let mut service = ground.service().start().await;
    service.says(&format!("🛑 Job {job} is paused - nothing to do")).await;
    assert_eq!(ground.live(7).await, 40);
    wish(&service, job, "resume");
    ground.completed(&mut service, job, &tenant).await;
}

#[tokio::test]
async fn at_the_runtime_limit_it_waits_for_a_person_where_the_setting_says_so() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let patient = ground.service().set("TIKKUN_DELETION__RUNTIME_LIMIT", "1ms");
    let mut service = patient.set("TIKKUN_DELETION__AT_RUNTIME_LIMIT", "pause").start().await;
    let job = service.delete_all(7);
    for done in [20, 40, 60] {
        let row = ground.becomes(&mut service, job, "paused").await;
        assert_eq!((row.processed, row.pause_reason.as_deref()), (done, Some("person")), "{row:?}");
        let entry = ground.carrier_ended(&mut service, job).await;
        assert_eq!(entry.result.as_deref(), Some(r#"{"paused":true}"#));
        let shown = service.owner(7, "GET", &format!("/api/receipts/jobs/{job}")).expect(200).json();
        assert_eq!(shown["changed_by"], "the runtime limit (0s)", "{shown}");
        assert_eq!(wish(&service, job, "resume")["status"], "queued");
    }
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 4, "each run was a person's wish");
}

#[tokio::test]
async fn wishes_that_do_not_fit_change_nothing_and_say_what_would() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 20).await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    for (what, code) in [("pause", "not_pausable"), ("resume", "not_resumable")] {
        let refused =
            service.owner(7, "POST", &format!("/api/receipts/jobs/{job}/{what}")).expect(400).json();
        assert_eq!(refused["code"], code);
        assert!(refused["message"].as_str().unwrap().contains("is completed; only"), "{refused}");
        service.owner(8, "POST", &format!("/api/receipts/jobs/{job}/{what}")).expect(404);
    }
}
