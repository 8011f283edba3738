//! Lines 38, 42 and 43: how workers are shown.

use std::process::Command;

use serde_json::{Value, json};

use crate::ground::{Ground, Place, text};
use crate::python::script;

fn output(command: &mut Command) -> String {
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

pub fn info(ground: Ground) {
    let place = Place::new(ground);
    let service = place.serve("default,second", 1);
    place.end_of(&place.enqueue("--func tikkun.noop"));
    place.end_of(&place.enqueue("--func tikkun.fail --arg no"));
    let workers = place.workers();
    assert_eq!(workers.len(), 1);
    let worker = &workers[0];
    assert_eq!(worker["queues"], json!(["default", "second"]));
    assert_eq!((&worker["successful_job_count"], &worker["failed_job_count"]), (&json!(1), &json!(1)));
    assert_eq!((&worker["pid"], &worker["state"]), (&json!(service.process.pid()), &json!("idle")));
    let age = place.raw("TIME")[0].clone();
    assert!(!age.is_null() && worker["last_heartbeat"].is_string(), "{worker}");
    let said = output(Command::new(ground.version.program("rq")).args(["info", "-u", &place.url]));
    for part in [text(&worker["name"]), service.process.pid().to_string(), "idle".to_owned()] {
        assert!(said.contains(&part), "{part} is not in:\n{said}");
    }
}

fn pages(place: &Place, jobs: &[&str]) -> Value {
    let mut command = Command::new(place.ground.version.program("python"));
    let found = output(command.arg(script("dashboard.py")).args([&*place.url, "default"]).args(jobs));
    let found: Value = serde_json::from_str(&found).unwrap();
    for (page, answer) in found.as_object().unwrap() {
        assert_eq!(answer["status"], 200, "{page}: {answer}");
    }
    found
}

pub fn dashboard(ground: Ground) {
    let place = Place::new(ground);
    let _service = place.serve("default", 1);
    pages(&place, &[]);
    let done = place.enqueue("--func tikkun.echo --arg 27");
    let failed = place.enqueue("--func tikkun.fail --arg no-luck-today");
    place.end_of(&done);
    place.end_of(&failed);
    let running = place.enqueue("--func tikkun.sleep --arg 600 --timeout 700");
    place.becomes(&running, "started");
    let found = pages(&place, &[&done, &failed, &running]);
    let said = |page: &str| found[page].to_string();
    assert!(
        said(&format!("/0/data/job/{done}.json")).contains("27"),
        "{}",
        said(&format!("/0/data/job/{done}.json"))
    );
    assert!(said(&format!("/0/data/job/{failed}.json")).contains("no-luck-today"));
    assert!(said("/0/data/workers.json").contains(&running), "{}", said("/0/data/workers.json"));
    place.ask(&format!("stop-job {running}"));
    place.becomes(&running, "stopped");
    pages(&place, &[&done, &failed, &running]);
}

pub fn scheduler_pid(ground: Ground) {
    let place = Place::shared(ground);
    place.end_of(&place.enqueue("--func tikkun.noop --in 1"));
    assert!(place.ask("registries")["scheduler_pid"].is_number(), "{}", place.ask("registries"));
}
