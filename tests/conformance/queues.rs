//! Lines 30 to 37: order, schedule, dependencies, repetition.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ground::{Ground, Place, pause, registries, text};
use crate::python::script;

fn started(job: &Value) -> String {
    text(&job["timestamps"]["started_at"])
}

fn many(place: &Place, line: &str, count: usize) -> Vec<String> {
    let ids = place.ask(&format!("enqueue {line} --count {count}"))["ids"].clone();
    ids.as_array().unwrap().iter().map(text).collect()
}

pub fn order(ground: Ground) {
    let place = Place::new(ground);
    let ids = many(&place, "--func tikkun.noop", 100);
    let front = place.enqueue("--func tikkun.noop --at-front");
    let _service = place.serve("default", 1);
    let expected = [front].into_iter().chain(ids);
    let times: Vec<_> = expected.map(|id| started(&place.end_of(&id))).collect();
    assert!(times.is_sorted(), "{times:?}");
}

pub fn priority(ground: Ground) {
    for slots in [1, 4] {
        let place = Place::new(ground);
        let second = many(&place, "--queue second --func tikkun.noop", 60);
        let first = many(&place, "--queue default --func tikkun.noop", 60);
        let _service = place.serve("default,second", slots);
        let last = first.iter().map(|id| started(&place.end_of(id))).max();
        let early = second.iter().map(|id| started(&place.end_of(id))).min();
        assert!(last <= early, "{slots} slots: {last:?} {early:?}");
    }
}

pub fn due(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.noop --in 12");
    let waits = place.job(&id);
    assert_eq!((&waits["status"], registries(&waits)), (&json!("scheduled"), vec!["scheduled".to_owned()]));
    let due = waits["in_registries"]["scheduled"].as_f64().unwrap();
    let job = place.end_of(&id);
    let began = place.raw(&format!("XRANGE rq:results:{id} - +"))[0][0].clone();
    let began: f64 = text(&began).split('-').next().unwrap().parse().unwrap();
    assert!(job["status"] == "finished" && began / 1000.0 >= due, "{began} before {due}");
    let past = place.enqueue("--func tikkun.noop --at 2020-01-01T00:00:00");
    assert_eq!(place.end_of(&past)["status"], "finished");
}

pub fn dependents(ground: Ground) {
    let place = Place::shared(ground);
    let a = place.enqueue("--func tikkun.sleep --arg 12");
    let b = place.enqueue(&format!("--func tikkun.noop --depends-on {a}"));
    assert_eq!(place.job(&b)["status"], "deferred");
    let (a, b) = (place.end_of(&a), place.end_of(&b));
    assert!(b["status"] == "finished" && started(&b) >= text(&a["timestamps"]["ended_at"]), "{b}");
    let bad = place.enqueue("--func tikkun.fail --arg no --in 12");
    let strict = place.enqueue(&format!("--func tikkun.noop --depends-on {bad}"));
    let lenient = place.enqueue(&format!("--func tikkun.noop --depends-on {bad} --allow-failure"));
    assert_eq!(place.end_of(&lenient)["status"], "finished");
    let kept = place.job(&strict);
    assert_eq!((&kept["status"], registries(&kept)), (&json!("deferred"), vec!["deferred".to_owned()]));
}

pub fn two_dependencies(ground: Ground) {
    let place = Place::shared(ground);
    let a = place.enqueue("--queue default --func tikkun.sleep --arg 12");
    let b = place.enqueue("--queue second --func tikkun.sleep --arg 12");
    let c = place.enqueue(&format!("--func tikkun.noop --depends-on {a} --depends-on {b}"));
    let job = place.end_of(&c);
    let ends = [&a, &b].map(|id| text(&place.job(id)["timestamps"]["ended_at"]));
    assert!(ends.iter().all(|end| !end.is_empty() && *end <= started(&job)), "{ends:?} {job}");
    assert_eq!(place.raw(&format!("XLEN rq:results:{c}")), 1);
}

pub fn ttl_of_waiting(ground: Ground) {
    let place = Place::new(ground);
    let id = place.enqueue("--func tikkun.noop --ttl 1");
    place.until("the job's time to pass", || (place.try_ask(&format!("job {id}")).0 == 1).then_some(()));
    let _service = place.serve("default", 1);
    place.end_of(&place.enqueue("--func tikkun.noop"));
    assert_eq!(place.try_ask(&format!("job {id}")).0, 1);
    let queue = place.ask("registries");
    assert_eq!((&queue["intermediate"], &queue["queued"]), (&json!([]), &json!([])));
    assert_eq!(place.raw("ZCARD rq:finished:default"), 1);
}

pub fn repeats(ground: Ground) {
    let place = Place::shared(ground);
    let id = place.enqueue("--func tikkun.noop --repeat 2 --repeat-interval 1");
    place.until("three runs", || (place.raw(&format!("XLEN rq:results:{id}")) == 3).then_some(()));
    let job = place.end_of(&id);
    assert_eq!((&job["status"], registries(&job)), (&json!("finished"), vec!["finished".to_owned()]));
    pause(Duration::from_secs(2));
    assert_eq!(place.raw(&format!("XLEN rq:results:{id}")), 3);
}

const SCHEDULED: usize = 200;

pub fn beside_a_python_worker(ground: Ground) {
    let place = Place::new(ground);
    let mut worker = Command::new(ground.version.program("rq"))
        .args(["worker", "--with-scheduler", "-w", "rq.worker.SimpleWorker", "-u", &place.url, "default"])
        .env("PYTHONPATH", script("functions"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    place.until("the Python worker", || (!place.workers().is_empty()).then_some(()));
    let _service = place.serve("default", 1);
    let ids = many(&place, "--func tikkun.noop --in 3", SCHEDULED);
    for id in &ids {
        assert_eq!(place.end_of(id)["status"], "finished");
    }
    let runs = |id: &String| place.raw(&format!("XLEN rq:results:{id}"));
    assert!(ids.iter().all(|id| runs(id) == 1), "each ran once");
    let counts = place
        .workers()
        .iter()
        .map(|worker| worker["successful_job_count"].as_i64().unwrap())
        .collect::<Vec<_>>();
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(counts.iter().sum::<i64>(), i64::try_from(SCHEDULED).unwrap(), "{counts:?}");
}
