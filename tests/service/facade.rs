//! The answers of the receipts API, and who gets them.

use serde_json::{Value, json};

use super::client::{call_in_chunks, call_with_body};
use super::ground::Ground;
use super::process::SECRET;

const HEADERS: [(&str, &str); 4] =
    [("X-Internal-Secret", SECRET), ("X-Business-Id", "7"), ("X-User-Id", "5"), ("X-User-Role", "owner")];
const DELETE_ALL: (&str, &str) = ("POST", "/api/receipts/delete_all");

/// The answer's code, after a look at the form that all errors share.
fn code(answer: &Value) -> &str {
    assert_eq!(answer["success"], false, "{answer}");
    assert!(!answer["message"].as_str().unwrap().is_empty(), "{answer}");
    answer["code"].as_str().unwrap()
}

#[tokio::test]
async fn second_request_gets_the_job_that_runs_and_a_tenant_with_nothing_gets_none() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let service = ground.service().set("RQ_QUEUES", "high").start().await;
    let first = service.owner(7, "POST", DELETE_ALL.1).expect(202).json();
    assert_eq!(
        (&first["success"], &first["status"], &first["total"]),
        (&json!(true), &json!("queued"), &json!(40))
    );
    let second = service.owner(7, "POST", DELETE_ALL.1).expect(200).json();
    assert_eq!((&second["job_id"], &second["total"]), (&first["job_id"], &json!(40)));
    let nothing = service.owner(99, "POST", DELETE_ALL.1).expect(200).json();
    assert_eq!((&nothing["total"], &nothing["job_id"]), (&json!(0), &Value::Null));
    assert_eq!(ground.number("select count(*) from background_jobs").await, 1);
}

#[tokio::test]
async fn plan_tells_what_would_go_and_touches_nothing() {
    let ground = Ground::new().await;
    ground.tenant(7, 40).await;
    let service = ground.service().set("RQ_QUEUES", "high").start().await;
    let path = "/api/receipts/delete_all/plan";
    let plan = service.owner(7, "GET", path).expect(200).json();
    assert_eq!((&plan["success"], &plan["receipts"]), (&json!(true), &json!(40)), "{plan}");
    assert!(plan["attachments"].as_u64() >= plan["objects"].as_u64() && plan["kept"].is_array(), "{plan}");
    assert_eq!(plan["estimate"]["basis"], "throttle", "{plan}");
    assert_eq!(service.owner(7, "GET", path).expect(200).json(), plan);
    let member = [HEADERS[0], HEADERS[1], HEADERS[2], ("X-User-Role", "member")];
    assert_eq!(code(&service.call("GET", path, &member).expect(403).json()), "forbidden");
    assert_eq!(service.owner(99, "GET", path).expect(200).json()["receipts"], 0);
    assert_eq!(ground.number("select count(*) from background_jobs").await, 0);
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 20).await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    ground.run("insert into receipts (business_id) values (7)").await;
    let answer = service.owner(7, "POST", DELETE_ALL.1).expect(429);
    assert_eq!(code(&answer.json()), "too_many_requests");
    let seconds: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{answer:?}");
}

#[tokio::test]
async fn strangers_are_turned_away_and_never_told_why() {
    let ground = Ground::new().await;
    ground.tenant(7, 20).await;
    let service = ground.service().start().await;
    let without = service.call("POST", DELETE_ALL.1, &HEADERS[1..]).expect(401);
    let wrong = [("X-Internal-Secret", "guessed"), HEADERS[1], HEADERS[2], HEADERS[3]];
    let wrong = service.call("POST", DELETE_ALL.1, &wrong).expect(401);
    assert_eq!(without.body, wrong.body);
    for path in ["/api/jobs/health", "/api/jobs/stats", "/api/no/such/thing", "/api/receipts/jobs/1"] {
        assert_eq!(service.call("GET", path, &[]).expect(401).body, wrong.body, "{path}");
    }
    let member = [HEADERS[0], HEADERS[1], HEADERS[2], ("X-User-Role", "member")];
    assert_eq!(code(&service.call("POST", DELETE_ALL.1, &member).expect(403).json()), "forbidden");
    assert_eq!(ground.number("select count(*) from background_jobs").await, 0);
}

#[tokio::test]
async fn tenants_see_and_stop_only_their_own_jobs() {
    let ground = Ground::new().await;
    ground.tenant(7, 20).await;
    let service = ground.service().set("RQ_QUEUES", "high").start().await;
    let job = service.delete_all(7);
    let (show, cancel) = (format!("/api/receipts/jobs/{job}"), format!("/api/receipts/jobs/{job}/cancel"));
    assert_eq!(code(&service.owner(8, "GET", &show).expect(404).json()), "job_not_found");
    assert_eq!(code(&service.owner(8, "POST", &cancel).expect(404).json()), "job_not_found");
    assert_eq!(ground.row(job).await.status, "queued");
    let status = service.owner(8, "GET", "/api/receipts/delete-job/status").expect(200).json();
    assert_eq!((&status["has_active_job"], &status["job"]), (&json!(false), &Value::Null));
    assert_eq!(code(&service.owner(7, "GET", "/api/receipts/jobs/27x").expect(400).json()), "bad_job_id");
    assert_eq!(code(&service.owner(7, "GET", "/api/receipts/jobs/4711").expect(404).json()), "job_not_found");
}

