//! `[[python]]` under `tikkun serve`: jobs of Python workers beside jobs in Rust, in one process.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::ground::{Ground, Rq, all_gone};
use super::numbers;

/// A file whose kinds in Rust have the queue `rust`, and these workers.
fn file(workers: &[(&[String], &str)]) -> String {
    let mut text = "[worker]\nqueues = [\"rust\"]\n[diagnostics]\nenabled = true\n".to_owned();
    for (command, more) in workers {
        let command = serde_json::to_string(command).unwrap();
        text.push_str(&format!("[[python]]\ncommand = {command}\n{more}\n"));
    }
    text
}

#[test]
fn jobs_in_rust_and_of_two_python_workers_run_in_one_process() {
    for rq in [Rq::One, Rq::Three] {
        let mut ground = Ground::new(rq);
        let none = json!({});
        let (high, low) = (ground.worker(&["high", "default"]), ground.worker(&["low"]));
        let echo = ["tikkun.echo", "tikkun.echo", "tikkun.echo"];
        let [in_rust, native, foreign] = [("rust", echo[0]), ("high", echo[1]), ("low", echo[2])]
            .map(|(queue, function)| ground.enqueue(queue, function, &json!(["hello"]), &none));
        let unknown = ground.enqueue("rust", "add", &json!([1, 2]), &none);
        let first = ground.enqueue("default", "who", &json!([]), &none);
        let second = ground.enqueue("low", "who", &json!([]), &none);
        let workers =
            file(&[(&high, "native = [\"tikkun.echo\"]\nslots = 2\n"), (&low, "isolation = \"warm\"")]);
        let mut run = ground.serve(&workers, &[]);
        let [first, second] = [first, second].map(|job| numbers(&ground.result(&job, &mut run)));
        assert_ne!(first[1], second[1], "each worker has a process that imported its application");
        for job in [in_rust, native] {
            assert!(ground.result(&job, &mut run).contains("hello"), "{rq:?}");
        }
        let error = |job: Value| job["error"].as_str().unwrap_or_default().to_owned();
        let python = error(ground.until(&foreign, "failed", &mut run));
        assert!(python.contains("Traceback") && python.contains("tikkun"), "{rq:?}: {python}");
        let rust = error(ground.until(&unknown, "failed", &mut run));
        assert!(rust.contains("unknown function `shop.add`"), "{rq:?}: {rust}");

        let python = run.get("/api/jobs/health").expect(200).json()["python"].clone();
        let told: Vec<_> = python["workers"].as_array().unwrap().iter().collect();
        assert_eq!([&told[0]["queues"], &told[1]["queues"]], ["high,default", "low"]);
        assert_eq!([&told[0]["isolation"], &told[1]["isolation"]], ["job", "warm"]);
        assert_eq!([&told[0]["zygote"], &told[1]["zygote"]], [&json!(first[1]), &json!(second[1])]);
        assert_eq!((&python["isolation"], &python["hindrance"]), (&json!("mixed"), &Value::Null));
        let mut pids = vec![first[1], second[1]];
        for process in python["processes"].as_array().unwrap() {
            assert!(["high,default", "low"].contains(&process["worker"].as_str().unwrap()), "{process}");
            pids.push(i32::try_from(process["pid"].as_i64().unwrap()).unwrap());
        }
        run.signal(Signal::TERM);
        assert!(run.ended().success(), "{}", run.log());
        all_gone(&pids);
    }
}

#[test]
fn a_job_in_rust_that_holds_its_thread_holds_up_no_python_job_beside_it() {
    let mut ground = Ground::new(Rq::Three);
    let spins = ground.enqueue("high", "tikkun.spin", &json!([20]), &json!({}));
    let command = ground.worker(&["high"]);
    let mut run = ground.serve(&file(&[(&command, "native = [\"tikkun.spin\"]\nslots = 2\n")]), &[]);
    ground.until(&spins, "started", &mut run);
    let add = ground.enqueue("high", "add", &json!([1, 2]), &json!({}));
    assert_eq!(ground.result(&add, &mut run), "3");
    assert_eq!(ground.look(&spins)["status"], "started", "it has waited for the other job");
}

#[test]
fn a_worker_that_cannot_be_started_again_hinders_its_own_queues_alone() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    let mut ground = Ground::new(Rq::Three);
    let none = json!({});
    let who = ground.enqueue("high", "who", &json!([]), &none);
    let (high, low) = (ground.breakable(&broken, "high"), ground.worker(&["low"]));
    let mut run = ground.serve(&file(&[(&high, ""), (&low, "")]), &[]);
    let zygote = numbers(&ground.result(&who, &mut run))[1];
    run.get_until("/readyz", |answer| answer.status == 200);

    fs::write(&broken, "").unwrap();
    kill_process(Pid::from_raw(zygote).unwrap(), Signal::KILL).unwrap();
    let why = "jobs of high wait: the python worker cannot be started: ";
    let health = run.get_until("/api/jobs/health", |answer| answer.body.contains(why)).expect(200).json();
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["python"]["workers"][1]["hindrance"], Value::Null);
    assert_eq!(run.get("/readyz").status, 200);
    let waits = ground.enqueue("high", "add", &json!([1, 2]), &none);
    let runs = ground.enqueue("low", "add", &json!([1, 3]), &none);
    let in_rust = ground.enqueue("rust", "tikkun.echo", &json!(["hello"]), &none);
    assert_eq!(ground.result(&runs, &mut run), "4");
    assert!(ground.result(&in_rust, &mut run).contains("hello"));
    assert_eq!(ground.look(&waits)["status"], "queued");

    fs::remove_file(&broken).unwrap();
    assert_eq!(ground.result(&waits, &mut run), "3");
    assert_eq!(run.get("/api/jobs/health").expect(200).json()["python"]["hindrance"], Value::Null);
}

