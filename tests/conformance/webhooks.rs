//! Beyond the checklist: webhooks, which are the requests that RQ's own worker makes for the same jobs.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::claims::Claim;
use crate::ground::{Place, RUNTIME, text};
use crate::http_server::{Recorder, Seen};
use crate::leftovers::{Worker, worker};
use crate::python::{SINCE_2, Version};

pub const CLAIMS: &[Claim] = &[
    ("webhooks_are_the_requests_that_rq_makes", SINCE_2, same_requests),
    ("a_webhook_that_is_not_answered_holds_up_no_job_and_a_drain_waits_for_it", SINCE_2, silent),
    ("the_failure_of_a_job_whose_process_died_is_sent", SINCE_2, orphan),
    ("the_failure_of_a_job_that_a_python_worker_left_is_sent_in_rqs_words", SINCE_2, abandoned),
];

fn hook(server: &Recorder, path: &str, status: &str, more: &[(&str, Value)]) -> String {
    let mut hook = json!({ "url": format!("{}{path}", server.url()), "job_status": status });
    for (name, value) in more {
        hook[name] = value.clone();
    }
    format!("--webhook={hook}")
}

fn post() -> (&'static str, Value) {
    ("method", json!("POST"))
}

fn enqueue(place: &Place, line: &str, hooks: &[String]) -> String {
    let words =
        ["enqueue"].into_iter().chain(line.split_whitespace()).chain(hooks.iter().map(String::as_str));
    let (status, job) = place.ask_words(words);
    assert_eq!(status, 0, "{job}");
    text(&job["id"])
}

/// Jobs of every end, each with its id and its last status.
fn jobs(place: &Place, server: &Recorder) {
    let of_both = |path: &str| {
        ["finished", "failed"].map(|status| hook(server, &format!("/{path}/{status}"), status, &[post()]))
    };
    enqueue(place, "--job-id well --func tikkun.noop", &of_both("well"));
    let headers =
        ("headers", json!({ "x-api-KEY": "s3cret", "content-type": "text/plain", "user-agent": "me" }));
    let get = [headers.clone(), ("timeout", json!(5))];
    enqueue(place, "--job-id get --func tikkun.noop", &[hook(server, "/get?a=b%20c&d", "finished", &get)]);
    let given = [headers, post()];
    enqueue(place, "--job-id given --func tikkun.noop", &[hook(server, "/given", "finished", &given)]);
    enqueue(place, "--job-id dropped --func tikkun.noop --result-ttl 0", &of_both("dropped"));
    enqueue(place, "--job-id fails --func tikkun.fail --arg ünlucky --retry 2", &of_both("fails"));
    enqueue(place, "--job-id again --func tikkun.again --kwarg max=1", &of_both("again"));
    let unwell =
        ["/error", "/moved", "/silent"].map(|path| hook(server, path, "finished", &[("timeout", json!(1))]));
    enqueue(place, "--job-id unwell --func tikkun.noop", &unwell);
    enqueue(place, "--job-id moved --func tikkun.noop", &[hook(server, "/moved", "finished", &[post()])]);
    place.becomes("fails", "failed");
    place.becomes("again", "failed");
    place.becomes("moved", "finished");
    place.becomes("unwell", "finished");
    // The last one of a Python worker, which makes them one after another.
    enqueue(place, "--job-id last --func tikkun.noop", &[hook(server, "/last", "finished", &[])]);
    place.until("the last webhook", || (server.asked_for("/last") > 0).then_some(()));
}

/// What is not the same in two runs is masked; failures are told in each worker's own words.
fn masked(server: &Recorder) -> Vec<Seen> {
    let masked = |mut one: Seen| {
        let address = server.url().trim_start_matches("http://").to_owned();
        one.headers.iter_mut().for_each(|header| *header = header.replace(&address, "HOST"));
        if one.body.is_empty() {
            return one;
        }
        let body: Value = serde_json::from_str(&one.body).unwrap();
        for time in ["enqueued_at", "ended_at"] {
            let time = text(&body[time]);
            let read = chrono::DateTime::parse_from_rfc3339(&time).unwrap_or_else(|_| panic!("{time}"));
            assert!((chrono::Utc::now() - read.to_utc()).num_seconds().abs() < 120, "{time}");
            assert_eq!(time.len(), "2026-11-29T06:07:24.123456+00:00".len(), "{time}");
            one.body = one.body.replace(&time, "TIME");
        }
        if let Some(told) = body["exc_info"].as_str().filter(|told| !told.is_empty()) {
            assert!(told.starts_with("Traceback (most recent call last):\n"), "{told}");
            assert!(told.trim_end().ends_with(": ünlucky"), "{told}");
            let (before, _) = one.body.split_once("\"exc_info\"").unwrap();
            one.body = format!("{before}FAILURE");
            one.headers.retain(|header| !header.starts_with("Content-Length"));
        }
        one
    };
    let mut seen: Vec<_> = server.seen().into_iter().map(masked).collect();
    seen.sort_by_key(|one| format!("{one:?}"));
    seen
}

