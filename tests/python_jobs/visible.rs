//! What people and machines see of the Python processes.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::ground::{Ground, Rq, lives};
use super::numbers;
use crate::service::process::SECRET;

#[test]
fn while_no_process_can_be_started_nothing_is_fetched_and_the_process_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (broken, end) = (path("broken"), path("end"));
    let mut ground = Ground::new(Rq::Three);
    let none = json!({});
    let who = ground.enqueue("default", "who", &json!([]), &none);
    let mut run = ground.run(&["--slots", "2"], &ground.breakable(&broken, "default"));
    let zygote = numbers(&ground.result(&who, &mut run))[1];
    let running = ground.enqueue("default", "with_progress", &json!([end]), &none);
    ground.until(&running, "started", &mut run);
    run.get_until("/readyz", |answer| answer.status == 200);
    run.get("/api/jobs/health").expect(200);

    fs::write(&broken, "").unwrap();
    kill_process(Pid::from_raw(zygote).unwrap(), Signal::KILL).unwrap();
    let why = "ModuleNotFoundError: No module named 'nothing_of_this_name'";
    let unready = run.get_until("/readyz", |answer| answer.body.contains(why));
    assert_eq!(unready.expect(503).json()["status"], "jobs cannot run");
    let health = run.get("/api/jobs/health").expect(500).json();
    assert_eq!(health["status"], "unhealthy");
    let hindrance = health["python"]["hindrance"].as_str().unwrap();
    assert!(hindrance.starts_with("the python worker cannot be started: ") && hindrance.ends_with(why));
    let board = run.get_until("/api/v1/overview", |answer| answer.body.contains("jobs_cannot_run")).json();
    assert_eq!(board["overview"]["reasons"][0]["severity"], "unhealthy");
    assert!(run.get("/metrics").body.contains("\ntikkun_ready 0\n"));

    // A slot is free, and a fetch would take the job at once: the one that runs ends first.
    let waits = ground.enqueue("default", "add", &json!([1, 2]), &none);
    fs::write(&end, "").unwrap();
    ground.until(&running, "finished", &mut run);
    assert_eq!(ground.look(&waits)["status"], "queued");
    assert!(!lives(zygote));

    fs::remove_file(&broken).unwrap();
    assert_eq!(ground.result(&waits, &mut run), "3");
    run.get_until("/readyz", |answer| answer.status == 200);
    assert_eq!(run.get("/api/jobs/health").expect(200).json()["python"]["hindrance"], Value::Null);
    run.signal(Signal::TERM);
    assert!(run.ended().success(), "{}", run.log());
}

#[test]
fn processes_their_jobs_and_the_progress_of_these_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let end = folder.path().join("end").display().to_string();
    let mut ground = Ground::new(Rq::Three);
    let none = json!({});
    let done = ground.enqueue("default", "who", &json!([]), &none);
    let mut run = ground.run(&["--slots", "1", "--isolation", "warm"], &ground.worker(&["default"]));
    let who = numbers(&ground.result(&done, &mut run));
    let job = ground.enqueue("default", "with_progress", &json!([end]), &none);
    let far = |board: &Value| board["running"][0]["processed"] == 3 && board["running"][0]["total"] == 4;
    let board =
        run.get_until("/api/v1/overview", |answer| answer.status == 200 && far(&answer.json())).json();
    assert_eq!(board["running"][0]["job_id"], job.as_str());
    let log = |more: &[&str]| {
        let mut show = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        show.env("INTERNAL_SECRET", SECRET).current_dir(folder.path());
        let url = format!("http://{}", run.address().unwrap());
        let ended = show.args(["jobs", "show", &job, "--log", "--url", &url]).args(more).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let lines = log(&[]);
    assert!(lines.lines().any(|line| line.ends_with(" INFO  three of four")), "{lines}");
    let told: Value = serde_json::from_str(&log(&["--json"])).unwrap();
    assert!(told["lines"].as_array().unwrap().iter().any(|line| line["text"] == "three of four"), "{told}");
    let python =
        run.get_until("/api/v1/python", |answer| !answer.json()["processes"][0]["memory"].is_null()).json();
    assert_eq!((&python["isolation"], &python["zygote"]), (&json!("warm"), &json!(who[1])));
    let process = &python["processes"][0];
    assert_eq!(
        (&process["pid"], &process["state"], &process["jobs"]),
        (&json!(who[0]), &json!("busy"), &json!(1))
    );
    assert_eq!((&process["job_id"], &process["mode"]), (&json!(job), &json!("warm")));
    assert_eq!(run.get("/api/jobs/health").json()["python"]["processes"], python["processes"]);
    let metrics = run.get("/metrics").body;
    for series in [
        "tikkun_python_processes{state=\"busy\"} 1",
        "tikkun_python_processes{state=\"ready\"} 0",
        "tikkun_python_processes_started_total 1",
        "tikkun_python_processes_ended_total{reason=\"died\"} 0",
        "tikkun_python_fork_failures_total 0",
    ] {
        assert!(metrics.contains(&format!("\n{series}\n")), "no {series} in\n{metrics}");
    }
    let memory = metrics.lines().find_map(|line| line.strip_prefix("tikkun_python_memory_bytes "));
    assert!(memory.unwrap().parse::<f64>().unwrap() > 0.0);
    fs::write(&end, "").unwrap();
    ground.until(&job, "finished", &mut run);
}

#[test]
fn warm_processes_are_replaced_after_their_jobs() {
    let mut ground = Ground::new(Rq::Three);
    let ids: Vec<_> = (0..6).map(|_| ground.enqueue("default", "who", &json!([]), &json!({}))).collect();
    let options = ["--slots", "1", "--isolation", "warm", "--set", "python.jobs_per_process=2"];
    let mut run = ground.run(&options, &ground.worker(&["default"]));
    let mut pids: Vec<i32> = ids.iter().map(|id| numbers(&ground.result(id, &mut run))[0]).collect();
    pids.dedup();
    assert_eq!(pids.len(), 3, "{pids:?}");
    let counted = "\ntikkun_python_processes_ended_total{reason=\"jobs\"} 3\n";
    run.get_until("/metrics", |answer| answer.body.contains(counted));
}

#[test]
fn doctor_examines_a_command_without_running_a_job() {
    let mut ground = Ground::new(Rq::Three);
    let waits = ground.enqueue("default", "add", &json!([1, 2]), &json!({}));
    let worker = ground.worker(&["default"]);
    let python = ground.rq.program("python").display().to_string();
    let broken = ["-c", "import nothing_of_this_name"].map(str::to_owned);
    let broken: Vec<String> = std::iter::once(python).chain(broken).collect();
    let examined = |command: &[String]| {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        let ended = doctor.args(["--json", "doctor", "--"]).args(command).output().unwrap();
        let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
        (ended.status.code(), told)
    };
    let (code, told) = examined(&worker);
    assert_eq!((code, &told["ok"], &told["findings"]), (Some(0), &json!(true), &json!([])), "{told}");
    let (code, told) = examined(&broken);
    assert_eq!((code, &told["findings"][0]["code"]), (Some(1), &json!("python_start")), "{told}");
    let what = told["findings"][0]["what"].as_str().unwrap();
    assert!(what.ends_with("No module named 'nothing_of_this_name'"), "{what}");
    assert_eq!(ground.look(&waits)["status"], "queued");
}
