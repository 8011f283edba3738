//! Redis is stopped, emptied, or refuses to write while Python jobs run, and their process is killed with jobs in hand:
//! what `tests/lost_redis` holds for jobs in Rust holds for these.
//!
//! `OUTAGE_SECONDS=120` sets the length of the outage, `KILLS=100` kills so many processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ground::{ALL, Ground, Rq, Run, all_gone, descendants};
use crate::lost_redis::bounds::peak;
use crate::lost_redis::place::size;

/// Short leases, so that they run out in a test's time.
const LEASE: [&str; 4] = ["--set", "lease.ttl=3s", "--set", "lease.renew=1s"];
/// Longer than such a lease.
const OUTAGE: u64 = 7;

/// The processes in which the job that writes to this folder was begun.
fn runs(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("runs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// A job that waits for the file `go` in this folder, once it has begun; and Tikkun.
fn begun(ground: &mut Ground, folder: &Path, isolation: &str, options: &Value) -> (String, Run) {
    let job = ground.enqueue("default", "keeps_on", &json!([folder]), options);
    let words = [&LEASE[..], &["--isolation", isolation]].concat();
    let mut run = ground.run(&words, &ground.worker(&["default"]));
    ground.wait("the job", &mut run, |_, _| !runs(folder).is_empty());
    (job, run)
}

/// It has ended well by its first attempt, and the process goes on with the next job.
fn ended_once(ground: &mut Ground, (job, folder): (&str, &Path), run: &mut Run) {
    let ended = ground.until(job, "finished", run);
    assert_eq!((&ended["result"], &ended["results"]), (&json!("'there'"), &json!(["SUCCESSFUL"])), "{ended}");
    assert_eq!(runs(folder).len(), 1, "it was begun once:\n{}", run.log());
    let next = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
    assert_eq!(ground.result(&next, run), "3");
    for line in ["rescued a job", "its end is not counted"] {
        assert!(!run.log().contains(line), "{}", run.log());
    }
}

#[test]
fn a_job_whose_end_falls_into_an_outage_has_it_written_afterwards() {
    let outage = Duration::from_secs(size("OUTAGE_SECONDS", OUTAGE));
    std::thread::scope(|threads| {
        for (rq, isolation) in [(Rq::One, "job"), (Rq::Three, "job"), (Rq::Three, "warm")] {
            threads.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let mut ground = Ground::with_redis_that_can_go(rq);
                let (job, mut run) = begun(&mut ground, folder.path(), isolation, &json!({}));
                let began = Instant::now();
                ground.redis.stop();
                fs::write(folder.path().join("go"), "").unwrap();
                // In isolation its process ends with its job.
                let ends_with_it = if isolation == "job" { runs(folder.path()) } else { Vec::new() };
                all_gone(&ends_with_it);
                while began.elapsed() < outage {
                    ground.pause();
                }
                run.assert_lives();
                ground.redis.start_again();
                ended_once(&mut ground, (&job, folder.path()), &mut run);
            });
        }
    });
}

#[test]
fn a_job_that_redis_has_forgotten_goes_on_and_ends_with_its_result() {
    for (rq, isolation) in [(Rq::One, "job"), (Rq::Three, "job"), (Rq::Three, "warm")] {
        let folder = tempfile::tempdir().unwrap();
        let mut ground = Ground::new(rq);
        let (job, mut run) = begun(&mut ground, folder.path(), isolation, &json!({ "meta": { "a": 1 } }));
        ground.redis.ask(&["FLUSHALL"]);
        let told = "wrote back a running job that Redis had forgotten";
        ground.wait("its return", &mut run, |_, run| run.log().contains(told));
        assert_eq!(ground.look(&job)["meta"], json!({ "a": 1 }), "{rq:?} {isolation}");
        fs::write(folder.path().join("go"), "").unwrap();
        ended_once(&mut ground, (&job, folder.path()), &mut run);
        assert_eq!(ground.workers().as_array().unwrap().len(), 1, "it is registered again");
    }
}

