//! Which secret gives which access; none can be guessed, and nobody gets in after a sign-out.

use serde_json::{Value, json};

use super::calls::{KNOWN, code, post};
use super::client::Answer;
use super::ground::Ground;
use super::process::{SECRET, Service, Start};

const VIEWER: &str = "only-for-looking-0123456789";
const OPERATOR: &str = "for-those-who-operate-0123456789";

fn sign_in(service: &Service, secret: &str) -> Answer {
    post(service, "/api/v1/session", &[], &json!({ "secret": secret, "name": "Dana" }))
}

/// Cookie and token of somebody who signed in.
fn signed_in(service: &Service, secret: &str) -> (String, Value) {
    let answer = sign_in(service, secret).expect(200);
    let cookie = answer.header("Set-Cookie").unwrap().split(';').next().unwrap().to_owned();
    (cookie, answer.json())
}

/// As a proxy names who asked it.
fn from(address: &str) -> (&str, &str) {
    ("X-Forwarded-For", address)
}

fn with_page_secrets(ground: &Ground) -> Start {
    ground.service().set("TIKKUN_HTTP__VIEWER_SECRET", VIEWER).set("TIKKUN_HTTP__OPERATOR_SECRET", OPERATOR)
}

#[tokio::test]
async fn past_ten_wrong_secrets_none_is_looked_at_wherever_it_is_shown() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    let (cookie, _) = signed_in(&service, SECRET);
    let wrong = ("X-Internal-Secret", "guessed");
    let places = ["/api/jobs/health", "/api/v1/overview", "/api/receipts/delete-job/status"];
    for number in 0..9 {
        service.call("GET", places[number % places.len()], &[wrong]).expect(401);
    }
    sign_in(&service, "guessed").expect(401);
    for number in 0..60 {
        let answer = service.call("GET", places[number % places.len()], &[wrong]).expect(429);
        let wait: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{answer:?}");
    }
    for path in places {
        let right = service.call("GET", path, &[KNOWN]).expect(429);
        assert_eq!(right.json()["code"], "too_many_requests", "whether it is right is not said");
    }
    assert_eq!(code(&sign_in(&service, SECRET).expect(429)), "too_many_requests");
    service.call("GET", "/api/v1/overview", &[("Cookie", &cookie)]).expect(200);
    service.call("GET", "/api/v1/overview", &[]).expect(401);
    service.call("GET", "/healthz", &[]).expect(200);
    service.says("more than ten wrong secrets in a minute").await;
    assert_eq!(service.lines("more than ten wrong secrets").len(), 1, "one line a minute");
    assert!(service.lines("guessed").is_empty());
}

#[tokio::test]
async fn behind_a_trusted_proxy_nobody_is_locked_out_for_another() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_HTTP__TRUSTED_PROXIES", "127.0.0.0/8").start().await;
    for number in 0..12 {
        let address = format!("2001:db8:0:7::{number}");
        let answer = service.call("GET", "/api/jobs/health", &[("X-Internal-Secret", "x"), from(&address)]);
        assert_eq!(answer.status, if number < 10 { 401 } else { 429 }, "they are of one network");
    }
    service.call("GET", "/api/jobs/stats", &[KNOWN, from("2001:db8:0:8::1")]).expect(200);
    service.call("GET", "/api/jobs/stats", &[KNOWN, from("198.51.100.7")]).expect(200);
}

