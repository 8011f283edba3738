//! Beyond the checklist: jobs that RQ's own maintenance gives up, and entries that dead RQ workers leave.

use serde_json::json;

use crate::claims::Claim;
use crate::ground::{Place, registries, text};
use crate::leftovers::{Worker, worker};
use crate::python::{ALL, SINCE_2, Version};

pub const CLAIMS: &[Claim] = &[
    ("a_run_beside_a_dead_workers_execution_decides_where_its_job_stands", SINCE_2, dead_execution),
    ("a_run_that_rqs_maintenance_gave_up_too_early_counts_all_the_same", ALL, given_up),
    ("the_failure_callback_of_a_killed_python_workers_job_is_left_to_the_others", ALL, callback),
];

/// What happens by itself while nobody renews what says that the job runs.
fn forgotten(place: &Place) {
    let member = text(&place.raw("ZRANGE rq:wip:default 0 0")[0]);
    place.raw(&format!("ZADD rq:wip:default 1000 {member}"));
    place.raw(&format!("DEL rq:execution:{member}"));
}

fn dead_execution(version: Version) {
    let place = Place::new(version);
    let service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.noop --result-ttl 600");
    place.becomes("sync", "finished");
    drop(service);
    let python = worker(&place, "python", "default");
    place.enqueue("--job-id sync --func tikkun.sleep --arg 500 --timeout 600 --result-ttl 600");
    place.becomes("sync", "started");
    drop(python);
    forgotten(&place);
    place.ask("registries --cleanup");
    assert_eq!(place.job("sync")["status"], "failed");
    assert_eq!(place.raw("ZCARD rq:executions:sync"), json!(1));
    place.enqueue("--job-id sync --func tikkun.noop --result-ttl 600");
    let _service = place.serve("default", 1);
    let job = place.becomes("sync", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
    assert!(job["redis_ttl"]["job"].as_i64().unwrap() > 0, "{job}");
}

fn given_up(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("default", 1);
    place.enqueue("--job-id sync --func tikkun.sleep --arg 20 --timeout 60");
    place.enqueue("--job-id child --func tikkun.noop --depends-on sync");
    place.becomes("sync", "started");
    forgotten(&place);
    place.ask("registries --cleanup");
    // RQ 1 knows no executions, and takes it for a job that is gone.
    let given_up = if version == Version::Rq1 { "started" } else { "failed" };
    assert_eq!(place.job("sync")["status"], given_up);
    assert_eq!(place.raw("ZCARD rq:wip:default"), json!(0));
    let job = place.becomes("sync", "finished");
    assert_eq!(registries(&job), ["finished"], "{job}");
    place.becomes("child", "finished");
}

/// A job that a Python worker of its own begins.
fn begun(place: &Place, name: &str, options: &str) -> (Worker, String) {
    let python = worker(place, name, "python");
    let line = format!("--queue python --func tikkun.sleep --arg 500 --timeout 600 {options}");
    let id = place.enqueue(&line);
    place.becomes(&id, "started");
    (python, id)
}

fn callback(version: Version) {
    let place = Place::new(version);
    let (first, called) = begun(&place, "first", "--on-failure tikkun.note");
    let (second, plain) = begun(&place, "second", "");
    // It looks when it begins, and ten minutes later.
    let _live = worker(&place, "live", "python");
    drop((first, second));
    place.raw("DEL rq:worker:first rq:worker:second");
    let just_over = place.now() as i64 - 1;
    for member in place.raw("ZRANGE rq:wip:python 0 -1").as_array().unwrap().iter().map(text) {
        place.raw(&format!("ZADD rq:wip:python {just_over} {member}"));
        place.raw(&format!("DEL rq:execution:{member}"));
    }
    let _service = place.serve("default", 1);
    place.becomes(&plain, "failed");
    assert_eq!(place.job(&called)["status"], "started");
    let _next = worker(&place, "next", "python");
    place.becomes(&called, "failed");
    assert_eq!(place.raw("GET noted"), json!(called));
}
