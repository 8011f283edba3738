//! Jobs that do their worst to their process: their neighbours, the next job and the service do not notice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::ground::{Ground, Rq, Run, all_gone, gone_within};
use super::numbers;

pub const BOTH: [&str; 2] = ["job", "warm"];

/// What a culprit does, its arguments and options, and words of its error; without them it ends well.
type Culprit = (&'static str, Value, Value, &'static [&'static str]);

fn culprits() -> Vec<Culprit> {
    type Words = &'static [&'static str];
    let died = |function, arguments, words: Words| (function, arguments, json!({}), words);
    let well = |function, arguments| died(function, arguments, &[]);
    let late = |function, arguments, words: Words| (function, arguments, json!({ "timeout": 2 }), words);
    vec![
        died("crash", json!([]), &["(signal 11); killed by signal 11 (SIGSEGV: an invalid memory access"]),
        died(
            "isolation.abort",
            json!([]),
            &["(signal 6); killed by signal 6 (SIGABRT: the process aborted itself)"],
        ),
        died(
            "isolation.leave_at_once",
            json!([3]),
            &["waitpid returned 768; left with exit code 3 without an answer"],
        ),
        died(
            "isolation.leave_at_once",
            json!([0]),
            &["waitpid returned 0; left with exit code 0 without an answer"],
        ),
        died("kill_itself", json!([]), &["killed by signal 9 (SIGKILL)", "by Tikkun", "lack of memory"]),
        died("isolation.overflow", json!([]), &["(signal 11)", "a stack that grew too large"]),
        died("isolation.leave", json!([]), &["SystemExit: 3"]),
        died("isolation.forge", json!([]), &["ValueError: it was not believed"]),
        died("isolation.leave_processes", json!([50]), &["RuntimeError: left them behind"]),
        well("isolation.leave_thread", json!([])),
        well("isolation.close_fds", json!([])),
        well("isolation.move", json!([])),
        well("isolation.change_handlers", json!([])),
        well("isolation.flood", json!([100])),
        late(
            "isolation.spin",
            json!([]),
            &["JobTimeoutException: Task exceeded maximum timeout value (2 seconds)"],
        ),
        late(
            "isolation.block_alarm",
            json!([50]),
            &["Task exceeded maximum timeout value (2 seconds); killed 1s later, for its code did not yield"],
        ),
    ]
}

/// The job once it has ended in any way.
fn end(ground: &mut Ground, id: &str, run: &mut Run) -> Value {
    let is_over =
        |job: &Value| ["finished", "failed", "stopped"].iter().any(|status| job["status"] == *status);
    ground.wait(&format!("the end of {id}"), run, |ground, _| is_over(&ground.look(id)));
    ground.look(id)
}

/// Processes that a job has started.
fn started(ground: &Ground, id: &str) -> Vec<i32> {
    let listed = ground.redis.ask(&["lrange", &format!("left:{id}"), "0", "-1"]);
    listed.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Runs the culprit, and says whether it has failed as it should.
fn is_guilty(
    ground: &mut Ground,
    run: &mut Run,
    (function, arguments, options, words): &Culprit,
) -> Option<String> {
    let id = ground.enqueue("default", function, arguments, options);
    let ended = end(ground, &id, run);
    let error = ended["error"].as_str().unwrap_or_default();
    let expected = if words.is_empty() { "finished" } else { "failed" };
    assert_eq!(ended["status"], expected, "{function}{arguments}: {error}");
    assert!(words.iter().all(|word| error.contains(word)), "{function}{arguments}: {error}");
    all_gone(&started(ground, &id));
    (!words.is_empty()).then_some(id)
}

#[test]
fn a_culprit_fails_alone_and_leaves_no_trace() {
    for isolation in BOTH {
        let mut ground = Ground::new(Rq::Three);
        let options = ["--slots", "8", "--isolation", isolation, "--set", "python.kill_after=1s"];
        let endless = json!({ "timeout": -1 });
        let neighbours: Vec<_> = (0..7)
            .map(|_| ground.enqueue("default", "isolation.neighbour", &json!(["go"]), &endless))
            .collect();
        let mut run = ground.run(&options, &ground.worker(&["default"]));
        for id in &neighbours {
            ground.until(id, "started", &mut run);
        }
        let state = |ground: &mut Ground, run: &mut Run| {
            let id = ground.enqueue("default", "isolation.state", &json!([]), &json!({}));
            ground.result(&id, run)
        };
        // The eighth slot is the only one that is free.
        let at_first = state(&mut ground, &mut run);
        let mut guilty = BTreeSet::new();
        for culprit in &culprits() {
            guilty.extend(is_guilty(&mut ground, &mut run, culprit));
            assert_eq!(
                state(&mut ground, &mut run),
                at_first,
                "{isolation}: after {}{}",
                culprit.0,
                culprit.1
            );
        }
        ground.redis.ask(&["set", "go", "1"]);
        for id in &neighbours {
            assert_eq!(ground.result(id, &mut run), "1", "{isolation}: it was begun once");
        }
        let failed = ground.redis.ask(&["zrange", "rq:failed:default", "0", "-1"]);
        assert_eq!(failed.lines().map(str::to_owned).collect::<BTreeSet<_>>(), guilty, "{isolation}");
        run.signal(Signal::TERM);
        assert!(run.ended().success());
    }
}

#[test]
fn a_job_that_leaves_with_success_but_without_an_answer_is_tried_as_often_as_it_may() {
    for isolation in BOTH {
        let mut ground = Ground::new(Rq::Three);
        let job = ground.enqueue("default", "isolation.leave_at_once", &json!([0]), &json!({ "retries": 2 }));
        let mut run = ground.run(&["--isolation", isolation], &ground.worker(&["default"]));
        let failed = ground.until(&job, "failed", &mut run);
        assert_eq!(failed["results"], json!(["FAILED", "FAILED", "FAILED"]), "{isolation}: {failed}");
    }
}

/// How many files a process has open.
fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The processes that a process has started and not yet waited for.
pub fn children(pid: i32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    listed.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// How many keys of each kind there are, by names without what differs from job to job.
fn keys(ground: &Ground) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for key in ground.redis.ask(&["keys", "*"]).lines() {
        let is_id = |part: &str| part.len() >= 32 && part.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let name: Vec<_> = key.split(':').map(|part| if is_id(part) { "ID" } else { part }).collect();
        *counts.entry(name.join(":")).or_default() += 1;
    }
    counts
}

#[test]
fn a_hundred_segfaults_leave_nothing_behind() {
    let crashes = |ground: &mut Ground, count: usize| -> Vec<String> {
        (0..count).map(|_| ground.enqueue("default", "crash", &json!([]), &json!({}))).collect()
    };
    let mut ground = Ground::new(Rq::Three);
    let mut run = ground.run(&["--slots", "2"], &ground.worker(&["default"]));
    let who = ground.enqueue("default", "who", &json!([]), &json!({}));
    let zygote = numbers(&ground.result(&who, &mut run))[1];
    // The first deaths have files opened that stay open.
    let crash = |ground: &mut Ground, run: &mut Run, count| {
        for id in crashes(ground, count) {
            ground.until(&id, "failed", run);
        }
    };
    crash(&mut ground, &mut run, 4);
    let is_at_rest = |ground: &mut Ground, run: &mut Run| {
        ground.wait("two processes that are ready", run, |_, _| children(zygote).len() == 2);
    };
    is_at_rest(&mut ground, &mut run);
    let tikkun = run.pid();
    let before = [open_files(tikkun), open_files(zygote)];
    crash(&mut ground, &mut run, 100);
    is_at_rest(&mut ground, &mut run);
    ground.wait("files that are closed", &mut run, |_, _| {
        open_files(tikkun) <= before[0] && open_files(zygote) <= before[1]
    });
    // What RQ, too, leaves of each of them, and of the job before. All else is there once for the service.
    let (of_each, of_all): (BTreeMap<_, _>, _) =
        keys(&ground).into_iter().partition(|(_, count)| *count > 10);
    let expected = ["rq:job:ID", "rq:results:ID"].map(|kind| (kind.to_owned(), 105));
    assert_eq!(of_each, expected.into(), "beside {of_all:?}");
    assert!(of_all.values().sum::<usize>() < 30, "{of_all:?}");
    assert_eq!(ground.redis.ask(&["zcard", "rq:failed:default"]), "104");
    let add = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
    assert_eq!(ground.result(&add, &mut run), "3");
    run.signal(Signal::TERM);
    assert!(run.ended().success());
    all_gone(&[zygote]);
}

#[test]
fn jobs_outlive_their_zygote_and_the_next_ones_have_another() {
    for isolation in BOTH {
        let mut ground = Ground::new(Rq::Three);
        let endless = json!({ "timeout": -1 });
        let who = ground.enqueue("default", "who", &json!([]), &endless);
        let mut run = ground.run(&["--slots", "4", "--isolation", isolation], &ground.worker(&["default"]));
        let zygote = numbers(&ground.result(&who, &mut run))[1];
        let running: Vec<_> = (0..2)
            .map(|_| ground.enqueue("default", "isolation.neighbour", &json!(["go"]), &endless))
            .collect();
        let crash = ground.enqueue("default", "isolation.crash_after", &json!(["go"]), &endless);
        for id in running.iter().chain([&crash]) {
            ground.until(id, "started", &mut run);
        }
        kill_process(Pid::from_raw(zygote).unwrap(), Signal::KILL).unwrap();
        all_gone(&[zygote]);
        ground.wait("another zygote", &mut run, |_, run| {
            run.log().matches("the python worker is ready to fork").count() == 2
        });
        let who = ground.enqueue("default", "who", &json!([]), &endless);
        assert_ne!(numbers(&ground.result(&who, &mut run))[1], zygote, "{isolation}");
        ground.redis.ask(&["set", "go", "1"]);
        for id in &running {
            assert_eq!(ground.result(id, &mut run), "1", "{isolation}: it was begun once");
        }
        let crashed = ground.until(&crash, "failed", &mut run);
        let error = crashed["error"].as_str().unwrap();
        assert!(error.starts_with("Work-horse terminated unexpectedly; "), "{error}");
        run.signal(Signal::TERM);
        assert!(run.ended().success());
    }
}

#[test]
fn nothing_that_jobs_have_started_outlives_a_killed_tikkun() {
    for isolation in BOTH {
        let mut ground = Ground::new(Rq::Three);
        let who = ground.enqueue("default", "who", &json!([]), &json!({}));
        let options = ["--slots", "4", "--isolation", isolation];
        let mut run = ground.run(&options, &ground.worker(&["default"]));
        let zygote = numbers(&ground.result(&who, &mut run))[1];
        let again = ground.enqueue("default", "isolation.once_more", &json!([20]), &json!({ "retries": 1 }));
        let lost = ground.enqueue("default", "isolation.once_more", &json!([20]), &json!({}));
        ground.wait("their processes", &mut run, |ground, _| {
            [&again, &lost].iter().all(|id| started(ground, id).len() == 20)
        });
        // One at least that waits for a job.
        ground.wait("processes that are ready", &mut run, |_, _| children(zygote).len() >= 3);
        let mut pids = children(zygote);
        pids.extend([zygote].into_iter().chain(started(&ground, &again)).chain(started(&ground, &lost)));
        run.signal(Signal::KILL);
        run.ended();
        // The kernel does it within milliseconds; this machine may be busy.
        gone_within(Duration::from_secs(5), &pids);
        let mut run = ground.run(&options, &ground.worker(&["default"]));
        assert_eq!(ground.result(&again, &mut run), "'again'", "{isolation}");
        // As RQ has it for a job without retries.
        ground.until(&lost, "failed", &mut run);
    }
}

#[test]
fn a_job_with_more_memory_than_it_may_have_is_killed_alone() {
    for isolation in BOTH {
        let mut ground = Ground::new(Rq::Three);
        let endless = json!({ "timeout": -1 });
        let neighbours: Vec<_> = (0..2)
            .map(|_| ground.enqueue("default", "isolation.neighbour", &json!(["go"]), &endless))
            .collect();
        let options = ["--slots", "3", "--isolation", isolation, "--set", "python.memory_limit=128MiB"];
        let mut run = ground.run(&options, &ground.worker(&["default"]));
        for id in &neighbours {
            ground.until(id, "started", &mut run);
        }
        let modest = ground.enqueue("default", "isolation.hoard", &json!([64]), &endless);
        let greedy = ground.enqueue("default", "isolation.hoard", &json!([1024]), &endless);
        assert_eq!(ground.result(&modest, &mut run), "8", "{isolation}");
        let failed = ground.until(&greedy, "failed", &mut run);
        let error = failed["error"].as_str().unwrap();
        let words =
            ["killed by signal 9 (SIGKILL) by Tikkun; peak memory ", " MiB of memory for itself alone"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(error.ends_with(", and `python.memory_limit` allows 128MiB"), "{error}");
        ground.redis.ask(&["set", "go", "1"]);
        for id in &neighbours {
            assert_eq!(ground.result(id, &mut run), "1", "{isolation}: it was begun once");
        }
    }
}

#[test]
fn of_thousands_of_jobs_every_line_is_under_its_own_id() {
    const JOBS: usize = 2000;
    let mut ground = Ground::new(Rq::Three);
    let options = ["--slots", "4", "--isolation", "warm", "--set", "log.format=json"];
    let mut run = ground.run(&options, &ground.worker(&["default"]));
    let ids: BTreeSet<_> =
        (0..JOBS).map(|_| ground.enqueue("default", "isolation.announce", &json!([]), &json!({}))).collect();
    for id in &ids {
        ground.until(id, "finished", &mut run);
    }
    run.signal(Signal::TERM);
    assert!(run.ended().success());
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in run.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = line["message"].as_str().unwrap_or_default();
        let kind = text.split(' ').next().unwrap();
        if ["out", "err", "log", "forged"].contains(&kind) || text.contains("forged") {
            let id = line["job.id"].as_str().unwrap_or_else(|| panic!("under no job: {line}"));
            assert!(text.contains(id), "under another job: {line}");
            seen.entry(id.to_owned()).or_default().push(kind.to_owned());
        }
    }
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), ids);
    for (id, kinds) in &seen {
        assert_eq!(kinds.len(), 4, "{id}: {kinds:?}");
    }
}
