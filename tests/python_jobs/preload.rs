//! Modules that jobs import are imported once by the worker's process, and no more by each job.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ground::{Ground, Rq, Run};
use super::numbers;

/// Modules of an application that write a line to the file `imports` whenever they are imported.
struct Modules(tempfile::TempDir);

impl Modules {
    fn new(modules: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, code) in modules {
            let noted = format!(
                "import os\nwith open({:?}, 'a') as file:\n    file.write({name:?} + '\\n')\n",
                folder.path().join("imports")
            );
            let function = "\ndef run():\n    return os.getpid(), os.getppid()\n";
            fs::write(folder.path().join(format!("{name}.py")), noted + code + function).unwrap();
        }
        Self(folder)
    }

    fn imports(&self, name: &str) -> usize {
        let imports = fs::read_to_string(self.0.path().join("imports")).unwrap_or_default();
        imports.lines().filter(|line| *line == name).count()
    }

    fn path(&self) -> String {
        let application = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_jobs/app");
        format!("{}:{}", self.0.path().display(), application.display())
    }

    /// Tikkun in front of a worker that finds them.
    fn run(&self, ground: &Ground, options: &[&str]) -> Run {
        ground.run_with(options, &ground.worker(&["default"]), &[("PYTHONPATH", &self.path())])
    }
}

/// Runs a job of this module, and gives the ids of its process and of that one's parent.
fn run_one(ground: &mut Ground, module: &str, run: &mut Run) -> Vec<i32> {
    let job = ground.enqueue("default", &format!("{module}.run"), &json!([]), &json!({}));
    let result = ground.result(&job, run);
    numbers(&result.replace(['(', ')'], ""))
}

fn preload(run: &mut Run, is_so: impl Fn(&Value) -> bool) -> Value {
    let path = "/api/v1/python";
    let answer =
        run.get_until(path, |answer| answer.status == 200 && is_so(&answer.json()["workers"][0]["preload"]));
    answer.json()["workers"][0]["preload"].clone()
}

fn has(list: &Value, name: &str) -> bool {
    list.as_array().unwrap().iter().any(|one| one == name || one["module"] == name)
}

#[test]
fn what_one_job_imports_no_later_one_does() {
    for rq in [Rq::One, Rq::Three] {
        let modules = Modules::new(&[("reports", "import wave\n")]);
        let mut ground = Ground::new(rq);
        let mut run = modules.run(&ground, &["--slots", "2"]);
        let zygote = run_one(&mut ground, "reports", &mut run)[1];
        let learned = preload(&mut run, |preload| has(&preload["modules"], "reports"));
        assert_eq!((&learned["mode"], &learned["left_out"]), (&json!("learned"), &json!([])), "{rq:?}");
        assert!(!has(&learned["modules"], "wave"), "it came along: {learned}");
        let imports = modules.imports("reports");
        for _ in 0..6 {
            assert_eq!(run_one(&mut ground, "reports", &mut run)[1], zygote, "no other process was started");
        }
        assert_eq!(modules.imports("reports"), imports, "{rq:?}");
        // The next process has it from its start.
        run.signal(Signal::HUP);
        ground.wait("the new process", &mut run, |_, run| run.log().matches("is ready to fork").count() == 2);
        let renewed = |ground: &mut Ground, run: &mut Run| run_one(ground, "reports", run)[1] != zygote;
        while !renewed(&mut ground, &mut run) {}
        let imports = modules.imports("reports");
        run_one(&mut ground, "reports", &mut run);
        assert_eq!(modules.imports("reports"), imports, "{rq:?}");
        run.signal(Signal::TERM);
        assert!(run.ended().success(), "{}", run.log());
    }
}