#[test]
fn a_job_ends_although_redis_has_no_memory_left_or_becomes_a_replica() {
    for isolation in ["job", "warm"] {
        let folder = tempfile::tempdir().unwrap();
        let mut ground = Ground::new(Rq::Three);
        let (job, mut run) = begun(&mut ground, folder.path(), isolation, &json!({}));
        ground.redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        fs::write(folder.path().join("go"), "").unwrap();
        let ended = ground.until(&job, "finished", &mut run);
        assert_eq!(ended["results"], json!(["SUCCESSFUL"]), "an end needs no room that is not there");
        ground.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        ended_once(&mut ground, (&job, folder.path()), &mut run);

        let folder = tempfile::tempdir().unwrap();
        let job = ground.enqueue("default", "keeps_on", &json!([folder.path()]), &json!({}));
        ground.wait("the job", &mut run, |_, _| !runs(folder.path()).is_empty());
        // One whose master is away keeps its data, and takes no writes.
        ground.redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
        fs::write(folder.path().join("go"), "").unwrap();
        ground.wait("the refusal", &mut run, |_, run| run.log().contains("READONLY"));
        ground.redis.ask(&["REPLICAOF", "NO", "ONE"]);
        ended_once(&mut ground, (&job, folder.path()), &mut run);
    }
}

#[test]
fn a_worker_that_leaves_by_itself_runs_what_ends_that_were_refused_for_a_while_put_into_its_queue() {
    let refusal = Duration::from_secs(3);
    std::thread::scope(|threads| {
        for (isolation, option) in [("job", "--burst"), ("warm", "--burst"), ("warm", "--max-idle-time=2")] {
            threads.spawn(move || {
                let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
                let [first, again] = &folders;
                let mut ground = Ground::new(Rq::Three);
                let none = json!({});
                let first = ground.enqueue("default", "keeps_on", &json!([first.path()]), &none);
                let options = json!({ "retries": 1 });
                let function = "keeps_on_and_fails_at_first";
                let again = ground.enqueue("default", function, &json!([again.path()]), &options);
                let follows = json!({ "depends_on": first });
                let follows = ground.enqueue("default", "add", &json!([1, 2]), &follows);
                let words = ["--slots", "2", "--isolation", isolation];
                let mut run = ground.run(&words, &ground.worker(&[option, "default"]));
                ground.wait("both jobs", &mut run, |_, _| {
                    folders.iter().all(|one| !runs(one.path()).is_empty())
                });
                ground.redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
                folders.iter().for_each(|one| fs::write(one.path().join("go"), "").unwrap());
                ground.wait("the refusal", &mut run, |_, run| run.log().contains("READONLY"));
                let began = Instant::now();
                while began.elapsed() < refusal {
                    ground.pause();
                }
                ground.redis.ask(&["REPLICAOF", "NO", "ONE"]);
                assert!(run.ended().success(), "{}", run.log());
                for job in [first, again, follows] {
                    let job = ground.look(&job);
                    assert_eq!(job["status"], "finished", "{isolation} {option}: {job}\n{}", run.log());
                }
            });
        }
    });
}