fn same_requests(version: Version) {
    let (theirs, ours) = (Recorder::start(), Recorder::start());
    let place = Place::new(version);
    let python = worker(&place, "python", "default");
    jobs(&place, &theirs);
    drop(python);
    let place = Place::new(version);
    let mut service = place.serve("default", 2);
    jobs(&place, &ours);
    assert_eq!(RUNTIME.block_on(service.terminate()), Some(0), "it waits for those under way");
    let (theirs, ours) = (masked(&theirs), masked(&ours));
    let lines = |seen: &[Seen]| seen.iter().map(|one| one.line.clone()).collect::<Vec<_>>();
    assert_eq!(lines(&ours), lines(&theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), 13, "{ours:#?}");
    let failed = service.lines("a webhook of a job failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|line| line.contains("unwell") && line.contains("127.0.0.1")), "{failed:?}");
    assert_eq!(service.lines("s3cret"), Vec::<String>::new());
}

fn silent(version: Version) {
    let (server, place) = (Recorder::start(), Place::new(version));
    let mut service = place.serve("default", 1);
    let silent = hook(&server, "/silent", "finished", &[("timeout", json!(3))]);
    let begun = Instant::now();
    for number in 0..20 {
        enqueue(&place, &format!("--job-id slow-{number} --func tikkun.noop"), std::slice::from_ref(&silent));
    }
    place.becomes("slow-19", "finished");
    let well = enqueue(&place, "--func tikkun.noop", &[]);
    place.becomes(&well, "finished");
    assert_eq!(RUNTIME.block_on(service.terminate()), Some(0));
    assert_eq!(server.asked_for("/silent"), 20);
    // 8 at once; the server may see the next one before it sees that an earlier one has gone.
    assert!(server.most_unanswered() <= 12, "{} at once to one host", server.most_unanswered());
    assert!(begun.elapsed() > Duration::from_secs(6), "each had its time");
    assert_eq!(service.lines("a webhook of a job failed").len(), 20);
}

fn failure_of(server: &Recorder, path: &str, place: &Place) -> Value {
    place.until("the webhook", || (server.asked_for(path) > 0).then_some(()));
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    serde_json::from_str(&seen[0].body).unwrap()
}

fn hooks(server: &Recorder) -> [String; 2] {
    ["finished", "failed"].map(|status| hook(server, &format!("/{status}"), status, &[post()]))
}

fn orphan(version: Version) {
    let (server, place) = (Recorder::start(), Place::new(version));
    let service = place.serve("default", 1);
    let id = enqueue(&place, "--func tikkun.sleep --arg 500 --timeout 600", &hooks(&server));
    place.becomes(&id, "started");
    service.signal(Signal::KILL);
    let _next = place.serve("default", 1);
    let job = place.becomes(&id, "failed");
    let told = failure_of(&server, "/failed", &place);
    assert_eq!((text(&told["job_id"]), text(&told["func_name"])), (id, "tikkun.sleep".to_owned()), "{told}");
    assert_eq!(text(&told["exc_info"]).trim_end(), text(&job["exc_info"]).trim_end());
}

fn abandoned(version: Version) {
    let (server, place) = (Recorder::start(), Place::new(version));
    let python: Worker = worker(&place, "python", "python");
    let line = "--queue python --func tikkun.sleep --arg 500 --timeout 600";
    let id = enqueue(&place, line, &hooks(&server));
    place.becomes(&id, "started");
    drop(python);
    place.raw("DEL rq:worker:python");
    let member = text(&place.raw("ZRANGE rq:wip:python 0 0")[0]);
    place.raw(&format!("ZADD rq:wip:python 1000 {member}"));
    place.raw(&format!("DEL rq:execution:{member}"));
    let _service = place.serve("default", 1);
    place.becomes(&id, "failed");
    let told = failure_of(&server, "/failed", &place);
    assert_eq!((text(&told["job_id"]), text(&told["func_name"])), (id, "tikkun.sleep".to_owned()), "{told}");
    assert!(
        text(&told["exc_info"]).starts_with("Moved to FailedJobRegistry, due to AbandonedJobError, at "),
        "{told}"
    );
}