#[test]
fn modules_that_bring_more_than_code_are_left_out_and_named() {
    for rq in [Rq::One, Rq::Three] {
        let modules = Modules::new(&[
            ("innocent", ""),
            (
                "reporter",
                "import innocent, threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='ticker').start()\n",
            ),
            (
                "caller",
                "import redis\nconnection = redis.Redis.from_url(os.environ['APP_REDIS'])\nconnection.ping()\n",
            ),
            ("moody", "if os.environ.get('RQ_JOB_ID') is None: raise ValueError('no job')\n"),
            ("violent", "if os.environ.get('RQ_JOB_ID') is None: os.abort()\n"),
        ]);
        let mut ground = Ground::new(rq);
        let mut run = modules.run(&ground, &[]);
        let harmful = ["reporter", "caller", "moody", "violent"];
        let zygote = run_one(&mut ground, "reporter", &mut run)[1];
        for module in harmful {
            run_one(&mut ground, module, &mut run);
        }
        let all = |preload: &Value| harmful.iter().all(|module| has(&preload["left_out"], module));
        let learned = preload(&mut run, all);
        assert!(has(&learned["modules"], "innocent"), "{learned}");
        let reason = |module: &str| {
            let mut left_out = learned["left_out"].as_array().unwrap().iter();
            left_out.find(|one| one["module"] == module).unwrap()["reason"].as_str().unwrap().to_owned()
        };
        assert_eq!(reason("reporter"), "it starts threads: ticker");
        assert!(reason("caller").starts_with("it opens connections: /"), "{learned}");
        assert_eq!(reason("moody"), "ValueError: no job");
        assert!(reason("violent").contains("SIGABRT"), "{learned}");
        let (imports, innocent) = (modules.imports("reporter"), modules.imports("innocent"));
        for _ in 0..2 {
            assert_eq!(run_one(&mut ground, "reporter", &mut run)[1], zygote);
        }
        assert_eq!(modules.imports("reporter"), imports + 2, "the jobs import it by themselves");
        assert_eq!(modules.imports("innocent"), innocent, "but not what came along with it");
        let log = run.log();
        for module in harmful {
            let names = |line: &&str| line.contains("not imported ahead of jobs") && line.contains(module);
            assert_eq!(log.lines().filter(names).count(), 1, "{log}");
        }
        assert!(!log.contains("threads run in the python worker's process"), "{log}");
    }
}

#[test]
fn a_list_is_imported_at_the_start_and_off_imports_nothing() {
    let modules = Modules::new(&[("reports", ""), ("broken", "import nothing_of_this_name\n")]);
    let mut ground = Ground::new(Rq::Three);
    let mut run = modules.run(&ground, &["--set", "python.preload=reports,broken"]);
    run_one(&mut ground, "reports", &mut run);
    run_one(&mut ground, "reports", &mut run);
    assert_eq!(modules.imports("reports"), 1);
    let listed = preload(&mut run, |_| true);
    assert_eq!((&listed["mode"], &listed["modules"]), (&json!("list"), &json!(["reports"])));
    let error = "ModuleNotFoundError: No module named 'nothing_of_this_name'";
    assert_eq!(listed["left_out"], json!([{ "module": "broken", "reason": error }]));
    let warning = |line: &&str| line.contains("broken") && line.contains(error);
    assert_eq!(run.log().lines().filter(warning).count(), 1, "{}", run.log());
    drop(run);

    let mut run = modules.run(&ground, &["--set", "python.preload=off"]);
    for _ in 0..3 {
        run_one(&mut ground, "reports", &mut run);
    }
    assert_eq!(modules.imports("reports"), 1 + 3);
    assert_eq!(preload(&mut run, |_| true), json!({ "mode": "off", "modules": [], "left_out": [] }));
}