#[test]
fn a_worker_starts_and_frees_memory_although_redis_has_none_left() {
    let none = json!({});
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let job = ground.enqueue("default", "add", &json!([1, 2]), &none);
        ground.redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        let mut run = ground.run(&[], &ground.worker(&["default"]));
        assert_eq!(ground.result(&job, &mut run), "3", "{rq:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut ground = Ground::new(Rq::Three);
    let words = ["--set", "python.start=spawn", "--isolation", "job"];
    let mut run = ground.run(&words, &ground.worker(&["default"]));
    let first = ground.enqueue("default", "keeps_on", &json!([folder.path()]), &none);
    // A process may be ready for the next of these, and none is for the others.
    let others: Vec<_> = (0..3).map(|_| ground.enqueue("default", "add", &json!([1, 2]), &none)).collect();
    ground.wait("the job", &mut run, |_, _| !runs(folder.path()).is_empty());
    ground.redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(ground.result(&first, &mut run), "'there'");
    for job in others {
        assert_eq!(ground.result(&job, &mut run), "3");
    }
}

/// Jobs that run at once in the process that is killed.
const SLOTS: usize = 6;

#[test]
fn killed_with_python_jobs_in_hand_each_comes_back_or_fails_and_none_that_may_not_runs_twice() {
    let mut ground = Ground::new(Rq::Three);
    let slots = SLOTS.to_string();
    let words = [&LEASE[..], &["--slots", &slots, "--isolation", "warm"]].concat();
    let mut jobs: BTreeMap<String, (tempfile::TempDir, bool)> = BTreeMap::new();
    let (mut pids, mut in_hand) = (BTreeSet::new(), 0);
    let kills = usize::try_from(size("KILLS", 4)).unwrap();
    for kill in 0..=kills {
        let waits = ["high", "default", "low"].into_iter().cycle();
        for (number, queue) in (0..SLOTS).zip(waits) {
            let (folder, is_tried_again) = (tempfile::tempdir().unwrap(), number % 2 == 0);
            let options = if is_tried_again { json!({ "retries": 1000 }) } else { json!({}) };
            let id = ground.enqueue(queue, "keeps_on", &json!([folder.path()]), &options);
            jobs.insert(id, (folder, is_tried_again));
        }
        let mut run = ground.run(&words, &ground.worker(&["high", "default", "low"]));
        if kill == kills {
            for (folder, _) in jobs.values() {
                fs::write(folder.path().join("go"), "").unwrap();
            }
            for (id, (_, is_tried_again)) in &jobs {
                ground.wait("its end", &mut run, |ground, _| {
                    let status = ground.look(id)["status"].clone();
                    status == "finished" || (!is_tried_again && status == "failed")
                });
            }
            run.signal(Signal::TERM);
            assert!(run.ended().success(), "{}", run.log());
            break;
        }
        let busy = |_: &mut Ground, run: &Run| {
            let living: BTreeSet<_> = descendants(run.pid()).into_iter().collect();
            let at_work = jobs.values().filter_map(|(folder, _)| runs(folder.path()).last().copied());
            at_work.filter(|pid| living.contains(pid)).count() == SLOTS
        };
        ground.wait("jobs on all slots", &mut run, busy);
        pids.extend(descendants(run.pid()));
        run.signal(Signal::KILL);
        run.ended();
        in_hand += SLOTS;
    }
    all_gone(&pids.into_iter().collect::<Vec<_>>());
    let begun: usize = jobs.values().map(|(folder, _)| runs(folder.path()).len()).sum();
    for (id, (folder, is_tried_again)) in &jobs {
        let (job, begun) = (ground.look(id), runs(folder.path()).len());
        if job["status"] == "failed" {
            assert!(!is_tried_again && begun == 1, "{id} was begun {begun} times: {job}");
        } else {
            let ends = job["results"].as_array().unwrap().iter().filter(|end| *end == "SUCCESSFUL").count();
            assert!(ends == 1 && (*is_tried_again || begun == 1), "{id} was begun {begun} times: {job}");
        }
    }
    for queue in ["high", "default", "low"] {
        for (what, key) in [("ZCARD", format!("rq:wip:{queue}")), ("LLEN", format!("rq:queue:{queue}"))] {
            assert_eq!(ground.redis.ask(&[what, &key]), "0", "{key}");
        }
    }
    assert_eq!(ground.redis.ask(&["HLEN", "rq:tikkun:deliveries"]), "0");
    println!("{kills} kills with {in_hand} jobs in hand; {begun} runs of {} jobs", jobs.len());
}

#[test]
fn payloads_of_all_jobs_in_hand_keep_to_their_budget_and_hold_up_no_other_queue() {
    let mut ground = Ground::new(Rq::Three);
    let jobs: Vec<_> = (0..16)
        .map(|_| ground.enqueue("default", "nap", &json!([2]), &json!({ "ballast": 10 << 20 })))
        .collect();
    let small = ground.enqueue("low", "add", &json!([1, 2]), &json!({}));
    // What a thread has given back is not kept for that thread alone: what is measured is what is held.
    let variables = [("TIKKUN_WORKER__PAYLOAD_BUDGET", "32MiB"), ("MALLOC_ARENA_MAX", "1")];
    let worker = ground.worker(&["default", "low"]);
    let mut run = ground.run_with(&["--slots", "16", "--isolation", "warm"], &worker, &variables);
    assert_eq!(ground.result(&small, &mut run), "3");
    let status = |ground: &Ground, id: &str| ground.redis.ask(&["HGET", &format!("rq:job:{id}"), "status"]);
    assert!(jobs.iter().any(|job| status(&ground, job) == "queued"), "it did not wait for them");
    let ended = |ground: &mut Ground, _: &Run| jobs.iter().all(|job| status(ground, job) == "finished");
    ground.wait("the end of all", &mut run, ended);
    // Together they are 160 MiB; the process itself and what passes by have wide room.
    let most = peak(run.pid());
    println!("at most {most} MiB");
    assert!(most < 200, "it took {most} MiB");
    let larger_than_all = ground.enqueue("default", "nap", &json!([0]), &json!({ "ballast": 40 << 20 }));
    assert_eq!(ground.result(&larger_than_all, &mut run), "'rested'", "it runs alone");
}
