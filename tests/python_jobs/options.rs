//! Options of RQ's worker mean behind `tikkun run --` what they mean in RQ.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ground::{ALL, Ground, Rq};

const JSON: &str = "rq.serializers.JSONSerializer";

#[test]
fn settings_in_a_module_name_redis_and_queues() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let jobs: Vec<_> = ["high", "default"]
            .iter()
            .map(|queue| ground.enqueue(queue, "add", &json!([1, 2]), &json!({})))
            .collect();
        let mut run = ground.run(&[], &ground.command(&["rq", "worker", "-b", "-c", "settings"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        for job in jobs {
            assert_eq!(ground.look(&job)["result"], "3", "{rq:?}: {}", run.log());
        }
    }
}

#[test]
fn serializers_and_classes_of_jobs_are_used() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let job = ground.enqueue("default", "add", &json!([1, 2]), &json!({ "serializer": JSON }));
        let options = ["-b", "--serializer", JSON, "--job-class", "parts.LoudJob", "default"];
        let mut run = ground.run(&[], &ground.worker(&options));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        let seen = ground.look_with(&job, JSON);
        assert_eq!(seen["result"], "['loud', 3]", "{rq:?}: {}", run.log());
    }
}

#[test]
fn exception_handlers_are_called() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let job = ground.enqueue("default", "fail", &json!(["no"]), &json!({}));
        let mut run =
            ground.run(&[], &ground.worker(&["-b", "--exception-handler", "parts.note_failure", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        assert_eq!(ground.look(&job)["status"], "failed");
        assert_eq!(ground.redis.ask(&["get", &format!("handled:{job}")]), "ValueError", "{rq:?}");
    }
}

#[test]
fn results_are_kept_for_as_long_as_is_said() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let usual = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
        let own = ground.enqueue("default", "add", &json!([1, 2]), &json!({ "result_ttl": 5000 }));
        let mut run = ground.run(&[], &ground.worker(&["-b", "--results-ttl", "3000", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        for (job, most) in [(usual, 3000), (own, 5000)] {
            let left: i64 = ground.redis.ask(&["ttl", &format!("rq:job:{job}")]).parse().unwrap();
            assert!((most - 100..=most + 5).contains(&left), "{rq:?}: {left} of {most}");
        }
    }
}

#[test]
fn workers_have_the_name_that_is_given() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let who = ground.enqueue("default", "parts.whoami", &json!([]), &json!({}));
        let mut run = ground.run(&[], &ground.worker(&["--name", "mine", "default"]));
        assert_eq!(ground.result(&who, &mut run), "'mine'", "{rq:?}");
        assert_eq!(ground.workers(), json!(["mine"]), "{rq:?}");
        run.signal(Signal::TERM);
        assert!(run.ended().success());
        assert_eq!(ground.workers(), json!([]), "{rq:?}: it has left");
        let who = ground.enqueue("default", "parts.whoami", &json!([]), &json!({}));
        let mut run = ground.run(&["--slots", "2"], &ground.worker(&["--name", "mine", "default"]));
        assert!(["'mine-1'", "'mine-2'"].contains(&&*ground.result(&who, &mut run)), "{rq:?}");
        assert_eq!(ground.workers(), json!(["mine-1", "mine-2"]), "{rq:?}");
    }
}