#[test]
fn doctor_names_what_a_fork_does_not_bear_and_keeps_the_worker_s_lines_to_itself() {
    for rq in [Rq::One, Rq::Two, Rq::Three] {
        let modules = Modules::new(&[
            ("grpc", ""),
            (
                "settings_of_shop",
                "import grpc, redis, threading\n\
              threading.Thread(target=threading.Event().wait, daemon=True, name='ticker').start()\n\
              other = redis.Redis.from_url(os.environ['APP_REDIS'])\nother.ping()\n",
            ),
        ]);
        let ground = Ground::new(rq);
        let examined = |command: &[String], options: &[&str]| {
            let mut doctor = Command::new(env!("CARGO_BIN_EXE_tikkun"));
            doctor.env("PYTHONPATH", modules.path()).env("APP_REDIS", ground.url());
            let ended =
                doctor.args(["--json", "doctor"]).args(options).arg("--").args(command).output().unwrap();
            let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
            (ended.status.code(), told["findings"].clone(), String::from_utf8(ended.stderr).unwrap())
        };
        let code = format!(
            "import settings_of_shop\nfrom redis import Redis\nfrom rq import Queue, Worker\n\
             class Own(Worker):\n    def kill_horse(self, *a): pass\n\
             c = Redis(unix_socket_path={:?})\nOwn([Queue('default', connection=c)], connection=c).work()",
            ground.redis.socket()
        );
        let (status, findings, log) = examined(&ground.command(&["python", "-c", &code]), &[]);
        let what = |code: &str| {
            let found = findings.as_array().unwrap().iter().find(|finding| finding["code"] == code);
            found.unwrap_or_else(|| panic!("no {code} in {findings}"))["what"].as_str().unwrap().to_owned()
        };
        assert_eq!(status, Some(1));
        assert!(what("python_overrides").ends_with("kill_horse"), "{findings}");
        assert!(what("python_threads").ends_with(": ticker"), "{findings}");
        let peer = ground.redis.socket().display().to_string();
        assert!(what("python_connections").ends_with(&peer), "{findings}");
        assert!(what("python_library").starts_with("grpc is loaded"), "{findings}");
        assert_eq!(findings.as_array().unwrap().len(), 4, "{findings}");
        let way_out = "python.start = \"spawn\"";
        let named = |finding: &&Value| finding["to_do"].as_str().unwrap().contains(way_out);
        assert_eq!(findings.as_array().unwrap().iter().filter(named).count(), 3, "{findings}");
        assert_eq!(log, "");
        let spawned = ["--set", "python.start=spawn"];
        let (_, findings, _) = examined(&ground.command(&["python", "-c", &code]), &spawned);
        assert_eq!(findings.as_array().unwrap().len(), 1, "nothing is forked: {findings}");
        let (status, findings, log) = examined(&ground.worker(&["default"]), &[]);
        assert_eq!((status, findings, log.as_str()), (Some(0), json!([]), ""), "{rq:?}");
    }
}

#[test]
fn doctor_says_why_a_command_has_no_worker() {
    let ground = Ground::new(Rq::Three);
    let old = "import sys, rq.version\nrq.version.VERSION = '4.0'\nfrom redis import Redis\nfrom rq import Worker\n\
               Worker(['default'], connection=Redis(unix_socket_path=sys.argv[1])).work()";
    let socket = ground.redis.socket().display().to_string();
    let words = |words: &[&str]| ground.command(words);
    let table = [
        (
            vec!["no-such-python".to_owned(), "worker.py".to_owned()],
            "python_start",
            "cannot start `no-such-python`",
        ),
        (
            words(&["python", "-c", "import nothing_of_this_name"]),
            "python_start",
            "No module named 'nothing_of_this_name'",
        ),
        (words(&["python", "-c", old, &socket]), "python_start", "rq 4.0 is outside the range"),
    ];
    for (command, code, expected) in table {
        let doctor = Command::new(env!("CARGO_BIN_EXE_tikkun"))
            .args(["--json", "doctor", "--"])
            .args(&command)
            .output();
        let ended = doctor.unwrap();
        let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
        let finding = &told["findings"][0];
        assert_eq!((ended.status.code(), &finding["code"]), (Some(1), &json!(code)), "{told}");
        assert!(finding["what"].as_str().unwrap().contains(expected), "{told}");
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    }
    let list = ["--json", "--set", "python.preload=nothing_of_this_name", "doctor", "--"];
    let ended = Command::new(env!("CARGO_BIN_EXE_tikkun"))
        .args(list)
        .args(ground.worker(&["default"]))
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(told["findings"][0]["code"], "python_preload", "{told}");
    assert!(told["findings"][0]["what"].as_str().unwrap().contains("nothing_of_this_name"), "{told}");
}
