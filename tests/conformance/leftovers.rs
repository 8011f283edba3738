//! Beyond the checklist: jobs of killed Python workers, callbacks, and `tikkun doctor` with such workers.

use std::process::{Child, Command, ExitStatus};

use serde_json::{Value, json};

use crate::claims::Claim;
use crate::ground::{Place, RUNTIME, last_line, registries, text};
use crate::python::{ALL, Version};

pub const CLAIMS: &[Claim] = &[
    ("jobs_of_killed_python_workers_are_looked_after_and_a_live_ones_is_not", ALL, killed_workers),
    ("a_job_that_a_python_worker_popped_and_never_began_runs", ALL, popped_only),
    ("callbacks_are_called_where_they_are_registered", ALL, callbacks),
    ("the_doctor_names_functions_that_wait_for_somebody_else", ALL, doctor),
    ("the_trace_that_python_leaves_in_the_meta_is_in_every_line_of_the_attempt", ALL, traces),
];

/// A Python worker that is killed with its guard.
pub struct Worker(Child);

impl Worker {
    fn kill(&mut self) -> ExitStatus {
        self.0.kill().unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Python worker.
pub fn worker(place: &Place, name: &str, queue: &str) -> Worker {
    let worker = Worker(place.ground.version.worker(&place.url, name, queue));
    let is_there = || place.workers().iter().any(|worker| worker["name"] == name).then_some(());
    place.until("the Python worker", is_there);
    worker
}

/// A job that the only idle Python worker runs.
fn begun(place: &Place, options: &str) -> String {
    let id = place.enqueue(&format!("--queue python --func tikkun.sleep --arg 500 --timeout 600 {options}"));
    place.becomes(&id, "started");
    id
}

/// The member of the registry of running jobs.
fn member(place: &Place, id: &str) -> String {
    let members = place.raw("ZRANGE rq:wip:python 0 -1");
    let members = members.as_array().unwrap();
    text(members.iter().find(|member| text(member).starts_with(id)).unwrap_or_else(|| panic!("{members:?}")))
}

fn overdue(place: &Place, id: &str) {
    place.raw(&format!("ZADD rq:wip:python 1000 {}", member(place, id)));
}

/// What the server does by itself within two minutes of a worker's death.
fn forget(place: &Place, id: &str, worker: &str) {
    overdue(place, id);
    place.raw(&format!("DEL rq:execution:{} rq:worker:{worker}", member(place, id)));
}

fn killed_workers(version: Version) {
    let place = Place::new(version);
    let (mut first, failing) = (worker(&place, "first", "python"), begun(&place, "--failure-ttl 900"));
    let (mut second, retried) =
        (worker(&place, "second", "python"), begun(&place, "--retry 2 --interval 300"));
    let (mut third, again) = (worker(&place, "third", "python"), begun(&place, "--retry 1"));
    let (_live, running) = (worker(&place, "live", "python"), begun(&place, ""));
    for dead in [&mut first, &mut second, &mut third] {
        dead.kill();
    }
    for (id, name) in [(&failing, "first"), (&retried, "second"), (&again, "third")] {
        forget(&place, id, name);
    }
    // As from a worker whose clock is behind.
    overdue(&place, &running);
    let _service = place.serve("default", 1);

    let job = place.becomes(&failing, "failed");
    assert_eq!(registries(&job), ["failed"], "{job}");
    assert!(
        last_line(&job).starts_with("Moved to FailedJobRegistry, due to AbandonedJobError, at 2"),
        "{job}"
    );
    assert!((850..=905).contains(&job["redis_ttl"]["job"].as_i64().unwrap()), "{job}");
    let job = place.becomes(&retried, "scheduled");
    assert_eq!((registries(&job), &job["retry"]["retries_left"]), (vec!["scheduled".to_owned()], &json!(1)));
    place
        .until("the third to wait again", || (place.job(&again)["retry"]["retries_left"] == 0).then_some(()));
    // The live worker is busy: the job waits.
    assert_eq!(place.job(&again)["status"], "queued");
    let job = place.job(&running);
    assert_eq!((&job["status"], registries(&job)), (&json!("started"), vec!["started".to_owned()]), "{job}");
    place.until("the dead to leave the registers", || {
        let (all, of_queue) = (place.raw("SMEMBERS rq:workers"), place.raw("SMEMBERS rq:workers:python"));
        let said = format!("{all}{of_queue}");
        let gone = ["first", "second", "third"].iter().all(|name| !said.contains(name));
        (gone && said.contains("live")).then_some(())
    });
}

fn popped_only(version: Version) {
    let place = Place::new(version);
    let id = place.enqueue("--func tikkun.noop");
    // As a worker does, just before it is killed.
    place.raw("LMOVE rq:queue:default rq:queue:default:intermediate LEFT RIGHT");
    let _service = place.serve("default", 1);
    let seen = place.until("the id to be seen", || {
        let seen = place.raw(&format!("HGET rq:tikkun:seen:default {id}"));
        seen.is_string().then(|| text(&seen))
    });
    let (at, enqueued) = seen.split_once(' ').unwrap();
    let earlier = format!("{} {enqueued}", at.parse::<i64>().unwrap() - 61_000);
    place.ask_words(["raw", "--", "HSET", "rq:tikkun:seen:default", &id, &earlier]);
    let job = place.end_of(&id);
    assert_eq!(
        (&job["status"], registries(&job)),
        (&json!("finished"), vec!["finished".to_owned()]),
        "{job}"
    );
    assert_eq!(place.ask("registries")["intermediate"], json!([]));
}

fn callbacks(version: Version) {
    let place = Place::shared(version);
    let end = |line: &str| place.end_of(&place.enqueue(line));
    let job = end("--func tikkun.echo --on-success tikkun.echo --on-failure tikkun.fail");
    assert_eq!(job["status"], "finished", "{job}");
    let job = end("--func tikkun.noop --on-success tikkun.fail --callback-timeout 20");
    assert_eq!((&job["status"], registries(&job)), (&json!("failed"), vec!["failed".to_owned()]), "{job}");
    assert!(last_line(&job).contains("callback `tikkun.fail`"), "{job}");
    let job = end("--func tikkun.fail --arg first --on-failure tikkun.fail");
    assert!(last_line(&job).contains("callback `tikkun.fail`"), "{job}");
    let remark = |job: &Value| text(&place.raw(&format!("HGET rq:job:{} x_remark", text(&job["id"]))));
    let job = end("--func tikkun.noop --on-success app.thanks");
    assert_eq!(
        (&job["status"], registries(&job)),
        (&json!("finished"), vec!["finished".to_owned()]),
        "{job}"
    );
    assert!(remark(&job).contains("`app.thanks` is not registered here"), "{}", remark(&job));
    let job = end("--func tikkun.fail --arg no-luck --on-failure app.sorry");
    assert!(last_line(&job).contains("no-luck") && remark(&job).contains("app.sorry"), "{job}");
}

fn doctor(version: Version) {
    let place = Place::new(version);
    let _worker = worker(&place, "python", "python");
    let running = begun(&place, "");
    let _service = place.serve("default", 1);
    let busy = place.enqueue("--func tikkun.sleep --arg 300 --timeout 400");
    place.becomes(&busy, "started");
    place.enqueue("--queue default --func app.jobs.send_all");
    place.enqueue("--queue python --func app.jobs.in_python --count 300");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
    command.env_clear().current_dir(place.data()).args(["doctor", "--json", "--data"]).arg(place.data());
    command
        .env("REDIS_URL", &place.url)
        .env("RQ_QUEUES", "default")
        .env("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let told = command.output().unwrap();
    let told: Value =
        serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    let findings = told["findings"].as_array().unwrap();
    let unknown = |severity: &str, function: &str| {
        findings.iter().any(|one| {
            one["code"] == "unknown_function"
                && one["severity"] == severity
                && one.to_string().contains(function)
        })
    };
    assert!(unknown("warning", "app.jobs.send_all"), "{told:#}");
    assert!(unknown("notice", "app.jobs.in_python"), "{told:#}");
    assert!(!told.to_string().contains(&running), "a Python worker's job is not lost: {told:#}");
}

fn traces(version: Version) {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let place = Place::new(version);
    let start = place.start("default", 1).set("TIKKUN_LOG__FORMAT", "json");
    let service = RUNTIME.block_on(start.start());
    for serializer in ["pickle", "json"] {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let meta = format!("--meta traceparent={parent} --meta tracestate=vendor=1 --meta user=7");
        let id = place.enqueue(&format!("--serializer {serializer} --func tikkun.noop {meta}"));
        let ended = place.ask(&format!("wait {id} --serializer {serializer} --timeout 60"));
        assert_eq!(ended["meta"]["traceparent"], parent, "{ended}");
        let lines = place.until("the lines of the attempt", || {
            let lines: Vec<Value> =
                service.lines("\"span\":").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            let lines: Vec<Value> = lines.into_iter().filter(|line| line["span"]["job.id"] == id).collect();
            lines.iter().any(|line| line["message"] == "the attempt ended").then_some(lines)
        });
        assert!(lines.iter().any(|line| text(&line["message"]).contains("JOB PICKED")), "{lines:#?}");
        for line in &lines {
            let span = &line["span"];
            assert_eq!((&span["trace.id"], &span["job.attempt"]), (&json!(TRACE), &json!(1)), "{line}");
        }
    }
}
