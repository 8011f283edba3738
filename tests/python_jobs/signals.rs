//! What signals ask of `tikkun run`.

use rustix::process::Signal;
use serde_json::json;

use super::ground::{ALL, Ground, Rq};

#[test]
fn the_first_signal_waits_for_running_jobs() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let long = ground.enqueue("default", "parts.wait_for", &json!(["go"]), &json!({}));
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        // One that has been fetched and has not begun goes back.
        ground.wait("the job to begin", &mut run, |ground, _| ground.redis.ask(&["GET", "began"]) == long);
        run.signal(Signal::INT);
        ground.wait("the drain", &mut run, |_, run| run.log().contains("draining"));
        let next = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
        ground.redis.ask(&["set", "go", "1"]);
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        assert_eq!(ground.look(&long)["result"], "'seen'", "{rq:?}");
        assert_eq!(ground.look(&next)["status"], "queued", "{rq:?}: it waits for another worker");
    }
}

#[test]
fn the_second_signal_ends_running_jobs_as_if_their_work_horse_had_been_killed() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let once = ground.enqueue("default", "parts.wait_for", &json!(["never"]), &json!({}));
        let again = ground.enqueue("default", "parts.wait_for", &json!(["never"]), &json!({ "retries": 1 }));
        let mut run = ground.run(&["--slots", "2"], &ground.worker(&["default"]));
        ground.until(&once, "started", &mut run);
        ground.until(&again, "started", &mut run);
        run.signal(Signal::TERM);
        ground.wait("the drain", &mut run, |_, run| run.log().contains("draining"));
        // One that comes within a second of the first counts with it.
        run.signal(Signal::TERM);
        ground.wait("the repeat", &mut run, |_, run| run.log().contains("it counts once"));
        while !run.log().contains("are killed") {
            run.assert_lives();
            ground.pause();
            run.signal(Signal::TERM);
        }
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        let failed = ground.look(&once);
        assert_eq!(failed["status"], "failed", "{rq:?}: {failed} {}", run.log());
        let error = failed["error"].as_str().unwrap();
        assert!(error.starts_with("Work-horse terminated unexpectedly; waitpid returned 9"), "{error}");
        let retried = ground.look(&again);
        assert_eq!(retried["status"], "queued", "{rq:?}: {retried}");
        assert_eq!(ground.redis.ask(&["hget", &format!("rq:job:{again}"), "retries_left"]), "0");
    }
}

#[test]
fn a_hangup_renews_the_processes_while_jobs_run_on() {
    let ready = ["the python worker is ready to fork", "the python worker is ready and is started anew"];
    let each = [("job", "fork", ready[0]), ("warm", "fork", ready[0]), ("warm", "spawn", ready[1])];
    for (isolation, start, ready) in each {
        let mut ground = Ground::new(Rq::Three);
        let folder = tempfile::tempdir().unwrap();
        let write = |version: &str| {
            std::fs::write(folder.path().join("changing.py"), format!("VERSION = '{version}'\n")).unwrap();
        };
        write("old");
        let path = format!("{}:{}", folder.path().display(), ground.file(""));
        let variables = [("PYTHONPATH", path.as_str()), ("PYTHONDONTWRITEBYTECODE", "1")];
        let start = format!("python.start={start}");
        let options = ["--slots", "2", "--isolation", isolation, "--set", &start];
        let mut run = ground.run_with(&options, &ground.worker(&["default"]), &variables);
        let version = ground.enqueue("default", "parts.version", &json!([]), &json!({}));
        assert_eq!(ground.result(&version, &mut run), "'old'");
        let long = ground.enqueue("default", "parts.wait_for", &json!(["go"]), &json!({}));
        ground.until(&long, "started", &mut run);
        write("the new one");
        run.signal(Signal::HUP);
        ground.wait("new processes", &mut run, |_, run| run.log().matches(ready).count() == 2);
        // A process of the old kind may take jobs until the pool has been told.
        ground.wait("the new code", &mut run, |ground, _| {
            let version = ground.enqueue("default", "parts.version", &json!([]), &json!({}));
            ground.wait_for_end(&version)["result"] == "'the new one'"
        });
        assert_eq!(ground.look(&long)["status"], "started", "{isolation}: it was left alone");
        ground.redis.ask(&["set", "go", "1"]);
        assert_eq!(ground.result(&long, &mut run), "'seen'");
        run.signal(Signal::TERM);
        assert!(run.ended().success());
    }
}