#[tokio::test]
async fn job_is_shown_with_all_that_the_page_needs() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 20).await;
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    let view = service.owner(7, "GET", &format!("/api/receipts/jobs/{job}")).expect(200).json();
    let counts =
        json!([view["total"], view["processed"], view["succeeded"], view["failed_count"], view["percent"]]);
    assert_eq!(counts, json!([20, 20, 20, 0, 100.0]));
    assert_eq!((&view["job_id"], &view["job_type"]), (&json!(job), &json!("delete_receipts_all")));
    assert_eq!((&view["status"], &view["is_stuck"]), (&json!("completed"), &json!(false)));
    for time in ["created_at", "started_at", "finished_at", "updated_at", "heartbeat_at"] {
        assert!(view[time].as_str().is_some_and(|text| text.ends_with('Z')), "{time} in {view}");
    }
    for field in ["last_error", "stuck_reason"] {
        assert_eq!(view.get(field), Some(&Value::Null), "{field}");
    }
    let status = service.owner(7, "GET", "/api/receipts/delete-job/status").expect(200).json();
    assert_eq!((&status["has_active_job"], &status["was_stale"]), (&json!(false), &json!(false)));
    assert_eq!((&status["job"]["job_id"], &status["stale_reason"]), (&json!(job), &Value::Null));
}

#[tokio::test]
async fn body_beyond_the_limit_is_refused_however_it_comes() {
    let ground = Ground::new().await;
    ground.tenant(7, 20).await;
    let service = ground.service().start().await;
    let body = vec![b'x'; 10 * 1024 * 1024];
    let whole = call_with_body(service.address, DELETE_ALL, &HEADERS, &body).expect(413);
    assert_eq!(code(&whole.json()), "body_too_large");
    let chunked = call_in_chunks(service.address, DELETE_ALL, &HEADERS, &body).expect(413);
    assert_eq!(code(&chunked.json()), "body_too_large");
    assert_eq!(ground.number("select count(*) from background_jobs").await, 0);
    service.get("/healthz").expect(200);
}

#[tokio::test]
async fn wrong_addresses_and_methods_are_answered_in_our_own_form() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    assert_eq!(code(&service.get("/no/such/thing").expect(404).json()), "not_found");
    assert_eq!(code(&service.get("/api/no/such/thing").expect(404).json()), "not_found");
    let wrong = service.owner(7, "GET", DELETE_ALL.1).expect(405);
    assert_eq!(code(&wrong.json()), "method_not_allowed");
    assert_eq!(wrong.header("Allow"), Some("POST"), "{wrong:?}");
    assert_eq!(code(&service.call("POST", "/healthz", &[]).expect(405).json()), "method_not_allowed");
}

#[tokio::test]
async fn operators_see_queues_scheduler_and_worker_as_before() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    let config = json!({
        "configured_queues": ["maintenance", "default"],
        "rq_queues_env": "maintenance,default",
        "service_role": "all",
        "listens_to_maintenance": true,
        "all_known_queues":
            ["high", "default", "low", "receipts", "receipts_sync", "maintenance", "recordings", "broadcasts"],
    });
    assert_eq!(service.get("/api/jobs/worker/config").expect(200).json(), config);
    let health = service
        .until("a scheduler that leads", async |service| {
            Some(service.health()).filter(|health| health["status"] == "healthy")
        })
        .await;
    assert_eq!(health["worker"], config);
    assert_eq!(health["summary"], json!({ "total_queued": 0, "total_failed": 0 }));
    for field in ["queued", "started", "finished", "failed"] {
        assert_eq!(health["queues"]["maintenance"][field], 0, "{field}");
    }
    let scheduler = service.get("/api/jobs/scheduler").expect(200).json();
    assert_eq!(scheduler["lock_held"], true);
    assert!((1..=75).contains(&scheduler["lock_ttl"].as_u64().unwrap()), "{scheduler}");
    assert!(scheduler["last_tick"].as_str().unwrap().ends_with('Z'));
    let stats = service.get("/api/jobs/stats").expect(200).json();
    assert_eq!(stats["queues"]["default"]["queued"], 0);
}

#[tokio::test]
async fn probes_are_open_and_say_nothing_secret() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    service
        .until("the process to be ready", async |service| {
            (service.call("GET", "/readyz", &[]).status == 200).then_some(())
        })
        .await;
    for probe in ["/healthz", "/readyz", "/startupz"] {
        let answer = service.call("GET", probe, &[]).expect(200);
        assert!(!answer.body.contains(SECRET) && !answer.body.contains('/'), "{answer:?}");
    }
    assert!(service.lines(SECRET).is_empty(), "the secret is in the log");
}