#[tokio::test]
async fn a_viewer_sees_everything_and_holds_nothing_that_changes_anything() {
    let ground = Ground::new().await;
    ground.tenant(7, 20).await;
    let service = with_page_secrets(&ground).set("RQ_QUEUES", "high").start().await;
    let (cookie, state) = signed_in(&service, VIEWER);
    assert_eq!((&state["role"], &state["read_only"]), (&json!("viewer"), &json!(true)));
    let (cookie, token) = (("Cookie", cookie.as_str()), state["csrf_token"].as_str().unwrap().to_owned());
    for path in ["/api/v1/overview", "/api/v1/jobs", "/api/v1/config", "/api/v1/tenants/7/deletion/plan"] {
        let seen = service.call("GET", path, &[cookie]).expect(200);
        assert!([VIEWER, OPERATOR, SECRET].iter().all(|secret| !seen.body.contains(secret)), "{path}");
    }
    let described = service.call("GET", "/api/v1/openapi.json", &[KNOWN]).expect(200).json();
    let mut changes = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "get") {
            if path == "/api/v1/session" {
                continue;
            }
            let path = path.replace("{name}", "default").replace("{id}", "7").replace("{action}", "cancel");
            let body = json!({ "confirm": 7, "action": "cancel" });
            let answer = post(&service, &path, &[cookie, ("X-CSRF-Token", &token)], &body);
            assert_eq!(
                (method.as_str(), code(&answer.expect(403)).as_str()),
                ("post", "read_only"),
                "{path}"
            );
            changes += 1;
        }
    }
    assert!(changes >= 8, "{changes} calls change something");
    let owner = [("X-Business-Id", "7"), ("X-User-Id", "5"), ("X-User-Role", "owner")];
    for shown in [cookie, ("X-Internal-Secret", VIEWER)] {
        let headers = [&[shown][..], &owner].concat();
        service.call("POST", "/api/receipts/delete_all", &headers).expect(401);
        service.call("GET", "/api/receipts/delete-job/status", &headers).expect(401);
        service.call("POST", "/api/queues/default/pause", &headers).expect(401);
    }
    service.call("GET", "/api/v1/overview", &[("X-Internal-Secret", VIEWER)]).expect(401);
    assert_eq!(ground.live(7).await, 20);
}

#[tokio::test]
async fn the_internal_secret_signs_in_as_operator_until_operators_have_their_own() {
    let ground = Ground::new().await;
    let viewers = ground.service().set("TIKKUN_HTTP__VIEWER_SECRET", VIEWER).start().await;
    let (_, state) = signed_in(&viewers, SECRET);
    assert_eq!((&state["role"], &state["read_only"]), (&json!("operator"), &json!(false)));
    let (viewing, _) = signed_in(&viewers, VIEWER);
    let both = with_page_secrets(&ground).start().await;
    assert_eq!(code(&sign_in(&both, SECRET).expect(401)), "unauthorized");
    let (cookie, state) = signed_in(&both, OPERATOR);
    let token = state["csrf_token"].as_str().unwrap();
    let pause = "/api/v1/queues/default/pause";
    both.call("POST", pause, &[("Cookie", &cookie), ("X-CSRF-Token", token)]).expect(200);
    both.call("POST", pause, &[KNOWN]).expect(200);
    both.call("GET", "/api/v1/overview", &[("Cookie", &viewing)]).expect(200);
}

#[tokio::test]
async fn who_signed_out_stays_outside_in_every_process_and_after_a_restart() {
    let ground = Ground::new().await;
    let (mut one, other) = (ground.service().start().await, ground.service().start().await);
    let ((ended, _), (kept, _)) = (signed_in(&one, SECRET), signed_in(&one, SECRET));
    let overview = |service: &Service, cookie: &str| {
        service.call("GET", "/api/v1/overview", &[("Cookie", cookie)]).status
    };
    assert_eq!([overview(&other, &ended), overview(&other, &kept)], [200, 200]);
    one.call("DELETE", "/api/v1/session", &[("Cookie", &ended)]).expect(200);
    assert_eq!([overview(&one, &ended), overview(&one, &kept)], [401, 200]);
    assert_eq!(one.terminate().await, Some(0));
    let mut again = ground.service().start().await;
    assert_eq!([overview(&again, &ended), overview(&again, &kept)], [401, 200]);
    again.until("the other process to know", async |_| (overview(&other, &ended) == 401).then_some(())).await;
    assert_eq!(overview(&other, &kept), 200);
}
