//! Lines 24 to 26, 39 to 41 and 44: what people tell workers to do.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::ground::{Place, last_line, registries, text};
use crate::python::Version;

pub fn stop_job(version: Version) {
    let place = Place::shared(version);
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

pub fn stop_other_job(version: Version) {
    let place = Place::shared(version);
    let id = place.enqueue("--func tikkun.sleep --arg 2");
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

pub fn kill_horse(version: Version) {
    let place = Place::shared(version);
    let id = place.enqueue("--func tikkun.sleep --arg 50 --timeout 100");
    let worker = text(&place.becomes(&id, "started")["worker_name"]);
    place.ask(&format!("kill-horse {worker}"));
    assert_eq!(place.end_of(&id)["status"], "failed");
    assert_eq!(place.end_of(&place.enqueue("--func tikkun.noop"))["status"], "finished");
}

pub fn shutdown(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.sleep --arg 2");
    let worker = text(&place.becomes(&id, "started")["worker_name"]);
    place.ask(&format!("shutdown {worker}"));
    assert_eq!(place.end_of(&id)["status"], "finished");
    place.until("the worker to leave", || {
        place.workers().iter().all(|left| left["name"] != *worker).then_some(())
    });
}

pub fn terminated(version: Version) {
    let place = Place::new(version);
    let service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.sleep --arg 3 --kwarg deaf=true");
    place.becomes(&id, "started");
    service.signal(Signal::TERM);
    place.until("the date of the request", || {
        place.workers().iter().any(|worker| !worker["shutdown_requested_date"].is_null()).then_some(())
    });
    assert_eq!(place.end_of(&id)["status"], "finished");
    place.until("no worker", || place.workers().is_empty().then_some(()));
}

pub fn suspended(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    place.end_of(&place.enqueue("--func tikkun.noop"));
    place.ask("suspend");
    let id = place.enqueue("--func tikkun.noop");
    place.until("the state suspended", || (place.workers()[0]["state"] == "suspended").then_some(()));
    assert_eq!(place.job(&id)["timestamps"]["started_at"], Value::Null);
    place.ask("resume");
    assert_eq!(place.end_of(&id)["status"], "finished");
}

/// Three jobs under a key that admits one at a time; two of them wait for a slot.
pub fn rate_limited(version: Version) {
    let place = Place::shared(version);
    let ids: Vec<_> =
        (0..3).map(|_| place.enqueue("--func tikkun.sleep --arg 0.2 --rate-limit one=1")).collect();
    let jobs: Vec<_> = ids.iter().map(|id| place.end_of(id)).collect();
    for pair in jobs.windows(2) {
        let (before, after) = (&pair[0]["timestamps"]["ended_at"], &pair[1]["timestamps"]["started_at"]);
        assert!(text(before) <= text(after), "{before} {after}");
    }
}
