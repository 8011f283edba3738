//! Who comes in: sessions, their tokens, and those who guess.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::calls::{KNOWN, audited, code, post};
use super::ground::Ground;
use super::process::{SECRET, Service};

/// Cookie and token of somebody who signed in.
fn signed_in(service: &Service) -> (String, String) {
    let body = json!({ "secret": SECRET, "name": "Dana" });
    let answer = post(service, "/api/v1/session", &[], &body).expect(200);
    let cookie = answer.header("Set-Cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(SECRET), "{cookie}");
    let token = answer.json()["csrf_token"].as_str().unwrap().to_owned();
    (cookie.split(';').next().unwrap().to_owned(), token)
}

#[tokio::test]
async fn nobody_comes_in_without_the_secret_and_a_change_wants_the_sessions_token() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    for path in ["/api/v1/overview", "/api/v1/config", "/api/v1/events", "/api/v1/nothing"] {
        assert_eq!(code(&service.call("GET", path, &[]).expect(401)), "unauthorized", "{path}");
    }
    let wrong = post(&service, "/api/v1/session", &[], &json!({ "secret": "guessed" })).expect(401);
    assert_eq!(code(&wrong), "unauthorized");
    assert!(wrong.header("Set-Cookie").is_none());
    let (cookie, token) = signed_in(&service);
    let cookie = ("Cookie", cookie.as_str());
    service.call("GET", "/api/v1/overview", &[cookie]).expect(200);
    let pause = "/api/v1/queues/default/pause";
    assert_eq!(code(&service.call("POST", pause, &[cookie]).expect(403)), "csrf");
    assert_eq!(
        code(&service.call("POST", pause, &[cookie, ("X-CSRF-Token", "made up")]).expect(403)),
        "csrf"
    );
    let done = service.call("POST", pause, &[cookie, ("X-CSRF-Token", &token)]).expect(200).json();
    assert_eq!((&done["paused"], &done["changed"]), (&json!(true), &json!(true)));
    let forged = format!("{}x", cookie.1);
    service.call("GET", "/api/v1/overview", &[("Cookie", &forged)]).expect(401);
    let lines = audited(&mut service, pause, 3).await;
    assert!(lines.iter().any(|line| line.contains("Dana") && line.contains("200")), "{lines:?}");
    assert!(service.lines(SECRET).is_empty());
}

#[tokio::test]
async fn a_wrong_secret_is_told_nothing_else_and_a_right_one_which_header_is_wrong() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let user = ("X-User-Id", "nobody");
    let wrong = service.call("GET", "/api/v1/overview", &[("X-Internal-Secret", "guessed"), user]);
    assert_eq!(code(&wrong.expect(401)), "unauthorized");
    let right = service.call("GET", "/api/v1/overview", &[KNOWN, user]).expect(400);
    assert!(right.json()["detail"].as_str().unwrap().contains("X-User-Id"), "{right:?}");
}

#[tokio::test]
async fn too_many_wrong_secrets_are_not_listened_to() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    for _ in 0..10 {
        post(&service, "/api/v1/session", &[], &json!({ "secret": "guessed" })).expect(401);
    }
    let answer = post(&service, "/api/v1/session", &[], &json!({ "secret": SECRET })).expect(429);
    assert_eq!(code(&answer), "too_many_requests");
    assert!(answer.header("Retry-After").is_some());
}

#[tokio::test]
async fn signing_out_ends_that_session_for_whoever_kept_its_cookie_and_no_other() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_HTTP__PAGE_INTERVAL", "100ms").start().await;
    let ((one, _), (other, _)) = (signed_in(&service), signed_in(&service));
    let (one, other) = (("Cookie", one.as_str()), ("Cookie", other.as_str()));
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n", one.1).unwrap();
    let mut bytes = [0; 4096];
    assert!(stream.read(&mut bytes).unwrap() > 0, "the stream is open");
    service.call("DELETE", "/api/v1/session", &[one]).expect(200);
    service.call("GET", "/api/v1/overview", &[one]).expect(401);
    assert_eq!(service.call("GET", "/api/v1/session", &[one]).expect(200).json()["signed_in"], false);
    service.call("GET", "/api/v1/overview", &[other]).expect(200);
    let mut said = Vec::new();
    loop {
        let length = stream.read(&mut bytes).unwrap_or_else(|error| panic!("{error}: the stream goes on"));
        said.extend_from_slice(&bytes[..length]);
        if length == 0 || said.ends_with(b"0\r\n\r\n") {
            break;
        }
        // Something has to happen, or nothing is sent.
        service.call("POST", "/api/v1/queues/default/pause", &[KNOWN]).expect(200);
        service.call("POST", "/api/v1/queues/default/resume", &[KNOWN]).expect(200);
    }
    let audited = audited(&mut service, "signed out", 1).await;
    assert!(audited.len() == 1 && audited[0].contains("Dana"), "{audited:?}");
}

/// A wrong secret, by way of a proxy that says so.
fn guess(service: &Service, headers: &[(&str, &str)]) -> u16 {
    post(service, "/api/v1/session", headers, &json!({ "secret": "guessed" })).status
}

#[tokio::test]
async fn a_guest_who_claims_to_be_another_each_time_is_counted_as_one() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    for number in 0..10 {
        let claimed = format!("198.51.100.{number}");
        let forwarded = format!("for={claimed}");
        assert_eq!(guess(&service, &[("X-Forwarded-For", &claimed), ("Forwarded", &forwarded)]), 401);
    }
    assert_eq!(guess(&service, &[("X-Forwarded-For", "192.0.2.1")]), 429, "nobody is believed");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_guest_is_counted_alone() {
    let ground = Ground::new().await;
    let proxies = ("TIKKUN_HTTP__TRUSTED_PROXIES", "127.0.0.0/8,::1");
    let mut service = ground.service().set(proxies.0, proxies.1).start().await;
    for number in 0..10 {
        let claimed = format!("203.0.113.{number}, 198.51.100.7");
        assert_eq!(guess(&service, &[("X-Forwarded-For", &claimed)]), 401, "{claimed}");
    }
    assert_eq!(
        guess(&service, &[("X-Forwarded-For", "192.0.2.1, 198.51.100.7")]),
        429,
        "it is the same guest"
    );
    assert_eq!(guess(&service, &[("X-Forwarded-For", "198.51.100.8")]), 401, "this one has guessed nothing");
    service.says("a sign-in was refused peer=198.51.100.8").await;
}
