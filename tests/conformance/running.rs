//! Lines 21 to 23 and 27 to 29: how a running job is shown, and what may happen to it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ground::{Ground, Place, pause, registries, text};
use crate::python::Version;
use crate::results::traces;

pub fn seen_running(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.sleep --arg 12");
    let job = place.becomes(&id, "started");
    assert!(text(&job["worker_name"]).starts_with("tikkun."), "{job}");
    assert_eq!(registries(&job), ["started"]);
    let ahead = job["in_registries"]["started"].as_f64().unwrap() - place.now();
    assert!((30.0..=120.0).contains(&ahead), "{ahead}");
    if ground.version != Version::Rq1 {
        assert_eq!(job["executions"].as_array().unwrap().len(), 1, "{job}");
    }
}

pub fn worker_busy(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.sleep --arg 12");
    place.becomes(&id, "started");
    let worker = &place.workers()[0];
    assert_eq!((&worker["state"], &worker["current_job_id"]), (&json!("busy"), &json!(id)), "{worker}");
    place.end_of(&id);
    let worker = &place.workers()[0];
    assert_eq!((&worker["state"], &worker["current_job_id"]), (&json!("idle"), &Value::Null), "{worker}");
}

/// Longer than three beats; a lease that is not renewed would be seen in the score.
const WATCHED: usize = 7;

pub fn cleanup_leaves_it(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.sleep --arg 120 --timeout 200");
    let first = place.becomes(&id, "started");
    let mut last = first.clone();
    for _ in 0..WATCHED {
        pause(Duration::from_secs(5));
        let seen = place.ask("registries --cleanup");
        assert_eq!(seen["registries"]["started"]["count"], 1, "{seen}");
        last = place.job(&id);
        assert_eq!(last["status"], "started");
        let ahead = last["in_registries"]["started"].as_f64().unwrap() - place.now();
        assert!(ahead > 60.0, "beats come at least every 30 s: {ahead}");
    }
    let beat = |job: &Value| text(&job["timestamps"]["last_heartbeat"]);
    assert!(beat(&last) > beat(&first), "{last}");
}

pub fn cancel_waiting(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    let busy = place.enqueue("--func tikkun.sleep --arg 600");
    place.becomes(&busy, "started");
    let id = place.enqueue("--func tikkun.noop");
    place.ask(&format!("cancel {id}"));
    place.ask(&format!("stop-job {busy}"));
    place.becomes(&busy, "stopped");
    place.end_of(&place.enqueue("--func tikkun.noop"));
    let job = place.job(&id);
    assert_eq!(
        (registries(&job), &job["timestamps"]["started_at"]),
        (vec!["canceled".to_owned()], &Value::Null)
    );
}

pub fn delete_running(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    let id = place.enqueue("--func tikkun.sleep --arg 15");
    place.becomes(&id, "started");
    place.ask(&format!("delete {id}"));
    // As its code saves its progress.
    place.raw(&format!("HSET rq:job:{id} meta half-way"));
    // There is one slot: the next job runs after the end of this one.
    place.end_of(&place.enqueue("--func tikkun.noop"));
    assert_eq!(place.try_ask(&format!("job {id}")).0, 1);
    assert_eq!(traces(&place, &id), Vec::<Value>::new());
    let id = place.enqueue("--func tikkun.sleep --arg 15");
    place.becomes(&id, "started");
    place.ask(&format!("cancel {id}"));
    place.end_of(&place.enqueue("--func tikkun.noop"));
    assert_eq!(registries(&place.job(&id)), ["canceled"]);
    // Nothing is left of either delivery, whatever RQ took off its registries meanwhile.
    place.until("every delivery to be let go", || {
        (place.ask_words(["raw", "--", "HLEN", "rq:tikkun:deliveries"]) == (0, json!(0))).then_some(())
    });
    assert!(place.workers().iter().all(|worker| worker["state"] == "idle"));
}

const KILLS: usize = 20;

/// Every place where a job can be: exactly one of the places that a person can find it in.
fn accounted_for(place: &Place, ids: &[String]) {
    for id in ids {
        let job = place.job(id);
        let queued = job["position"].is_number();
        let held = registries(&job);
        assert!(queued || !held.is_empty(), "in no list: {job}");
    }
}

pub fn kills(ground: Ground) {
    for queues in ["default", "default,second"] {
        let place = Place::new(ground);
        let mut ids = Vec::new();
        for _ in 0..KILLS / 2 {
            let mut service = place.serve(queues, 4);
            for queue in queues.split(',') {
                for _ in 0..2 {
                    let line =
                        format!("--queue {queue} --func tikkun.sleep --arg 0.2 --retry 1 --timeout 60");
                    ids.push(place.enqueue(&line));
                }
            }
            pause(Duration::from_millis(fastrand::u64(0..400)));
            service.process.kill();
            accounted_for(&place, &ids);
        }
        let _service = place.serve(queues, 8);
        for id in &ids {
            let job = place.end_of(id);
            let status = text(&job["status"]);
            assert!(matches!(&*status, "finished" | "failed"), "{job}");
            assert_eq!(registries(&job), std::slice::from_ref(&status), "{job}");
            // One retry: a job fails only when its process was killed under it twice.
            assert!(status == "finished" || job["retry"]["retries_left"] == 0, "{job}");
        }
    }
}
