//! The command line, run as people and programs run it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tikkun::job::background::DELETE_RECEIPTS_ALL;
use tikkun::job::{BackgroundJobId, BusinessId};
use tikkun::store::{
    Coverage, NewRequest, Person, PersonMove, Requested, Schema, Store, TrialReceipt, open_sqlite,
    open_sqlite_trial,
};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A working folder of its own, with its data in `data`.
struct Desk {
    folder: TempDir,
}

struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Answer {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Ends with this code, and says all of these on standard error.
    #[track_caller]
    fn refuses(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no `{word}` in: {}", self.err);
        }
    }
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        command.env_clear().env("TIKKUN_HTTP__PORT", "0").current_dir(self.folder.path()).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.run_with(args, &[])
    }

    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Answer {
        let ended = self.command(args).envs(env.iter().copied()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer { code: ended.status.code().unwrap(), out: text(ended.stdout), err: text(ended.stderr) }
    }

    fn tables(&self) -> PathBuf {
        self.folder.path().join("data/tikkun.db")
    }

    /// Makes the data folder, with nothing in the queue that runs.
    fn with_data(self) -> Self {
        self.run(&["enqueue", "warm_up", "--id", "warm-up", "--queue", "nobody"]).ok();
        self
    }

    /// A background job of business 789 over `receipts` receipts, queued.
    async fn background_job(&self, receipts: i64) -> (Store, BackgroundJobId) {
        let store = open_sqlite(&self.tables(), Schema::Migrate).await.unwrap();
        let trial = open_sqlite_trial(&self.tables()).await.unwrap();
        let rows: Vec<TrialReceipt> = (1..=receipts)
            .map(|id| TrialReceipt {
                id: Some(id),
                business_id: 789,
                attachment_id: None,
                preview_attachment_id: None,
                label: "t",
            })
            .collect();
        assert_eq!(trial.insert_receipts(&rows).await.unwrap(), receipts.unsigned_abs());
        let request = NewRequest {
            business_id: BusinessId(789),
            user_id: Some(5),
            job_type: DELETE_RECEIPTS_ALL.to_owned(),
            queue_job: "carrier".into(),
            covers: Coverage::Everything,
        };
        match store.background_jobs.request(&request).await.unwrap() {
            Requested::Created(job) => (store, job.id),
            other => panic!("{other:?}"),
        }
    }

    /// Starts the service on any free port.
    fn serve(&self) -> Served {
        let mut child = self.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serves = lines.find_map(|line| line.ok().filter(|line| line.contains("tikkun serves"))).unwrap();
        let address = serves.split("address=\"").nth(1).unwrap().trim_end_matches('"').to_owned();
        // Somebody must go on reading, or the service blocks on a full pipe.
        let log = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        Served { child, address, log: Some(log) }
    }

    /// Waits until `jobs show` says so of a job.
    #[track_caller]
    fn until(&self, id: &str, good: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let job = self.run(&["jobs", "show", id, "--json"]).json();
            if good(&job) {
                return job;
            }
            assert!(Instant::now() < end, "waited in vain; {id} is {job:#}");
        }
    }
}

