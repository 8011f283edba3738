//! The API by plain calls: who comes in, what a change must bring, what is answered.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tikkun::job::{Args, NewJob};

use super::client::{Answer, call_with_body};
use super::ground::Ground;
use super::process::{SECRET, Service};

pub const KNOWN: (&str, &str) = ("X-Internal-Secret", SECRET);

pub fn post(service: &Service, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    call_with_body(service.address, ("POST", path), headers, body.to_string().as_bytes())
}

/// Waits for so many lines of the log that hold `text`, and answers all of them.
pub async fn audited(service: &mut Service, text: &str, times: usize) -> Vec<String> {
    let enough = |lines: &Vec<String>| lines.len() >= times;
    let what = format!("{times} times the line `{text}`");
    service.until(&what, async |service| Some(service.lines(text)).filter(enough)).await
}

/// A problem's code, after a look at its form.
pub fn code(answer: &Answer) -> String {
    assert_eq!(answer.header("Content-Type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{answer:?}");
    for part in ["type", "title", "detail"] {
        assert!(!problem[part].as_str().unwrap().is_empty(), "{answer:?}");
    }
    problem["code"].as_str().unwrap().to_owned()
}

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

/// A confirmation that claims to be younger than it is.
fn aged(confirm: &Value) -> String {
    let (at, seal) = confirm.as_str().unwrap().split_once('.').unwrap();
    format!("{}.{seal}", at.parse::<i64>().unwrap() + 1)
}

#[tokio::test]
async fn jobs_come_page_by_page_and_many_are_changed_only_after_a_second_look() {
    let ground = Ground::new().await;
    let service = ground.service().set("RQ_QUEUES", "maintenance").start().await;
    let job = |i: i32| NewJob::new(format!("job-{i}"), "default", "shop.greet", Args::default());
    ground.broker().await.enqueue(&(1..=7).map(job).collect::<Vec<_>>()).await.unwrap();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/jobs?queue=default&limit=3&cursor={cursor}");
        let page = service.call("GET", &path, &[KNOWN]).expect(200).json();
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, ["job-7", "job-6", "job-5", "job-4", "job-3", "job-2", "job-1"]);
    let found = service.call("GET", "/api/v1/jobs?search=JOB-4", &[KNOWN]).expect(200).json();
    assert_eq!(found["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(code(&service.call("GET", "/api/v1/jobs?state=lost", &[KNOWN]).expect(400)), "bad_filter");
    let wish = json!({ "action": "cancel", "queue": "default" });
    let first = post(&service, "/api/v1/jobs/bulk", &[KNOWN], &wish).expect(200).json();
    assert_eq!((first["ids"].as_array().unwrap().len(), &first["done"]), (7, &json!(false)));
    let waiting = service.call("GET", "/api/v1/jobs?state=queued", &[KNOWN]).json();
    assert_eq!(waiting["jobs"].as_array().unwrap().len(), 7, "nothing was changed by asking");
    let fewer = json!({ "action": "cancel", "ids": ["job-1"], "confirm": first["confirm"] });
    assert_eq!(code(&post(&service, "/api/v1/jobs/bulk", &[KNOWN], &fewer).expect(409)), "not_confirmed");
    let old = json!({ "action": "cancel", "ids": first["ids"], "confirm": aged(&first["confirm"]) });
    assert_eq!(code(&post(&service, "/api/v1/jobs/bulk", &[KNOWN], &old).expect(409)), "not_confirmed");
    let sure = json!({ "action": "cancel", "ids": first["ids"], "confirm": first["confirm"] });
    let done = post(&service, "/api/v1/jobs/bulk", &[KNOWN], &sure).expect(200).json();
    assert!(done["results"].as_array().unwrap().iter().all(|one| one["changed"] == true), "{done}");
    let one = service.call("GET", "/api/v1/jobs/job-1", &[KNOWN]).expect(200).json();
    assert_eq!((&one["state"], &one["timeline"][0]["event"]), (&json!("canceled"), &json!("created")));
    let again = service.call("POST", "/api/v1/jobs/job-1/retry", &[KNOWN]).expect(200).json();
    assert_eq!(again["state"], "queued");
    let twice = service.call("POST", "/api/v1/jobs/job-1/retry", &[KNOWN]).expect(409);
    assert_eq!(code(&twice), "not_retryable");
    assert_eq!(code(&service.call("GET", "/api/v1/jobs/none", &[KNOWN]).expect(404)), "job_not_found");
}

/// The id behind the first sections of a stream, once it is there whole.
fn id_in(stream: &str) -> Option<&str> {
    stream.split_once("\nid: ")?.1.split_once("\n\n").map(|(id, _)| id)
}

/// Reads a stream until it holds `text` and an id, and answers all of it.
fn stream_until(service: &Service, last: Option<&str>, text: &str) -> String {
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(
        stream,
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nX-Internal-Secret: {SECRET}\r\n{last}\r\n"
    )
    .unwrap();
    let (mut all, mut bytes) = (String::new(), [0; 4096]);
    while !all.contains(text) || id_in(&all).is_none() {
        let length =
            stream.read(&mut bytes).unwrap_or_else(|error| panic!("{error}: waited for {text} in {all}"));
        assert!(length > 0, "the stream ended before {text}: {all}");
        all.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    all
}

#[tokio::test]
async fn a_viewer_who_comes_back_is_sent_only_what_changed() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_HTTP__PAGE_INTERVAL", "100ms").start().await;
    let first = stream_until(&service, None, "event: tree");
    for section in ["overview", "queues", "workers", "running", "deletions", "tree"] {
        assert!(first.contains(&format!("event: {section}\n")), "{first}");
    }
    let id = id_in(&first).unwrap();
    service.call("POST", "/api/v1/queues/low/pause", &[KNOWN]).expect(200);
    let second = stream_until(&service, Some(id), "\"paused\":true");
    assert!(!second.contains("event: workers\n") || !second.contains("event: tree\n"), "{second}");
}

#[tokio::test]
async fn the_description_knows_every_address_and_secrets_are_masked() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let described = service.call("GET", "/api/v1/openapi.json", &[KNOWN]).expect(200).json();
    let code = include_str!("../../src/http/api/routes.rs");
    for path in code.split("resource(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let path = format!("/api/v1{}", path.trim_start_matches("/api/v1"));
        assert!(described["paths"][&path].is_object(), "{path} is not described");
    }
    let config = service.call("GET", "/api/v1/config", &[KNOWN]).expect(200);
    assert!(!config.body.contains(SECRET) && config.body.contains("http.internal_secret"), "{config:?}");
    let page = service.call("GET", "/", &[]).expect(200);
    let policy = page.header("Content-Security-Policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

/// Looks at a job until it is as it should be.
fn job_until(service: &Service, id: &str, wanted: &str, is: impl Fn(&Value) -> bool) -> Value {
    let began = std::time::Instant::now();
    loop {
        let job = service.call("GET", &format!("/api/v1/jobs/{id}"), &[KNOWN]).expect(200).json();
        if is(&job) {
            return job;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "waited for {wanted}: {job}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_jobs_attempts_are_told_with_their_errors() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let retries = Some(tikkun::job::Retries { left: 2, intervals: vec![Duration::from_millis(1)] });
    let failing = NewJob {
        retries,
        ..NewJob::new("f", "default", "tikkun.fail", Args::positional([json!("no luck at all")]))
    };
    ground.broker().await.enqueue(&[failing]).await.unwrap();
    let job = job_until(&service, "f", "its failure", |job| job["state"] == "failed");
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(attempts.iter().map(|one| one["number"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    for one in attempts {
        assert_eq!(one["outcome"], "failed", "{job}");
        assert!(one["error"].as_str().unwrap().contains("no luck at all"), "{job}");
        assert!(
            one["started_at"].is_string() && one["took_ms"].is_i64() && one["runner"].is_string(),
            "{job}"
        );
    }
}

#[tokio::test]
async fn a_running_job_stops_when_asked_and_says_so_once() {
    let ground = Ground::new().await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let sleep = NewJob::new("s", "default", "tikkun.sleep", Args::positional([json!(600)]));
    ground.broker().await.enqueue(&[sleep]).await.unwrap();
    job_until(&service, "s", "its start", |job| job["state"] == "started");
    assert_eq!(code(&service.call("POST", "/api/v1/jobs/none/stop", &[KNOWN]).expect(404)), "job_not_found");
    let key = ("Idempotency-Key", "stop it");
    let first = service.call("POST", "/api/v1/jobs/s/stop", &[KNOWN, key]).expect(202);
    assert_eq!(first.json()["asked"], true);
    let job = job_until(&service, "s", "its end", |job| job["state"] == "failed");
    assert_eq!((&job["stopped"], &job["attempts"][0]["outcome"]), (&json!(true), &json!("stopped")));
    let again = service.call("POST", "/api/v1/jobs/s/stop", &[KNOWN, key]).expect(202);
    assert_eq!(first.body, again.body, "it is the same change");
    let late = service.call("POST", "/api/v1/jobs/s/stop", &[KNOWN]).expect(409);
    assert_eq!(code(&late), "not_running");
    let audited = audited(&mut service, "POST /api/v1/jobs/s/stop", 3).await;
    assert!(audited.iter().any(|line| line.contains("202")), "{audited:?}");
}

#[tokio::test]
async fn a_job_that_carries_a_deletion_is_not_stopped_behind_its_back() {
    let ground = Ground::new().await;
    ground.tenant(789, 500).await;
    let service = ground.service();
    let service =
        service.set("TIKKUN_DELETION__BATCH", "10").set("TIKKUN_DELETION__THROTTLE", "200ms").start().await;
    let deletion = service.delete_all(789);
    let queue_job = || {
        let path = format!("/api/v1/deletions/{deletion}");
        let one = service.call("GET", &path, &[KNOWN]).expect(200).json();
        one["queue_job"].as_str().map(str::to_owned)
    };
    let id = queue_job().expect("the job that carries it");
    let refused = service.call("POST", &format!("/api/v1/jobs/{id}/stop"), &[KNOWN]).expect(409);
    assert_eq!(code(&refused), "carries_deletion");
}

#[tokio::test]
async fn a_job_that_carries_a_deletion_is_taken_out_and_run_again_as_a_deletion_only() {
    let ground = Ground::new().await;
    ground.tenant(789, 50).await;
    let service = ground.service().set("RQ_QUEUES", "low").start().await;
    let deletion = service.delete_all(789);
    let shown = |deletion: i64| {
        service.call("GET", &format!("/api/v1/deletions/{deletion}"), &[KNOWN]).expect(200).json()
    };
    let id = shown(deletion)["queue_job"].as_str().unwrap().to_owned();
    for action in ["cancel", "retry"] {
        let refused = service.call("POST", &format!("/api/v1/jobs/{id}/{action}"), &[KNOWN]).expect(409);
        assert_eq!(code(&refused), "carries_deletion", "{action}");
    }
    for wish in [json!({ "action": "cancel" }), json!({ "action": "cancel", "ids": [id] })] {
        let meant = post(&service, "/api/v1/jobs/bulk", &[KNOWN], &wish).expect(200).json();
        assert_eq!(meant["ids"], json!([]), "{wish}");
    }
    assert_eq!(shown(deletion)["status"], "queued");
    service.call("POST", &format!("/api/v1/deletions/{deletion}/cancel"), &[KNOWN]).expect(200);
    let refused = service.call("POST", &format!("/api/v1/jobs/{id}/retry"), &[KNOWN]).expect(409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("retry the deletion"), "{refused:?}");
}

#[tokio::test]
async fn a_jobs_log_lines_are_told_and_whose_they_are() {
    let ground = Ground::new().await;
    let service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    let failing =
        NewJob::new("f", "default", "tikkun.fail", Args::positional([json!("no luck"), json!(true)]));
    let other = NewJob::new("g", "default", "tikkun.noop", Args::default());
    ground.broker().await.enqueue(&[failing, other]).await.unwrap();
    job_until(&service, "f", "its failure", |job| job["state"] == "failed");
    let log = service.call("GET", "/api/v1/jobs/f/log", &[KNOWN]).expect(200).json();
    let lines: Vec<&str> =
        log["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert!(lines.iter().any(|line| line.contains("JOB PICKED") && line.contains("job_id=f")), "{log}");
    assert!(lines.iter().any(|line| line.contains("no luck")), "{log}");
    assert!(!lines.iter().any(|line| line.contains("job_id=g")), "{log}");
    assert!(log["lines"].as_array().unwrap().iter().any(|line| line["level"] == "ERROR"), "{log}");
    assert!(log["about"].as_str().unwrap().contains("this process") && log["since"].is_string(), "{log}");
    let nothing = service.call("GET", "/api/v1/jobs/none/log", &[KNOWN]).expect(200).json();
    assert_eq!((&nothing["lines"], &nothing["dropped"]), (&json!([]), &json!(0)));
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
