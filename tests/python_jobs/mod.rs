//! `tikkun run` in front of a real RQ worker's command, on each version of RQ; and the same under `tikkun serve`.

mod differential;
mod example;
mod forms;
pub mod ground;
mod hindered;
mod isolation;
mod lost_redis;
mod options;
mod output;
mod own_side;
mod preload;
mod signals;
mod spawn;
mod starts;
mod under_fire;
mod under_serve;
mod visible;

use crate::servers::http::Recorder;
use ground::{ALL, Ground, Rq, all_gone};
use rustix::process::Signal;
use serde_json::json;

/// A list that a job returned, as Python shows it.
fn numbers(shown: &str) -> Vec<i32> {
    let inner = shown.trim_matches(['[', ']']);
    inner.split(", ").filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn an_unchanged_command_has_its_jobs_run() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let (none, queue) = (json!({}), "default");
        let add = ground.enqueue(queue, "add", &json!([20, 22]), &none);
        let fail = ground.enqueue("high", "fail", &json!(["no luck"]), &none);
        let who = ground.enqueue(queue, "who", &json!([]), &json!({ "job_id": "me" }));
        let meta = ground.enqueue(queue, "remember", &json!([]), &none);
        let odd = ground.enqueue(queue, "unserializable", &json!([]), &none);
        let coroutine = ground.enqueue(queue, "coroutine", &json!([21]), &none);
        let method = ground.enqueue(queue, "basket", &json!([21]), &none);
        let plain = ground.enqueue(queue, "subprocess_environment", &json!([]), &none);
        let mut run = ground.run(&[], &ground.worker(&["high", "default"]));
        assert_eq!(ground.result(&add, &mut run), "42", "{rq:?}");
        let failed = ground.until(&fail, "failed", &mut run);
        let error = failed["error"].as_str().unwrap();
        assert!(
            error.starts_with("Traceback (most recent call last):") && error.contains("KeyError: 'cause'"),
            "{error}"
        );
        assert!(error.trim_end().ends_with("ValueError: no luck"), "{error}");
        assert!(ground.result(&who, &mut run).ends_with("'me', 'default', 'me']"));
        assert!(ground.result(&meta, &mut run).contains("started"), "its status while it ran");
        assert_eq!(ground.look(&meta)["meta"]["step"], "done");
        assert!(ground.result(&odd, &mut run).contains("nserializable"), "{rq:?}");
        assert_eq!(ground.result(&coroutine, &mut run), "42");
        assert_eq!(ground.result(&method, &mut run), "42");
        assert_eq!(ground.result(&plain, &mut run), "'[] False'");
        assert!(
            run.log().contains("\nadding 20 22\n"),
            "what a job prints is passed on as it is:\n{}",
            run.log()
        );
        run.signal(Signal::TERM);
        assert!(run.ended().success());
    }
}

#[test]
fn callbacks_and_retries_are_those_of_the_enqueuer() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let named = json!({ "callbacks": true });
        let well = ground.enqueue("default", "add", &json!([1, 2]), &named);
        let ill =
            ground.enqueue("default", "fail", &json!(["no"]), &json!({ "callbacks": true, "retries": 2 }));
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        ground.until(&well, "finished", &mut run);
        assert_eq!(ground.look(&well)["called"], "success 3");
        let failed = ground.until(&ill, "failed", &mut run);
        assert_eq!(failed["called"], "failure ValueError");
        assert_eq!(failed["results"], json!(["FAILED", "FAILED", "FAILED"]), "{rq:?}: twice again");
        let long = ground.enqueue("default", "nap", &json!([60]), &named);
        ground.until(&long, "started", &mut run);
        ground.stop(&long);
        ground.until(&long, "stopped", &mut run);
        assert_eq!(ground.look(&long)["called"], "stopped");
    }
}

#[test]
fn the_failure_callback_of_a_job_that_a_dead_process_left_is_called() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let long = ground.enqueue("default", "nap", &json!([60]), &json!({ "callbacks": true }));
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        ground.until(&long, "started", &mut run);
        run.signal(Signal::KILL);
        run.ended();
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        ground.until(&long, "failed", &mut run);
        ground.wait("the call", &mut run, |ground, _| {
            ground.look(&long)["called"] == "failure AbandonedJobError"
        });
    }
}

