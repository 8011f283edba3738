//! `python.start = "spawn"`: the command is started for each process, and none is forked.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ground::{ALL, Ground, Rq, Run, all_gone, gone_within};
use super::isolation::{BOTH, children};
use super::numbers;

const SPAWN: [&str; 2] = ["--set", "python.start=spawn"];

fn spawn(ground: &Ground, options: &[&str], command: &[String]) -> Run {
    ground.run(&[&SPAWN[..], options].concat(), command)
}

/// A command that runs this first, with `sys` and `os` imported.
fn after(ground: &Ground, before: &str, words: &[&str]) -> Vec<String> {
    let words = serde_json::to_string(&ground.worker(words)[1..]).unwrap();
    let code = format!(
        "import os, sys, time\n{before}\nfrom rq.cli import main\nsys.argv = ['rq'] + {words}\nmain()"
    );
    ground.command(&["python", "-c", &code])
}

fn error(ground: &mut Ground, id: &str, run: &mut Run) -> String {
    ground.until(id, "failed", run)["error"].as_str().unwrap().to_owned()
}

#[test]
fn jobs_run_in_starts_of_the_command() {
    for rq in ALL {
        for isolation in BOTH {
            let mut ground = Ground::new(rq);
            let none = json!({});
            let called = if rq == Rq::One { none.clone() } else { json!({ "callbacks": true }) };
            let who: Vec<_> = (0..3).map(|_| ground.enqueue("default", "who", &json!([]), &none)).collect();
            let add = ground.enqueue("default", "add", &json!([20, 22]), &called);
            let fail = ground.enqueue("default", "fail", &json!(["no luck"]), &none);
            let coroutine = ground.enqueue("default", "coroutine", &json!([21]), &none);
            let method = ground.enqueue("default", "basket", &json!([21]), &none);
            let plain = ground.enqueue("default", "subprocess_environment", &json!([]), &none);
            let crash = ground.enqueue("default", "crash", &json!([]), &none);
            let last = ground.enqueue("default", "who", &json!([]), &none);
            let mut run = spawn(&ground, &["--isolation", isolation], &ground.worker(&["default"]));
            let tikkun = run.pid();
            let mut pids = BTreeSet::new();
            for id in &who {
                let [pid, parent] = numbers(&ground.result(id, &mut run))[..2] else { panic!("two pids") };
                assert_eq!(parent, tikkun, "{rq:?}: nothing stands between them");
                pids.insert(pid);
            }
            assert_eq!(pids.len(), if isolation == "job" { 3 } else { 1 }, "{rq:?}, {isolation}");
            assert_eq!(ground.result(&add, &mut run), "42", "{rq:?}");
            if rq != Rq::One {
                assert_eq!(ground.look(&add)["called"], "success 42", "{rq:?}");
            }
            assert!(error(&mut ground, &fail, &mut run).trim_end().ends_with("ValueError: no luck"));
            assert_eq!(ground.result(&coroutine, &mut run), "42", "{rq:?}");
            assert_eq!(ground.result(&method, &mut run), "42", "{rq:?}");
            assert_eq!(ground.result(&plain, &mut run), "'[] False'", "{rq:?}");
            let crashed = error(&mut ground, &crash, &mut run);
            assert!(crashed.contains("(signal 11)") && crashed.contains("peak memory"), "{crashed}");
            ground.result(&last, &mut run);
            assert!(run.log().contains("\nadding 20 22\n"), "{rq:?}: {}", run.log());
            pids.extend(children(tikkun));
            run.signal(Signal::TERM);
            assert!(run.ended().success(), "{rq:?}: {}", run.log());
            all_gone(&pids.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_job_has_the_threads_of_its_application_which_a_fork_would_lose() {
    let mut ground = Ground::new(Rq::Three);
    let command = after(&ground, "import threaded", &["--burst", "default"]);
    for isolation in BOTH {
        let asks: Vec<_> =
            (1..3).map(|n| ground.enqueue("default", "threaded.ask", &json!([n]), &json!({}))).collect();
        let mut run = spawn(&ground, &["--isolation", isolation], &command);
        assert!(run.ended().success(), "{}", run.log());
        let results: Vec<_> = asks.iter().map(|id| ground.look(id)["result"].clone()).collect();
        assert_eq!(results, ["2", "4"], "{isolation}: {}", run.log());
        assert!(!run.log().contains("threads run in"), "nothing is wrong with them:\n{}", run.log());
    }
    let lost = ground.enqueue("default", "threaded.ask", &json!([1]), &json!({}));
    let mut run = ground.run(&[], &command);
    assert!(run.ended().success(), "{}", run.log());
    assert!(ground.look(&lost)["error"].as_str().unwrap().contains("Empty"), "{}", run.log());
    assert!(run.log().contains("threads run in") && run.log().contains("answers"), "{}", run.log());
}

#[test]
fn a_process_beyond_its_time_or_its_memory_is_killed_with_what_it_started() {
    for isolation in BOTH {
        let mut ground = Ground::new(Rq::Three);
        let late = json!({ "timeout": 1 });
        let hangs = ground.enqueue("default", "isolation.block_alarm", &json!([5]), &late);
        let greedy = ground.enqueue("default", "isolation.hoard", &json!([2048]), &json!({ "timeout": -1 }));
        let well = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
        let limits = ["--set", "python.kill_after=1s", "--set", "python.memory_limit=256MiB"];
        let options = [&["--isolation", isolation], &limits[..]].concat();
        let mut run = spawn(&ground, &options, &ground.worker(&["default"]));
        let hung = error(&mut ground, &hangs, &mut run);
        assert!(hung.contains("exceeded maximum timeout value (1 seconds); killed 1s later"), "{hung}");
        assert!(run.log().contains("most recent call first"), "{}", run.log());
        let started = ground.redis.ask(&["lrange", &format!("left:{hangs}"), "0", "-1"]);
        let started: Vec<i32> = started.lines().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(started.len(), 5);
        all_gone(&started);
        let killed = error(&mut ground, &greedy, &mut run);
        assert!(killed.contains("killed by signal 9 (SIGKILL) by Tikkun; peak memory"), "{killed}");
        assert!(killed.ends_with("`python.memory_limit` allows 256MiB"), "{killed}");
        assert_eq!(ground.result(&well, &mut run), "3", "{isolation}");
    }
}

#[test]
fn nothing_outlives_a_killed_tikkun_whatever_its_processes_are_at() {
    for isolation in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let slow = folder.path().join("slow");
        let mut ground = Ground::new(Rq::Three);
        let before = format!("if os.path.exists({slow:?}): time.sleep(1000)");
        let command = after(&ground, &before, &["default"]);
        let options = ["--slots", "2", "--isolation", isolation];
        let mut run = spawn(&ground, &options, &command);
        let tikkun = run.pid();
        let enough = if isolation == "job" { 4 } else { 2 };
        let endless = json!({ "timeout": -1, "retries": 1 });
        let again = ground.enqueue("default", "isolation.once_more", &json!([5]), &endless);
        let begun = format!("left:{again}");
        ground.wait("its processes", &mut run, |ground, _| ground.redis.ask(&["llen", &begun]) == "5");
        // One that is ready, and one that is at a job; then one that boots in place of another.
        ground.wait("those that are ready", &mut run, |_, _| children(tikkun).len() >= enough - 1);
        fs::write(&slow, "").unwrap();
        let crash = ground.enqueue("default", "crash", &json!([]), &json!({}));
        ground.until(&crash, "failed", &mut run);
        ground.wait("one that boots", &mut run, |_, _| children(tikkun).len() >= 2);
        let mut pids = children(tikkun);
        pids.extend(
            ground.redis.ask(&["lrange", &begun, "0", "-1"]).lines().map(|pid| pid.parse::<i32>().unwrap()),
        );
        run.signal(Signal::KILL);
        run.ended();
        // The kernel does it within milliseconds; this machine may be busy.
        gone_within(Duration::from_secs(5), &pids);
        fs::remove_file(&slow).unwrap();
        let mut run = spawn(&ground, &options, &command);
        assert_eq!(ground.result(&again, &mut run), "'again'", "{isolation}");
    }
}

#[test]
fn a_command_that_cannot_be_started_again_or_has_changed_hinders_its_jobs_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let extra = folder.path().join("extra");
    let mut ground = Ground::new(Rq::Three);
    let before = format!(
        "if os.path.exists({extra:?}): exec(open({extra:?}).read())\n\
         else: more = []"
    );
    let words = serde_json::to_string(&ground.worker(&["default"])[1..]).unwrap();
    let code = format!(
        "import os, sys\n{before}\nfrom rq.cli import main\nsys.argv = ['rq'] + {words} + more\nmain()"
    );
    let mut run = spawn(&ground, &[], &ground.command(&["python", "-c", &code]));
    run.get_until("/readyz", |answer| answer.status == 200);
    let table = [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("more = ['another']", "its queues are `default,another`, not `default`"),
    ];
    for (text, why) in table {
        fs::write(&extra, text).unwrap();
        // What is ready takes the first.
        let first = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
        assert_eq!(ground.result(&first, &mut run), "3");
        run.get_until("/readyz", |answer| answer.status == 503 && answer.body.contains(why));
        let python = run.get("/api/jobs/health").json()["python"].clone();
        assert!(python["hindrance"].as_str().unwrap().contains(why), "{python}");
        assert_eq!(python["zygote"], Value::Null);
        fs::remove_file(&extra).unwrap();
        run.get_until("/readyz", |answer| answer.status == 200);
    }
    run.signal(Signal::TERM);
    assert!(run.ended().success(), "{}", run.log());
}

#[test]
fn a_program_that_stays_in_front_of_the_worker_ends_with_it() {
    let mut ground = Ground::new(Rq::Three);
    let worker = ground.worker(&["default"]);
    let shell = ["sh", "-c", "\"$@\"; exit $?", "sh"].map(str::to_owned);
    let command = [&shell[..], &worker].concat();
    let none = json!({});
    let who = ground.enqueue("default", "who", &json!([]), &none);
    let crash = ground.enqueue("default", "crash", &json!([]), &none);
    let hangs = ground.enqueue("default", "isolation.block_alarm", &json!([2]), &json!({ "timeout": 1 }));
    let add = ground.enqueue("default", "add", &json!([1, 2]), &none);
    let mut run = spawn(&ground, &["--set", "python.kill_after=1s"], &command);
    let [pid, parent] = numbers(&ground.result(&who, &mut run))[..2] else { panic!("two pids") };
    assert_ne!(parent, run.pid(), "a shell stands between them");
    let crashed = error(&mut ground, &crash, &mut run);
    assert!(crashed.contains("left with exit code 139 without an answer"), "{crashed}");
    let hung = error(&mut ground, &hangs, &mut run);
    assert!(hung.contains("killed 1s later"), "{hung}");
    assert_eq!(ground.result(&add, &mut run), "3");
    let shells = children(run.pid());
    let mut all: Vec<i32> = shells.iter().flat_map(|shell| children(*shell)).collect();
    all.extend(shells.into_iter().chain([pid, parent]));
    run.signal(Signal::TERM);
    assert!(run.ended().success(), "{}", run.log());
    all_gone(&all);
}

#[test]
fn a_worker_beside_jobs_in_rust_may_be_started_for_each_process() {
    let mut ground = Ground::new(Rq::Three);
    let [spawned, forked] = ["high", "low"].map(|queue| {
        let command = serde_json::to_string(&ground.worker(&[queue])).unwrap();
        format!("[[python]]\ncommand = {command}\n")
    });
    let file =
        format!("[worker]\nqueues = [\"rust\"]\n{forked}{spawned}start = \"spawn\"\nisolation = \"warm\"\n");
    let who = ["low", "high"].map(|queue| ground.enqueue(queue, "who", &json!([]), &json!({})));
    let mut run = ground.serve(&file, &[]);
    let parents = who.map(|id| numbers(&ground.result(&id, &mut run))[1]);
    let told = run.get("/api/jobs/health").expect(200).json()["python"]["workers"].clone();
    assert_eq!([&told[0]["zygote"], &told[1]["zygote"]], [&json!(parents[0]), &Value::Null]);
    assert_eq!(parents[1], run.pid());
    run.signal(Signal::TERM);
    assert!(run.ended().success(), "{}", run.log());
}

#[test]
fn modules_that_are_to_be_imported_ahead_are_refused() {
    let ground = Ground::new(Rq::Three);
    for modules in ["shop", "learned"] {
        let preload = format!("python.preload={modules}");
        let run = spawn(&ground, &["--set", &preload], &ground.worker(&["default"]));
        run.refuses(&["`python.preload` (from ", "is for processes that are forked", "`python.start`"]);
    }
}