struct Served {
    child: Child,
    address: String,
    log: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Served {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as an orchestrator does.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        self.signal(Signal::TERM);
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the whole ----

#[test]
fn help_says_the_exit_codes() {
    let help = Desk::new().run(&["--help"]).ok();
    for word in ["demo", "serve", "enqueue", "jobs", "watch", "health", "config", "Exit codes", "70"] {
        assert!(help.contains(word), "no `{word}` in: {help}");
    }
}

#[test]
fn nonsense_on_the_command_line_is_a_usage_error() {
    let desk = Desk::new();
    for args in [
        &["frobnicate"][..],
        &["enqueue"],
        &["enqueue", ""],
        &["enqueue", "f", "--queue", "a,b"],
        &["enqueue", "f", "--timeout", "0s"],
        &["enqueue", "f", "--timeout", "soon"],
        &["enqueue", "f", "--delay", "10"],
        &["enqueue", "f", "--retry-interval", "10s"],
        &["enqueue", "f", "--named", "x"],
        &["enqueue", "f", "--named", "x=1", "--named", "x=2"],
        &["jobs", "list", "--state", "asleep"],
        &["jobs", "list", "--limit", "0"],
        &["watch", "seven"],
        &["watch", "7", "--every", "0s"],
        &["health", "--url", "ftp://here"],
        &["health", "--timeout", "0s"],
        &["health"],
    ] {
        desk.run(args).refuses(2, &[]);
    }
    desk.run(&["enqueue", "f", "--timeout", "soon"]).refuses(2, &["--timeout", "soon", "never", "30s"]);
}

#[test]
fn a_wrong_configuration_is_named_by_key_and_value() {
    let desk = Desk::new();
    std::fs::write(desk.folder.path().join("tikkun.toml"), "[deletion]\nbach = 5\nthrottle = \"soon\"\n")
        .unwrap();
    desk.run(&["config"])
        .refuses(2, &["deletion.bach", "deletion.batch", "deletion.throttle", "`soon`", "200ms"]);
}

#[test]
fn a_data_folder_that_is_a_file_is_named() {
    let desk = Desk::new();
    std::fs::write(desk.folder.path().join("data"), "").unwrap();
    desk.run(&["enqueue", "f"]).refuses(1, &["the queue", "data"]);
    desk.run(&["serve"]).refuses(1, &["the queue", "data"]);
}

#[test]
fn looking_makes_no_data_folder() {
    let desk = Desk::new();
    for args in [&["jobs", "list"][..], &["jobs", "show", "x"], &["jobs", "cancel", "x"], &["watch", "1"]] {
        desk.run(args).refuses(1, &["data/queue.db", "--data", "tikkun serve"]);
    }
    assert!(!desk.folder.path().join("data").exists());
}

// ---- config ----

#[test]
fn config_tells_value_and_origin_and_hides_secrets() {
    let desk = Desk::new();
    let secret = "a-very-secret-secret-of-32-letters";
    let env = [("INTERNAL_SECRET", secret), ("LOG_LEVEL", "DEBUG")];
    let args = ["config", "--set", "deletion.batch=77"];
    let plain = desk.run_with(&args, &env);
    assert!(!plain.out.contains(secret) && !plain.err.contains(secret));
    let row = |key: &str| plain.out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert_eq!(
        row("deletion.batch ").split_whitespace().collect::<Vec<_>>(),
        ["deletion.batch", "77", "flag"]
    );
    assert!(row("http.internal_secret").contains("***"));
    let json = desk.run_with(&[&args[..], &["--json"]].concat(), &env).json();
    let entry =
        |key: &str| json.as_array().unwrap().iter().find(|entry| entry["key"] == key).unwrap().clone();
    assert_eq!(
        entry("log.level"),
        json!({ "key": "log.level", "value": "debug", "origin": "env LOG_LEVEL" })
    );
    assert_eq!(entry("http.internal_secret")["value"], "***");
}

#[test]
fn warnings_of_the_configuration_go_to_standard_error() {
    let answer = Desk::new().run_with(&["config", "--json"], &[("RQ_QUEUES", "high,high")]);
    assert!(answer.err.contains("warning") && answer.err.contains("maintenance"), "{}", answer.err);
    answer.json();
}

// ---- enqueue, list, show, cancel ----

#[test]
fn enqueued_job_is_listed_and_shown_as_it_was_given() {
    let desk = Desk::new();
    let answer = desk.run(&[
        "enqueue",
        "shop.send",
        "27",
        "Dana's",
        "[1,2]",
        "--named",
        "urgent=true",
        "--named",
        "to=x y",
        "--queue",
        "mail",
        "--timeout",
        "30m",
        "--result-ttl",
        "never",
        "--retries",
        "2",
        "--retry-interval",
        "10s,30s",
    ]);
    assert!(answer.err.contains("no live process listens to queue `mail`"), "{}", answer.err);
    let id = answer.ok().trim().to_owned();
    let job = desk.run(&["jobs", "show", &id, "--json"]).json();
    let args = json!({ "positional": [27, "Dana's", [1, 2]], "named": { "urgent": true, "to": "x y" } });
    assert_eq!(job["args"], args);
    assert_eq!(
        (&job["queue"], &job["function"], &job["state"]),
        (&json!("mail"), &json!("shop.send"), &json!("queued"))
    );
    assert_eq!((&job["timeout_seconds"], &job["result_ttl_seconds"]), (&json!(1800.0), &json!(-1)));
    assert_eq!((&job["retries_left"], &job["failure_ttl_seconds"]), (&json!(2), &Value::Null));
    let list = desk.run(&["jobs", "list", "--queue", "mail"]).ok();
    assert!(list.starts_with("ID ") && list.contains(&id) && list.contains("shop.send(27"), "{list}");
    assert!(desk.run(&["jobs", "show", &id]).ok().contains("shop.send"));
}

#[test]
fn list_is_filtered_and_newest_first() {
    let desk = Desk::new();
    for (id, function) in [("a", "f"), ("b", "g"), ("c", "f")] {
        desk.run(&["enqueue", function, "--id", id]).ok();
    }
    desk.run(&["enqueue", "f", "--id", "later", "--delay", "1h"]).ok();
    let ids = |args: &[&str]| {
        let list = desk.run(&[&["jobs", "list", "--json"], args].concat()).json();
        let id = |job: &Value| job["id"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), ["later", "c", "b", "a"]);
    assert_eq!(ids(&["--function", "f", "--state", "queued"]), ["c", "a"]);
    assert_eq!(ids(&["--state", "scheduled"]), ["later"]);
    assert_eq!(ids(&["--limit", "1"]), ["later"]);
    assert_eq!(ids(&["--queue", "none"]), Vec::<String>::new());
    let none = desk.run(&["jobs", "list", "--queue", "none"]);
    assert!(none.out.is_empty() && none.err.contains("no job matches"));
}

#[test]
fn the_deletion_has_its_own_queue_and_other_functions_the_default_one() {
    let desk = Desk::new();
    let queue = |function: &str| {
        let told = desk.run(&["enqueue", function, "1", "--json"]).json();
        told["queue"].as_str().unwrap().to_owned()
    };
    assert_eq!(queue("delete_receipts_batch_job"), "maintenance");
    assert_eq!(queue("server.jobs.delete_receipts_job.delete_receipts_batch_job"), "maintenance");
    assert_eq!(queue("other.delete_receipts_batch_job"), "default");
}

#[test]
fn an_id_that_exists_is_refused_and_the_job_left_alone() {
    let desk = Desk::new();
    desk.run(&["enqueue", "f", "1", "--id", "x"]).ok();
    desk.run(&["enqueue", "g", "2", "--id", "x"]).refuses(1, &["`x` exists", "jobs show x"]);
    assert_eq!(desk.run(&["jobs", "show", "x", "--json"]).json()["function"], "f");
}

#[test]
fn unknown_ids_are_named() {
    let desk = Desk::new().with_data();
    for verb in ["show", "cancel", "retry", "failed-rows"] {
        desk.run(&["jobs", verb, "nobody"]).refuses(1, &["no job `nobody`", "jobs list"]);
        desk.run(&["jobs", verb, "27"]).refuses(1, &["no background job 27", "jobs list"]);
    }
    desk.run(&["watch", "27"]).refuses(1, &["no background job 27"]);
}

#[test]
fn a_waiting_job_is_taken_out_once() {
    let desk = Desk::new();
    desk.run(&["enqueue", "f", "--id", "x"]).ok();
    let told = desk.run(&["jobs", "cancel", "x", "--json"]).json();
    assert_eq!(told, json!({ "id": "x", "state": "canceled" }));
    desk.run(&["jobs", "cancel", "x"]).refuses(1, &["`x` is canceled", "queued or scheduled"]);
}

#[test]
fn what_was_taken_out_waits_again_when_it_is_retried() {
    let desk = Desk::new();
    for (id, queue) in [("a", "mail"), ("b", "mail"), ("c", "low")] {
        desk.run(&["enqueue", "f", "--id", id, "--queue", queue]).ok();
    }
    desk.run(&["jobs", "retry", "a"]).refuses(1, &["`a` is queued", "failed or canceled"]);
    let told = desk.run(&["jobs", "cancel", "--queue", "mail", "--json"]).json();
    assert_eq!(told, json!([{ "id": "b", "state": "canceled" }, { "id": "a", "state": "canceled" }]));
    let told = desk.run(&["jobs", "retry", "a", "--json"]).json();
    assert_eq!(told, json!({ "id": "a", "state": "queued" }));
    let left = desk.run(&["jobs", "retry", "--state", "canceled", "--function", "f"]).ok();
    assert_eq!(left, "b is queued\n");
    let none = desk.run(&["jobs", "retry", "--queue", "mail"]);
    assert!(none.err.contains("no job matches"), "{}", none.err);
    none.ok();
    let some = desk.run(&["jobs", "cancel", "a", "nobody", "c"]);
    assert!(some.out.contains("a is canceled") && some.out.contains("c is canceled"), "{}", some.out);
    some.refuses(1, &["no job `nobody`"]);
}

#[test]
fn changing_many_jobs_wants_to_be_told_which() {
    let desk = Desk::new().with_data();
    for verb in ["retry", "cancel"] {
        desk.run(&["jobs", verb]).refuses(2, &["which jobs", "--queue"]);
        desk.run(&["jobs", verb, "--limit", "5"]).refuses(2, &["which jobs"]);
        desk.run(&["jobs", verb, "x", "--queue", "mail"]).refuses(2, &["not both"]);
    }
    desk.run(&["jobs", "retry", "--failed-rows", "--queue", "mail"])
        .refuses(2, &["jobs retry 27 --failed-rows"]);
}

#[test]
fn what_a_stranger_calls_a_job_cannot_steer_the_terminal() {
    let desk = Desk::new();
    desk.run(&["enqueue", "f", "\u{1b}[2J\nforged", "--id", "x"]).ok();
    for args in [&["jobs", "list"][..], &["jobs", "show", "x"]] {
        let out = desk.run(args).ok();
        assert!(!out.contains('\u{1b}') && !out.lines().any(|line| line.starts_with("forged")), "{out:?}");
    }
}

// ---- queues ----

#[test]
fn queues_are_listed_paused_once_and_resumed_once() {
    let desk = Desk::new().with_data();
    let changed = |verb: &str| {
        let told = desk.run(&["queues", verb, "nobody", "--json"]).json();
        assert_eq!((&told["queue"], &told["paused"]), (&json!("nobody"), &json!(verb == "pause")));
        told["changed"].as_bool().unwrap()
    };
    let listed = || {
        let list = desk.run(&["queues", "list", "--json"]).json();
        list.as_array().unwrap().iter().find(|queue| queue["queue"] == "nobody").unwrap().clone()
    };
    assert_eq!((&listed()["jobs"]["queued"], &listed()["paused"]), (&json!(1), &json!(false)));
    assert!(changed("pause") && !changed("pause"), "the second run changes nothing");
    assert_eq!((&listed()["paused"], &listed()["paused_by"]), (&json!(true), &json!("cli")));
    assert!(desk.run(&["queues", "list"]).ok().contains("by cli since 20"));
    assert!(desk.run(&["queues", "pause", "nobody"]).ok().contains("paused already, by cli"));
    assert!(changed("resume") && !changed("resume"), "the second run changes nothing");
    for verb in ["pause", "resume"] {
        let slip = desk.run(&["queues", verb, "maintenence"]);
        slip.refuses(1, &["no queue `maintenence`", "did you mean `maintenance`", "queues list"]);
    }
    desk.run(&["queues", "pause", ""]).refuses(2, &[]);
}

// ---- the record of changes ----

#[test]
fn a_change_by_a_command_leaves_the_line_that_one_by_http_does() {
    let desk = Desk::new();
    let audit = |args: &[&str]| {
        let answer = desk.run_with(args, &[("TIKKUN_LOG__FORMAT", "json")]);
        assert!(!answer.out.contains("audit"), "{}", answer.out);
        let lines = answer.err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<_> = lines.filter(|line| line["target"] == "tikkun::audit").collect();
        lines
    };
    let changes: [(&[&str], &str, &str, i32); 9] = [
        (&["enqueue", "f", "secret", "--id", "x"], "command line", "enqueue f --queue default --id x", 0),
        (&["enqueue", "f", "--id", "x"], "command line", "enqueue f --queue default --id x", 1),
        (&["queues", "pause", "default"], "cli", "queues pause default", 0),
        (&["queues", "resume", "defualt"], "cli", "queues resume defualt", 1),
        (&["jobs", "cancel", "x", "y z"], "command line", "jobs cancel x 'y z'", 1),
        (&["jobs", "retry", "27", "--failed-rows"], "command line", "jobs retry 27 --failed-rows", 1),
        (&["outbox", "park", "7", "8"], "command line", "outbox park 7 8", 1),
        (&["outbox", "unpark", "--all"], "command line", "outbox unpark --all", 0),
        (&["outbox", "drain"], "command line", "outbox drain", 0),
    ];
    for (args, who, what, status) in changes {
        let lines = audit(args);
        assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
        let line = &lines[0];
        assert_eq!((&line["who"], &line["what"]), (&json!(who), &json!(what)), "{line}");
        assert_eq!((&line["message"], &line["status"]), (&json!("change"), &json!(status)), "{line}");
        assert!(!line.to_string().contains("secret"), "{line}");
    }
    let many = audit(&["jobs", "retry", "--state", "canceled"]);
    assert_eq!(many.len(), 2, "{many:?}");
    assert_eq!((&many[0]["message"], &many[0]["action"]), (&json!("bulk change"), &json!("retry")));
    assert!(many[0]["jobs"].to_string().contains('x') && many[0]["who"] == "command line", "{many:?}");
    assert_eq!(many[1]["what"], "jobs retry --state canceled");
    for looks in [&["jobs", "list"][..], &["queues", "list"], &["outbox", "list"], &["jobs", "show", "x"]] {
        assert_eq!(audit(looks), Vec::<Value>::new(), "{looks:?}");
    }
}

// ---- background jobs ----

#[tokio::test]
async fn plan_tells_what_would_go_and_touches_nothing() {
    let desk = Desk::new().with_data();
    let (store, _) = desk.background_job(120).await;
    let plan = desk.run(&["plan", "789", "--json"]).json();
    assert_eq!((&plan["business_id"], &plan["receipts"]), (&json!(789), &json!(120)), "{plan}");
    assert_eq!((&plan["estimate"]["batches"], &plan["kept"]), (&json!(3), &json!([])), "{plan}");
    let told = desk.run(&["plan", "789"]).ok();
    assert!(told.contains("receipts to delete") && told.contains("120"), "{told}");
    assert_eq!(store.receipts.count_live(BusinessId(789)).await.unwrap(), 120);
    desk.run(&["plan", "all"]).refuses(2, &["invalid value"]);
}

#[tokio::test]
async fn a_background_job_is_shown_with_its_entry_and_cancelled_once_by_the_tracker() {
    let desk = Desk::new().with_data();
    let (store, id) = desk.background_job(3).await;
    let number = id.to_string();
    desk.run(&["enqueue", "delete_receipts_batch_job", &number, "--id", "carrier"]).ok();
    let shown = desk.run(&["jobs", "show", &number, "--json"]).json();
    assert_eq!(
        (&shown["status"], &shown["total"], &shown["business_id"]),
        (&json!("queued"), &json!(3), &json!(789))
    );
    assert_eq!(shown["queue_entry"]["id"], "carrier");
    let plain = desk.run(&["jobs", "show", &number]).ok();
    assert!(plain.contains("in its queue:") && plain.contains("carrier"), "{plain}");
    desk.run(&["jobs", "cancel", "carrier"])
        .refuses(1, &["carries deletion", "enqueued anew", "jobs cancel 1"]);
    assert!(desk.run(&["jobs", "cancel", &number]).ok().contains("cancelled"));
    let row = store.background_jobs.get(id).await.unwrap().unwrap();
    assert_eq!(row.note.changed_by.as_deref(), Some("command line"));
    assert!(row.finished_at.is_some());
    desk.run(&["jobs", "cancel", &number]).refuses(1, &["is cancelled", "queued, running or paused"]);
    desk.run(&["watch", &number]).refuses(1, &["was cancelled"]);
}

#[tokio::test]
async fn watch_says_why_a_job_waits() {
    let desk = Desk::new().with_data();
    let (store, id) = desk.background_job(3).await;
    let person = Person {
        id,
        business_id: BusinessId(789),
        wish: PersonMove::Pause,
        by: "user 5".into(),
        queue_job: None,
    };
    store.background_jobs.person(&person).await.unwrap().unwrap().unwrap();
    let mut watch = desk.command(&["watch", "1", "--every", "20ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "paused 0/3 (0.0%), paused by user 5; goes on when it is resumed"
    );
    let resume = Person { wish: PersonMove::Resume, queue_job: Some("again".into()), ..person.clone() };
    store.background_jobs.person(&resume).await.unwrap().unwrap().unwrap();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "queued 0/3 (0.0%), waits: no live process listens to queue `maintenance`"
    );
    let cancel = Person { wish: PersonMove::Cancel, ..person };
    store.background_jobs.person(&cancel).await.unwrap().unwrap().unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "cancelled 0/3 (0.0%)");
    assert_eq!(watch.wait().unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_cancelled_deletion_is_retried_as_a_request_for_what_it_left() {
    let desk = Desk::new().with_data();
    let (store, id) = desk.background_job(3).await;
    let number = id.to_string();
    desk.run(&["jobs", "retry", &number]).refuses(1, &["is queued", "--failed-rows"]);
    desk.run(&["jobs", "retry", &number, "--failed-rows"]).refuses(1, &["is queued", "once it has ended"]);
    desk.run(&["jobs", "cancel", &number]).ok();
    desk.run(&["jobs", "retry", &number, "--failed-rows"]).refuses(1, &["left nothing to delete"]);
    let told = desk.run(&["jobs", "retry", &number, "--json"]).json();
    assert_eq!(told, json!({ "id": 1, "retried_as": 2, "state": "queued", "total": 3 }));
    desk.run(&["jobs", "retry", &number]).refuses(1, &["background job 2 of the same business is queued"]);
    let shown = desk.run(&["jobs", "show", "2", "--json"]).json();
    assert_eq!(shown["queue_entry"]["state"], "queued", "{shown}");
    let carrier = shown["queue_entry"]["id"].as_str().unwrap().to_owned();
    desk.run(&["jobs", "retry", &carrier]).refuses(1, &["carries deletion 2", "enqueued anew by itself"]);
    assert!(desk.run(&["jobs", "failed-rows", "1"]).err.contains("left no receipt behind"));
    assert_eq!(store.receipts.count_live(BusinessId(789)).await.unwrap(), 3);
}

// ---- with a running service ----

#[tokio::test]
async fn watch_follows_a_deletion_to_its_end() {
    let desk = Desk::new().with_data();
    let (_store, id) = desk.background_job(120).await;
    let served = desk.serve();
    desk.run(&["enqueue", "delete_receipts_batch_job", &id.to_string(), "--id", "carrier"]).ok();
    let lines = desk.run(&["watch", &id.to_string(), "--every", "20ms", "--json"]).ok();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["succeeded"]), (&json!("completed"), &json!(120)));
    desk.run(&["watch", &id.to_string()]).ok();
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log:#?}");
}

#[test]
fn an_unknown_function_is_accepted_and_fails_when_it_is_run() {
    let desk = Desk::new();
    let served = desk.serve();
    desk.until_listening();
    let told = desk.run(&["enqueue", "no.such_function", "1", "--id", "x"]);
    assert!(!told.err.contains("warning"), "{}", told.err);
    told.ok();
    let job = desk.until("x", |job| job["state"] == "failed");
    assert!(job["error"].as_str().unwrap().contains("no.such_function"), "{job:#}");
    desk.run(&["jobs", "cancel", "x"]).refuses(1, &["`x` is failed"]);
    assert_eq!(served.end().0, Some(0));
}

#[test]
fn health_says_yes_only_while_the_service_is_well() {
    let desk = Desk::new();
    let served = desk.serve();
    let url = format!("http://{}/", served.address);
    assert_eq!(desk.run(&["health", "--url", &url]).ok(), "alive\n");
    let port = format!("http.port={}", served.address.rsplit(':').next().unwrap());
    desk.run(&["health", "--set", &port]).ok();
    desk.until_listening();
    let told = desk.run(&["health", "--url", &url, "--probe", "startup", "--json"]).json();
    assert_eq!(
        (&told["ok"], &told["status"], &told["body"]["status"]),
        (&json!(true), &json!(200), &json!("started"))
    );
    desk.run(&["health", "--url", &format!("{url}nowhere")]).refuses(1, &["404", "expected 200"]);
    assert_eq!(served.end().0, Some(0));
    desk.run(&["health", "--url", &url]).refuses(1, &["no answer", &url[..url.len() - 1], "tikkun serve"]);
}

#[test]
fn health_does_not_wait_for_ever() {
    let desk = Desk::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    desk.run(&["health", "--url", &url, "--timeout", "100ms"]).refuses(1, &["no answer", &url]);
}

impl Desk {
    /// Waits until a live process listens to the default queue.
    #[track_caller]
    fn until_listening(&self) {
        let end = Instant::now() + PATIENCE;
        let mut number = 0;
        loop {
            number += 1;
            let probe = format!("probe-{number}");
            let told = self.run(&["enqueue", "probe", "--id", &probe, "--delay", "1day"]);
            if !told.err.contains("warning") {
                return;
            }
            assert!(Instant::now() < end, "nobody listens: {}", told.err);
        }
    }
}