#[test]
fn a_job_that_returns_a_retry_runs_again() {
    for rq in [Rq::Two, Rq::Three] {
        let mut ground = Ground::new(rq);
        let again = ground.enqueue("default", "again", &json!([]), &json!({}));
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        let ended = ground.until(&again, "failed", &mut run);
        assert_eq!(ended["results"], json!(["MAX_RETRIES_EXCEEDED", "RETRIED"]), "{rq:?}");
    }
}

#[test]
fn a_python_job_s_webhooks_are_sent_once_also_if_its_process_died() {
    for rq in [Rq::Two, Rq::Three] {
        let (mut ground, server) = (Ground::new(rq), Recorder::start());
        let hooks = |path: &str| {
            let hook = |status: &str| json!({ "url": format!("{}/{path}/{status}", server.url()), "job_status": status });
            json!({ "webhooks": [hook("finished"), hook("failed")] })
        };
        let well = ground.enqueue("default", "add", &json!([1, 2]), &hooks("well"));
        let ill = ground.enqueue("default", "fail", &json!(["no"]), &hooks("ill"));
        let crash = ground.enqueue("default", "crash", &json!([]), &hooks("crash"));
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        ground.until(&well, "finished", &mut run);
        ground.until(&ill, "failed", &mut run);
        ground.until(&crash, "failed", &mut run);
        run.signal(Signal::TERM);
        assert!(run.ended().success());
        let mut lines: Vec<_> = server.seen().into_iter().map(|seen| seen.line).collect();
        lines.sort();
        assert_eq!(lines, ["GET /crash/failed", "GET /ill/failed", "GET /well/finished"], "{rq:?}");
    }
}

#[test]
fn a_process_that_dies_fails_its_job_alone_and_says_how() {
    for isolation in ["job", "warm"] {
        let mut ground = Ground::new(Rq::Three);
        let naps: Vec<_> =
            (0..3).map(|_| ground.enqueue("default", "nap", &json!([1]), &json!({}))).collect();
        let crash = ground.enqueue("default", "crash", &json!([]), &json!({}));
        let killed = ground.enqueue("default", "kill_itself", &json!([]), &json!({}));
        let mut run = ground.run(&["--slots", "5", "--isolation", isolation], &ground.worker(&["default"]));
        let error = |job: &serde_json::Value| job["error"].as_str().unwrap().to_owned();
        let crashed = error(&ground.until(&crash, "failed", &mut run));
        assert!(crashed.contains("Work-horse terminated unexpectedly; waitpid returned"), "{crashed}");
        assert!(crashed.contains("(signal 11)") && crashed.contains("SIGSEGV"), "{crashed}");
        let killed = error(&ground.until(&killed, "failed", &mut run));
        assert!(killed.contains("(signal 9)") && killed.contains("lack of memory"), "{killed}");
        for nap in naps {
            assert_eq!(ground.result(&nap, &mut run), "'rested'");
        }
    }
}

#[test]
fn time_limits_are_kept_also_by_code_that_blocks_the_alarm() {
    let mut ground = Ground::new(Rq::Three);
    let soft = ground.enqueue("default", "nap", &json!([60]), &json!({ "timeout": 1 }));
    let hard = ground.enqueue("default", "stubborn", &json!([]), &json!({ "timeout": 1 }));
    let mut run =
        ground.run(&["--slots", "2", "--set", "python.kill_after=1s"], &ground.worker(&["default"]));
    let soft = ground.until(&soft, "failed", &mut run);
    assert!(
        soft["error"]
            .as_str()
            .unwrap()
            .trim_end()
            .ends_with("JobTimeoutException: Task exceeded maximum timeout value (1 seconds)")
    );
    let hard = ground.until(&hard, "failed", &mut run);
    let error = hard["error"].as_str().unwrap();
    assert!(error.contains("Task exceeded maximum timeout value (1 seconds); killed 1s later"), "{error}");
    assert!(
        run.log().contains("most recent call first"),
        "the stacks of its threads are shown:\n{}",
        run.log()
    );
}