#[test]
fn due_jobs_wait_without_a_scheduler_and_are_run_with_one() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let due = ground.enqueue("default", "add", &json!([1, 2]), &json!({ "due": true }));
        let now = ground.enqueue("default", "add", &json!([3, 4]), &json!({}));
        let mut run = ground.run(&[], &ground.worker(&["-b", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        assert_eq!(ground.look(&now)["result"], "7");
        assert_eq!(ground.look(&due)["status"], "scheduled", "{rq:?}");
        let mut run = ground.run(&[], &ground.worker(&["-b", "--with-scheduler", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        assert_eq!(ground.look(&due)["result"], "3", "{rq:?}: {}", run.log());
        let later = ground.enqueue("default", "add", &json!([5, 6]), &json!({ "due": true }));
        let mut run = ground.run(&[], &ground.worker(&["--with-scheduler", "default"]));
        assert_eq!(ground.result(&later, &mut run), "11", "{rq:?}");
    }
}

/// The order in which jobs of three queues are run.
fn order(rq: Rq, strategy: &[&str], each: usize) -> Vec<String> {
    let mut ground = Ground::new(rq);
    for queue in ["a", "b", "c"] {
        for _ in 0..each {
            ground.enqueue(queue, "parts.mark", &json!([queue]), &json!({}));
        }
    }
    let mut run = ground.run(&[], &ground.worker(&[&["-b"], strategy, &["a", "b", "c"]].concat()));
    assert!(run.ended().success(), "{rq:?}: {}", run.log());
    ground.redis.ask(&["lrange", "marks", "0", "-1"]).lines().map(str::to_owned).collect()
}

#[test]
fn queues_take_turns_as_the_strategy_says() {
    for rq in ALL {
        assert_eq!(order(rq, &[], 2).join(" "), "a a b b c c", "{rq:?}");
        assert_eq!(order(rq, &["--dequeue-strategy", "round_robin"], 2).join(" "), "a b c a b c", "{rq:?}");
        let mixed = order(rq, &["--dequeue-strategy", "random"], 12);
        let (listed, mut sorted) = (mixed.clone(), mixed.clone());
        sorted.sort();
        assert_eq!(sorted.len(), 36, "{rq:?}: each job once");
        assert_ne!(listed, sorted, "{rq:?}: not in the order of the list");
    }
}

#[test]
fn a_worker_leaves_after_so_many_jobs() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let jobs: Vec<_> =
            (0..3).map(|_| ground.enqueue("default", "add", &json!([1, 2]), &json!({}))).collect();
        let mut run = ground.run(&[], &ground.worker(&["--max-jobs", "2", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        let done: Vec<Value> = jobs.iter().map(|job| ground.look(job)["status"].clone()).collect();
        assert_eq!(done, ["finished", "finished", "queued"], "{rq:?}");
    }
}

#[test]
fn a_worker_that_runs_its_last_job_takes_no_other() {
    let mut ground = Ground::new(Rq::Three);
    let [last, other] = [3, 0].map(|seconds| ground.enqueue("default", "nap", &json!([seconds]), &json!({})));
    let mut run = ground.run(&["--slots", "2"], &ground.worker(&["--max-jobs", "1", "default"]));
    assert!(run.ended().success(), "{}", run.log());
    assert_eq!([last, other.clone()].map(|job| ground.look(&job)["status"].clone()), ["finished", "queued"]);
    let taken = ground.redis.ask(&["HGET", &format!("rq:job:{other}"), "x_attempt"]);
    // It may come with the last one, and once more before that has begun.
    assert!(taken.parse().unwrap_or(0) < 50, "it was taken and given back {taken} times");
}

#[test]
fn a_worker_leaves_when_it_had_nothing_to_do_for_so_long() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let job = ground.enqueue("default", "nap", &json!([2]), &json!({}));
        let began = Instant::now();
        let mut run = ground.run(&[], &ground.worker(&["--max-idle-time", "1", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        assert_eq!(ground.look(&job)["status"], "finished", "{rq:?}: it was not idle with a job");
        assert!(began.elapsed() >= Duration::from_secs(3), "{rq:?}: a job of 2 s, then 1 s of nothing");
    }
}

#[test]
fn what_a_worker_does_after_a_job_is_over_before_the_next_begins() {
    for (rq, isolation) in [(Rq::One, "job"), (Rq::Three, "job"), (Rq::Three, "warm")] {
        let mut ground = Ground::new(rq);
        for name in ["first", "second"] {
            ground.enqueue("default", "parts.mark", &json!([name]), &json!({ "job_id": name }));
        }
        ground.enqueue("default", "parts.mark", &json!(["last"]), &json!({ "job_id": "last" }));
        let worker = ground.worker(&["--worker-class", "parts.TidyWorker", "default"]);
        let mut run = ground.run(&["--isolation", isolation], &worker);
        ground.until("last", "finished", &mut run);
        let marks = "first, tidied up, second, tidied up, last";
        let told = ground.redis.ask(&["LRANGE", "marks", "0", "4"]).replace('\n', ", ");
        assert_eq!(told, marks, "{rq:?} {isolation}");
    }
}

#[test]
fn a_process_that_leaves_waits_for_what_follows_its_last_job() {
    for (rq, isolation) in [(Rq::One, "job"), (Rq::Three, "job"), (Rq::Three, "warm")] {
        let mut ground = Ground::new(rq);
        let id = ground.enqueue("default", "fail", &json!(["no"]), &json!({}));
        let words = ["-b", "--exception-handler", "parts.note_failure_late", "default"];
        let mut run = ground.run(&["--isolation", isolation], &ground.worker(&words));
        assert!(run.ended().success(), "{rq:?} {isolation}: {}", run.log());
        assert_eq!(ground.redis.ask(&["GET", &format!("handled:{id}")]), "ValueError", "{rq:?} {isolation}");
    }
}

#[test]
fn a_quiet_worker_tells_of_failures_alone() {
    for rq in ALL {
        let mut ground = Ground::new(rq);
        let job = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
        let failing = ground.enqueue("default", "fail", &json!(["no"]), &json!({}));
        let mut run = ground.run(&[], &ground.worker(&["-b", "-q", "default"]));
        assert!(run.ended().success(), "{rq:?}: {}", run.log());
        assert_eq!(ground.look(&job)["result"], "3", "{rq:?}: {}", run.log());
        assert!(!run.log().contains(&job), "{rq:?}: {}", run.log());
        assert!(!run.log().contains("JOB PICKED"), "{rq:?}: {}", run.log());
        assert!(run.log().contains(&format!("job_id={failing}")), "{rq:?}: {}", run.log());
    }
}
