//! The commands that start RQ workers, each unchanged behind `tikkun run --`.

use rustix::process::Signal;
use serde_json::json;

use super::ground::{ALL, Ground, Run};

/// A job is run by this worker, which then leaves at a signal.
fn serves(ground: &mut Ground, mut run: Run) -> Run {
    let job = ground.enqueue("default", "add", &json!([20, 22]), &json!({}));
    assert_eq!(ground.result(&job, &mut run), "42", "{:?}: {}", ground.rq, run.log());
    run.signal(Signal::TERM);
    assert!(run.ended().success(), "{:?}: {}", ground.rq, run.log());
    run
}

/// The job is run, and the worker leaves by itself.
fn bursts(ground: &mut Ground, command: &[String]) -> Run {
    let job = ground.enqueue("default", "add", &json!([20, 22]), &json!({}));
    let mut run = ground.run(&[], command);
    assert!(run.ended().success(), "{:?}: {}", ground.rq, run.log());
    assert_eq!(ground.look(&job)["result"], "42", "{:?}: {}", ground.rq, run.log());
    run
}

#[test]
fn pools_workers_are_slots_and_schedule() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let url = ground.url();
        let due = ground.enqueue("default", "add", &json!([1, 2]), &json!({ "due": true }));
        let command = ground.command(&["rq", "worker-pool", "-u", &url, "-n", "2", "default"]);
        let mut run = ground.run(&[], &command);
        assert_eq!(ground.result(&due, &mut run), "3", "{rq:?}");
        assert_eq!(ground.workers().as_array().map(Vec::len), Some(2), "{rq:?}: {}", ground.workers());
        serves(&mut ground, run);
        let burst = ground.command(&["rq", "worker-pool", "-u", &url, "-n", "2", "-b", "default"]);
        bursts(&mut ground, &burst);
    }
}

#[test]
fn own_scripts_and_classes_are_taken_over_in_work() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let (script, socket) = (ground.file("worker.py"), ground.redis.socket().display().to_string());
        for class in ["Worker", "SimpleWorker", "Announcing"] {
            let command = ground.command(&["python", &script, &socket, class, "burst"]);
            let run = bursts(&mut ground, &command);
            assert_eq!(run.stdout().contains("announced\n"), class == "Announcing", "{}", run.log());
        }
        let command = ground.command(&["python", &script, &socket, "Announcing", "stay"]);
        let run = ground.run(&["--isolation", "warm"], &command);
        serves(&mut ground, run);
    }
}

#[test]
fn rqs_command_line_is_taken_over_as_a_module_too() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let command =
            ground.command(&["python", "-m", "rq.cli", "worker", "-u", &ground.url(), "-b", "default"]);
        bursts(&mut ground, &command);
    }
}

#[test]
fn djangos_rqworker_runs_jobs_with_the_projects_database() {
    for rq in ALL {
        for isolation in ["job", "warm"] {
            let mut ground = Ground::new(rq);
            let manage = ground.file("manage.py");
            let count = ground.enqueue("default", "parts.count_users", &json!([]), &json!({}));
            let command = ground.command(&["python", &manage, "rqworker", "high", "default"]);
            let mut run = ground.run(&["--isolation", isolation], &command);
            assert_eq!(ground.result(&count, &mut run), "42", "{rq:?}: {}", run.log());
            serves(&mut ground, run);
        }
    }
}

#[test]
fn a_command_behind_datadogs_wrapper_is_taken_over() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let words = ["ddtrace-run", &ground.rq.program("rq").display().to_string(), "worker"];
        let command = ground.command(&[&words[..], &["-u", &ground.url(), "default"]].concat());
        let quiet = [
            ("DD_TRACE_ENABLED", "false"),
            ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false"),
            ("DD_REMOTE_CONFIGURATION_ENABLED", "false"),
        ];
        let run = ground.run_with(&[], &command, &quiet);
        serves(&mut ground, run);
    }
}
