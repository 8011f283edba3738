//! Lines 24 to 26, 39 to 41 and 44: commands to workers.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::ground::{Ground, Place, RUNTIME, last_line, registries, text};

pub fn stop_job(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.sleep --arg 50 --retry 3 --timeout 100");
    let child = place.enqueue(&format!("--func tikkun.noop --depends-on {id}"));
    place.becomes(&id, "started");
    place.ask(&format!("stop-job {id}"));
    let job = place.becomes(&id, "stopped");
    assert_eq!(job["status"], "stopped", "{job}");
    assert_eq!(registries(&job), ["failed"]);
    assert!(last_line(&job).contains("stopped by user"), "{job}");
    assert_eq!(place.job(&child)["status"], "deferred");
}

pub fn stop_other_job(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.sleep --arg 12");
    let worker = text(&place.becomes(&id, "started")["worker_name"]);
    let told = place.ask_words([
        "raw",
        "--",
        "PUBLISH",
        &format!("rq:pubsub:{worker}"),
        r#"{"command":"stop-job","job_id":"another"}"#,
    ]);
    assert_eq!(told, (0, json!(1)), "somebody listens");
    assert_eq!(place.end_of(&id)["status"], "finished");
}

pub fn kill_horse(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.sleep --arg 50 --timeout 100");
    let worker = text(&place.becomes(&id, "started")["worker_name"]);
    place.ask(&format!("kill-horse {worker}"));
    assert_eq!(place.end_of(&id)["status"], "failed");
    assert_eq!(place.end_of(&place.enqueue("--func tikkun.noop"))["status"], "finished");
}

fn is_listed(place: &Place, worker: &str) -> bool {
    place.workers().iter().any(|listed| listed["name"] == worker)
}

/// Two workers are told, one of which is busy; with the second one the process leaves.
pub fn shutdown(ground: Ground) {
    let place = Place::new(ground);
    let mut service = place.serve("default", 2);
    let id = place.enqueue("--func tikkun.sleep --arg 12");
    let worker = text(&place.becomes(&id, "started")["worker_name"]);
    assert!(is_listed(&place, &worker), "a job runs on a worker that is seen");
    place.ask(&format!("shutdown {worker}"));
    assert_eq!(place.end_of(&id)["status"], "finished");
    place.until("the worker to leave", || (!is_listed(&place, &worker)).then_some(()));
    let next = place.end_of(&place.enqueue("--func tikkun.noop"));
    let other = text(&next["worker_name"]);
    assert!(next["status"] == "finished" && other != worker && is_listed(&place, &other), "{next}");
    place.ask(&format!("shutdown {other}"));
    place.until("no worker", || place.workers().is_empty().then_some(()));
    assert!(RUNTIME.block_on(service.process.exited()).success());
    let kept = place.enqueue("--func tikkun.noop");
    assert_eq!(place.job(&kept)["status"], "queued");
}

/// Longest time that a killed worker may be seen: 90 s after its last report, and while a busy machine looks.
const KILLED: Duration = Duration::from_secs(120);

pub fn terminated(ground: Ground) {
    let place = Place::new(ground);
    let mut service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.sleep --arg 12 --kwarg deaf=true");
    let worker = text(&place.becomes(&id, "started")["worker_name"]);
    service.signal(Signal::TERM);
    place.until("the date of the request", || {
        place.workers().iter().any(|worker| worker["shutdown_requested_date"].is_string()).then_some(())
    });
    let waits = place.enqueue("--func tikkun.noop");
    let job = place.end_of(&id);
    assert_eq!((&job["status"], text(&job["worker_name"])), (&json!("finished"), worker), "{job}");
    place.until("no worker", || place.workers().is_empty().then_some(()));
    assert!(RUNTIME.block_on(service.process.exited()).success());
    assert_eq!(place.job(&waits)["status"], "queued");
    let mut service = place.serve("default", 1);
    assert_eq!(place.end_of(&waits)["status"], "finished");
    service.process.kill();
    assert_eq!(place.workers().len(), 1, "nobody has said that it is gone");
    place.until_within(KILLED, "no worker", || place.workers().is_empty().then_some(()));
}

pub fn suspended(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    place.end_of(&place.enqueue("--func tikkun.noop"));
    place.ask("suspend");
    let id = place.enqueue("--func tikkun.noop");
    place.until("the state suspended", || (place.workers()[0]["state"] == "suspended").then_some(()));
    assert_eq!(place.job(&id)["timestamps"]["started_at"], Value::Null);
    place.ask("resume");
    assert_eq!(place.end_of(&id)["status"], "finished");
}

/// A limit that admits one at a time, on a service of its own: what waits is not taken, what ended well, failed, is to be
/// tried again later, was canceled or died makes room, and nobody but this service says so.
pub fn rate_limited(ground: Ground) {
    let place = Place::new(ground);
    let mut service = place.serve("default", 4);
    let limited = |line: &str| place.enqueue(&format!("{line} --rate-limit one=1"));
    // The first runs until it is stopped, when the others wait and one of them is canceled.
    let ids = ["60", "0.2", "0.2"].map(|time| limited(&format!("--func tikkun.sleep --arg {time}")));
    let retried = limited("--func tikkun.fail --arg no --retry 1 --interval 1");
    let canceled = limited("--func tikkun.noop");
    assert_eq!(place.job(&canceled)["status"], "rate_limited");
    place.ask(&format!("cancel {canceled}"));
    let last = limited("--func tikkun.noop");
    place.becomes(&ids[0], "started");
    place.ask(&format!("stop-job {}", ids[0]));
    let mut jobs: Vec<_> = ids.iter().map(|id| place.end_of(id)).collect();
    // RQ's client notes its arrival in whole seconds: of two in the same one either may be the first.
    jobs.sort_by_key(|job| text(&job["timestamps"]["started_at"]));
    for pair in jobs.windows(2) {
        let (before, after) = (&pair[0]["timestamps"]["ended_at"], &pair[1]["timestamps"]["started_at"]);
        assert!(text(before) <= text(after), "{before} {after}");
    }
    assert_eq!(place.end_of(&last)["status"], "finished");
    assert_eq!(place.end_of(&retried)["retry"]["retries_left"], 0);
    place.until("the limit to be forgotten", || (place.raw("KEYS rq:rl*") == json!([])).then_some(()));

    let died = limited("--func tikkun.sleep --arg 50");
    place.becomes(&died, "started");
    let waits = limited("--func tikkun.noop");
    assert_eq!(place.job(&waits)["status"], "rate_limited");
    service.process.kill();
    let _next = place.serve("default", 4);
    assert_eq!(place.end_of(&waits)["status"], "finished");
    assert_eq!(place.end_of(&died)["status"], "failed");
}