#[test]
fn the_handler_for_dead_processes_is_called_however_a_process_died() {
    let mut ground = Ground::new(Rq::Three);
    let crash = ground.enqueue("default", "crash", &json!([]), &json!({}));
    let hard = ground.enqueue("default", "stubborn", &json!([]), &json!({ "timeout": 1 }));
    let code = "import os, shop\nfrom redis import Redis\nfrom rq import Worker\n\
        redis = Redis.from_url(os.environ['APP_REDIS'])\n\
        Worker(['default'], connection=redis, work_horse_killed_handler=shop.horse_killed).work()";
    let mut run = ground.run(&["--set", "python.kill_after=1s"], &ground.command(&["python", "-c", code]));
    for (id, signal) in [(crash, "killed by 11"), (hard, "killed by 9")] {
        ground.until(&id, "failed", &mut run);
        assert_eq!(ground.look(&id)["called"], signal);
    }
}

#[test]
fn warm_processes_run_many_jobs() {
    let mut ground = Ground::new(Rq::Three);
    let ids: Vec<_> = (0..20).map(|_| ground.enqueue("default", "who", &json!([]), &json!({}))).collect();
    let mut run = ground.run(&["--isolation", "warm", "--slots", "2"], &ground.worker(&["default"]));
    let pids: std::collections::BTreeSet<i32> =
        ids.iter().map(|id| numbers(&ground.result(id, &mut run))[0]).collect();
    assert!(pids.len() <= 2, "{pids:?}");
    run.signal(Signal::TERM);
    assert!(run.ended().success());
    all_gone(&pids.into_iter().collect::<Vec<_>>());
}

#[test]
fn no_process_outlives_a_killed_tikkun_and_its_jobs_come_back() {
    let mut ground = Ground::new(Rq::Three);
    let job = ground.enqueue("default", "nap", &json!([3]), &json!({ "retries": 1, "job_id": "long" }));
    let who = ground.enqueue("default", "who", &json!([]), &json!({}));
    let worker = ground.worker(&["default"]);
    let mut run = ground.run(&["--slots", "2"], &worker);
    let [child, zygote] = numbers(&ground.result(&who, &mut run))[..2] else { panic!("two pids") };
    ground.until(&job, "started", &mut run);
    run.signal(Signal::KILL);
    run.ended();
    all_gone(&[child, zygote]);
    let mut run = ground.run(&["--slots", "2"], &worker);
    assert_eq!(ground.result(&job, &mut run), "'rested'");
}

#[test]
fn a_burst_ends_with_its_queues_and_a_most_of_jobs_is_kept() {
    let mut ground = Ground::new(Rq::Three);
    let ids: Vec<_> = (0..3).map(|n| ground.enqueue("default", "add", &json!([n, 1]), &json!({}))).collect();
    let mut run = ground.run(&[], &ground.worker(&["--max-jobs", "2", "default"]));
    assert!(run.ended().success(), "{}", run.log());
    let finished =
        |ground: &mut Ground| ids.iter().filter(|id| ground.look(id)["status"] == "finished").count();
    assert_eq!(finished(&mut ground), 2);
    let mut run = ground.run(&[], &ground.worker(&["--burst", "default"]));
    assert!(run.ended().success(), "{}", run.log());
    assert_eq!(finished(&mut ground), 3);
}

#[test]
fn a_worker_that_cannot_be_served_is_refused_in_words() {
    let ground = Ground::new(Rq::Three);
    let words = |command: &[&str]| command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let python = ground.rq.program("python").display().to_string();
    let table = [
        (words(&["no-such-command", "worker"]), "cannot start `no-such-command`"),
        (
            words(&[&python, "-c", "import nothing_of_this_name"]),
            "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        (words(&[&python, "-c", "print('no worker')"]), "ended before its worker began to work"),
    ];
    for (command, expected) in table {
        let mut run = ground.run(&[], &command);
        assert_eq!(run.ended().code(), Some(2), "{command:?}: {}", run.log());
        assert!(run.log().contains(expected), "{command:?}: {}", run.log());
    }
}