/// The command of a worker, and its other keys.
type Worker<'a> = (&'a [String], &'a str);

#[test]
fn workers_that_do_not_fit_are_refused_by_name() {
    let ground = Ground::new(Rq::Three);
    let other = Ground::new(Rq::Three);
    let (high, low) = (ground.worker(&["high"]), ground.worker(&["low", "high"]));
    let elsewhere = other.worker(&["low"]);
    let burst = ground.worker(&["--burst", "low"]);
    let rust = ground.worker(&["rust"]);
    let broken = ground.command(&["python", "-c", "import nothing_of_this_name"]);
    let socket = other.redis.socket().display().to_string();
    let table: [(&[Worker<'_>], &[&str]); 6] = [
        (
            &[(&high, ""), (&elsewhere, "")],
            &["`[[python]]` number 2", "its Redis is ", &socket, "`broker.url` is "],
        ),
        (&[(&high, ""), (&low, "")], &["number 2", "queue `high` is that of `[[python]]` number 1, too"]),
        (&[(&rust, "")], &["number 1", "queue `rust` is among `worker.queues`, too"]),
        (&[(&burst, "")], &["number 1", "would leave by itself"]),
        (
            &[(&high, "native = [\"shop.add\"]")],
            &["`native` names `shop.add`, which is no function in Rust here"],
        ),
        (&[(&high, ""), (&broken, "")], &["number 2", "No module named 'nothing_of_this_name'"]),
    ];
    for (workers, expected) in table {
        ground.serve(&file(workers), &[]).refuses(expected);
    }
    let embedded = [("REDIS_URL", "embedded")];
    ground.serve(&file(&[(&high, "")]), &embedded).refuses(&["`broker.url` is `embedded`"]);
    let keys = file(&[(&high, "isolation = \"tight\"\nslot = 1")]);
    let expected = ["`isolation` is `tight`", "unknown key `slot`; did you mean `slots`?", "number 1"];
    ground.serve(&keys, &[]).refuses(&expected);
}

#[test]
fn roles_without_jobs_start_no_worker_and_run_takes_none() {
    let mut ground = Ground::new(Rq::Three);
    let nothing = ["no-such-command".to_owned()];
    let workers = file(&[(&nothing, "")]);
    let mut run = ground.serve(&workers, &[("SERVICE_ROLE", "scheduler")]);
    run.get_until("/readyz", |answer| answer.status == 200);
    assert_eq!(run.get("/api/jobs/health").expect(200).json().get("python"), None);
    run.signal(Signal::TERM);
    assert!(run.ended().success(), "{}", run.log());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tikkun.toml");
    fs::write(&path, workers).unwrap();
    let path = path.display().to_string();
    let run = ground.run(&["--config", &path], &ground.worker(&["high"]));
    run.refuses(&["`[[python]]` is for `tikkun serve`"]);
    assert_eq!(ground.workers(), json!([]));
}

#[test]
fn doctor_examines_each_worker_of_the_file() {
    let ground = Ground::new(Rq::Three);
    let broken = ground.command(&["python", "-c", "import nothing_of_this_name"]);
    let found = |workers: &[(&[String], &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tikkun.toml");
        fs::write(&config, file(workers)).unwrap();
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        let ended = doctor
            .args(["--json", "doctor", "--config"])
            .arg(&config)
            .env("REDIS_URL", ground.url())
            .env("TIKKUN_SERVICE__DATA", folder.path())
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let python = told["findings"].as_array().unwrap().iter();
        let python = python.filter(|one| one["code"].as_str().unwrap().starts_with("python_"));
        python.map(|one| (one["code"].clone(), one["subject"].to_string())).collect::<Vec<_>>()
    };
    let (high, rust) = (ground.worker(&["high"]), ground.worker(&["rust"]));
    assert_eq!(found(&[(&high, "")]), []);
    let [(code, subject)]: [_; 1] = found(&[(&high, ""), (&broken, "")]).try_into().unwrap();
    assert!(code == "python_start" && subject.contains("`[[python]]` number 2 ("), "{subject}");
    let [(code, subject)]: [_; 1] = found(&[(&rust, "")]).try_into().unwrap();
    assert!(code == "python_misfit" && subject.contains("`[[python]]` number 1 ("), "{subject}");
}
