//! What commands answer, as people and programs run them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use tikkun::job::BusinessId;
use tikkun::store::{Person, PersonMove};

use super::working_folder::WorkingFolder;

// ---- the whole ----

#[test]
fn help_says_the_exit_codes() {
    let help = WorkingFolder::new().run(&["--help"]).ok();
    for word in ["demo", "serve", "enqueue", "jobs", "watch", "health", "config", "Exit codes", "70"] {
        assert!(help.contains(word), "no `{word}` in: {help}");
    }
}

#[test]
fn nonsense_on_the_command_line_is_a_usage_error() {
    let folder = WorkingFolder::new();
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
        folder.run(args).refuses(2, &[]);
    }
    folder.run(&["enqueue", "f", "--timeout", "soon"]).refuses(2, &["--timeout", "soon", "never", "30s"]);
}

#[test]
fn a_wrong_configuration_is_named_by_key_and_value() {
    let folder = WorkingFolder::new();
    std::fs::write(folder.path().join("tikkun.toml"), "[deletion]\nbach = 5\nthrottle = \"soon\"\n").unwrap();
    folder
        .run(&["config"])
        .refuses(2, &["deletion.bach", "deletion.batch", "deletion.throttle", "`soon`", "200ms"]);
}

#[test]
fn a_data_folder_that_is_a_file_is_named() {
    let folder = WorkingFolder::new();
    std::fs::write(folder.path().join("data"), "").unwrap();
    folder.run(&["enqueue", "f"]).refuses(1, &["the queue", "data"]);
    folder.run(&["serve"]).refuses(1, &["the queue", "data"]);
}

#[test]
fn looking_makes_no_data_folder() {
    let folder = WorkingFolder::new();
    for args in [&["jobs", "list"][..], &["jobs", "show", "x"], &["jobs", "cancel", "x"], &["watch", "1"]] {
        folder.run(args).refuses(1, &["data/queue.db", "--data", "tikkun serve"]);
    }
    assert!(!folder.path().join("data").exists());
}

// ---- config ----

#[test]
fn config_tells_value_and_origin_and_hides_secrets() {
    let folder = WorkingFolder::new();
    let secret = "a-very-secret-secret-of-32-letters";
    let env = [("INTERNAL_SECRET", secret), ("LOG_LEVEL", "DEBUG")];
    let args = ["config", "--set", "deletion.batch=77"];
    let plain = folder.run_with(&args, &env);
    assert!(!plain.out.contains(secret) && !plain.err.contains(secret));
    let row = |key: &str| plain.out.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert_eq!(
        row("deletion.batch ").split_whitespace().collect::<Vec<_>>(),
        ["deletion.batch", "77", "flag"]
    );
    assert!(row("http.internal_secret").contains("***"));
    let json = folder.run_with(&[&args[..], &["--json"]].concat(), &env).json();
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
    let answer = WorkingFolder::new().run_with(&["config", "--json"], &[("RQ_QUEUES", "high,high")]);
    assert!(answer.err.contains("warning") && answer.err.contains("maintenance"), "{}", answer.err);
    answer.json();
}

// ---- enqueue, list, show, cancel ----

#[test]
fn enqueued_job_is_listed_and_shown_as_it_was_given() {
    let folder = WorkingFolder::new();
    let answer = folder.run(&[
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
    let job = folder.run(&["jobs", "show", &id, "--json"]).json();
    let args = json!({ "positional": [27, "Dana's", [1, 2]], "named": { "urgent": true, "to": "x y" } });
    assert_eq!(job["args"], args);
    assert_eq!(
        (&job["queue"], &job["function"], &job["state"]),
        (&json!("mail"), &json!("shop.send"), &json!("queued"))
    );
    assert_eq!((&job["timeout_seconds"], &job["result_ttl_seconds"]), (&json!(1800.0), &json!(-1)));
    assert_eq!((&job["retries_left"], &job["failure_ttl_seconds"]), (&json!(2), &Value::Null));
    let list = folder.run(&["jobs", "list", "--queue", "mail"]).ok();
    assert!(list.starts_with("ID ") && list.contains(&id) && list.contains("shop.send(27"), "{list}");
    assert!(folder.run(&["jobs", "show", &id]).ok().contains("shop.send"));
}

#[test]
fn list_is_filtered_and_newest_first() {
    let folder = WorkingFolder::new();
    for (id, function) in [("a", "f"), ("b", "g"), ("c", "f")] {
        folder.run(&["enqueue", function, "--id", id]).ok();
    }
    folder.run(&["enqueue", "f", "--id", "later", "--delay", "1h"]).ok();
    let ids = |args: &[&str]| {
        let list = folder.run(&[&["jobs", "list", "--json"], args].concat()).json();
        let id = |job: &Value| job["id"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), ["later", "c", "b", "a"]);
    assert_eq!(ids(&["--function", "f", "--state", "queued"]), ["c", "a"]);
    assert_eq!(ids(&["--state", "scheduled"]), ["later"]);
    assert_eq!(ids(&["--limit", "1"]), ["later"]);
    assert_eq!(ids(&["--queue", "none"]), Vec::<String>::new());
    let none = folder.run(&["jobs", "list", "--queue", "none"]);
    assert!(none.out.is_empty() && none.err.contains("no job matches"));
}

#[test]
fn the_deletion_has_its_own_queue_and_other_functions_the_default_one() {
    let folder = WorkingFolder::new();
    let queue = |function: &str| {
        let told = folder.run(&["enqueue", function, "1", "--json"]).json();
        told["queue"].as_str().unwrap().to_owned()
    };
    assert_eq!(queue("delete_receipts_batch_job"), "maintenance");
    assert_eq!(queue("server.jobs.delete_receipts_job.delete_receipts_batch_job"), "maintenance");
    assert_eq!(queue("other.delete_receipts_batch_job"), "default");
}

#[test]
fn an_id_that_exists_is_refused_and_the_job_left_alone() {
    let folder = WorkingFolder::new();
    folder.run(&["enqueue", "f", "1", "--id", "x"]).ok();
    folder.run(&["enqueue", "g", "2", "--id", "x"]).refuses(1, &["`x` exists", "jobs show x"]);
    assert_eq!(folder.run(&["jobs", "show", "x", "--json"]).json()["function"], "f");
}

#[test]
fn unknown_ids_are_named() {
    let folder = WorkingFolder::with_data();
    for verb in ["show", "cancel", "retry", "failed-rows"] {
        folder.run(&["jobs", verb, "nobody"]).refuses(1, &["no job `nobody`", "jobs list"]);
        folder.run(&["jobs", verb, "27"]).refuses(1, &["no background job 27", "jobs list"]);
    }
    folder.run(&["watch", "27"]).refuses(1, &["no background job 27"]);
}

#[test]
fn a_waiting_job_is_taken_out_once() {
    let folder = WorkingFolder::new();
    folder.run(&["enqueue", "f", "--id", "x"]).ok();
    let told = folder.run(&["jobs", "cancel", "x", "--json"]).json();
    assert_eq!(told, json!({ "id": "x", "state": "canceled" }));
    folder.run(&["jobs", "cancel", "x"]).refuses(1, &["`x` is canceled", "queued or scheduled"]);
}

#[test]
fn what_was_taken_out_waits_again_when_it_is_retried() {
    let folder = WorkingFolder::new();
    for (id, queue) in [("a", "mail"), ("b", "mail"), ("c", "low")] {
        folder.run(&["enqueue", "f", "--id", id, "--queue", queue]).ok();
    }
    folder.run(&["jobs", "retry", "a"]).refuses(1, &["`a` is queued", "failed or canceled"]);
    let told = folder.run(&["jobs", "cancel", "--queue", "mail", "--json"]).json();
    assert_eq!(told, json!([{ "id": "b", "state": "canceled" }, { "id": "a", "state": "canceled" }]));
    let told = folder.run(&["jobs", "retry", "a", "--json"]).json();
    assert_eq!(told, json!({ "id": "a", "state": "queued" }));
    let left = folder.run(&["jobs", "retry", "--state", "canceled", "--function", "f"]).ok();
    assert_eq!(left, "b is queued\n");
    let none = folder.run(&["jobs", "retry", "--queue", "mail"]);
    assert!(none.err.contains("no job matches"), "{}", none.err);
    none.ok();
    let some = folder.run(&["jobs", "cancel", "a", "nobody", "c"]);
    assert!(some.out.contains("a is canceled") && some.out.contains("c is canceled"), "{}", some.out);
    some.refuses(1, &["no job `nobody`"]);
}

#[test]
fn changing_many_jobs_wants_to_be_told_which() {
    let folder = WorkingFolder::with_data();
    for verb in ["retry", "cancel"] {
        folder.run(&["jobs", verb]).refuses(2, &["which jobs", "--queue"]);
        folder.run(&["jobs", verb, "--limit", "5"]).refuses(2, &["which jobs"]);
        folder.run(&["jobs", verb, "x", "--queue", "mail"]).refuses(2, &["not both"]);
    }
    folder
        .run(&["jobs", "retry", "--failed-rows", "--queue", "mail"])
        .refuses(2, &["jobs retry 27 --failed-rows"]);
}

#[test]
fn what_a_stranger_calls_a_job_cannot_steer_the_terminal() {
    let folder = WorkingFolder::new();
    folder.run(&["enqueue", "f", "\u{1b}[2J\nforged", "--id", "x"]).ok();
    for args in [&["jobs", "list"][..], &["jobs", "show", "x"]] {
        let out = folder.run(args).ok();
        assert!(!out.contains('\u{1b}') && !out.lines().any(|line| line.starts_with("forged")), "{out:?}");
    }
}

// ---- queues ----

#[test]
fn queues_are_listed_paused_once_and_resumed_once() {
    let folder = WorkingFolder::with_data();
    let changed = |verb: &str| {
        let told = folder.run(&["queues", verb, "nobody", "--json"]).json();
        assert_eq!((&told["queue"], &told["paused"]), (&json!("nobody"), &json!(verb == "pause")));
        told["changed"].as_bool().unwrap()
    };
    let listed = || {
        let list = folder.run(&["queues", "list", "--json"]).json();
        list.as_array().unwrap().iter().find(|queue| queue["queue"] == "nobody").unwrap().clone()
    };
    assert_eq!((&listed()["jobs"]["queued"], &listed()["paused"]), (&json!(1), &json!(false)));
    assert!(changed("pause") && !changed("pause"), "the second run changes nothing");
    assert_eq!((&listed()["paused"], &listed()["paused_by"]), (&json!(true), &json!("cli")));
    assert!(folder.run(&["queues", "list"]).ok().contains("by cli since 20"));
    assert!(folder.run(&["queues", "pause", "nobody"]).ok().contains("paused already, by cli"));
    assert!(changed("resume") && !changed("resume"), "the second run changes nothing");
    for verb in ["pause", "resume"] {
        let slip = folder.run(&["queues", verb, "maintenence"]);
        slip.refuses(1, &["no queue `maintenence`", "did you mean `maintenance`", "queues list"]);
    }
    folder.run(&["queues", "pause", ""]).refuses(2, &[]);
}

// ---- the record of changes ----

#[test]
fn a_change_by_a_command_leaves_the_line_that_one_by_http_does() {
    let folder = WorkingFolder::new();
    let audit = |args: &[&str]| {
        let answer = folder.run_with(args, &[("TIKKUN_LOG__FORMAT", "json")]);
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
    let folder = WorkingFolder::with_data();
    let (store, _) = folder.background_job(120).await;
    let plan = folder.run(&["plan", "789", "--json"]).json();
    assert_eq!((&plan["business_id"], &plan["receipts"]), (&json!(789), &json!(120)), "{plan}");
    assert_eq!((&plan["estimate"]["batches"], &plan["kept"]), (&json!(3), &json!([])), "{plan}");
    let told = folder.run(&["plan", "789"]).ok();
    assert!(told.contains("receipts to delete") && told.contains("120"), "{told}");
    assert_eq!(store.receipts.count_live(BusinessId(789)).await.unwrap(), 120);
    folder.run(&["plan", "all"]).refuses(2, &["invalid value"]);
}

#[tokio::test]
async fn a_background_job_is_shown_with_its_entry_and_cancelled_once_by_the_tracker() {
    let folder = WorkingFolder::with_data();
    let (store, id) = folder.background_job(3).await;
    let number = id.to_string();
    folder.run(&["enqueue", "delete_receipts_batch_job", &number, "--id", "carrier"]).ok();
    let shown = folder.run(&["jobs", "show", &number, "--json"]).json();
    assert_eq!(
        (&shown["status"], &shown["total"], &shown["business_id"]),
        (&json!("queued"), &json!(3), &json!(789))
    );
    assert_eq!(shown["queue_entry"]["id"], "carrier");
    let plain = folder.run(&["jobs", "show", &number]).ok();
    assert!(plain.contains("in its queue:") && plain.contains("carrier"), "{plain}");
    folder
        .run(&["jobs", "cancel", "carrier"])
        .refuses(1, &["carries deletion", "enqueued anew", "jobs cancel 1"]);
    assert!(folder.run(&["jobs", "cancel", &number]).ok().contains("cancelled"));
    let row = store.background_jobs.get(id).await.unwrap().unwrap();
    assert_eq!(row.note.changed_by.as_deref(), Some("command line"));
    assert!(row.finished_at.is_some());
    folder.run(&["jobs", "cancel", &number]).refuses(1, &["is cancelled", "queued, running or paused"]);
    folder.run(&["watch", &number]).refuses(1, &["was cancelled"]);
}

#[tokio::test]
async fn watch_says_why_a_job_waits() {
    let folder = WorkingFolder::with_data();
    let (store, id) = folder.background_job(3).await;
    let person = Person {
        id,
        business_id: BusinessId(789),
        wish: PersonMove::Pause,
        by: "user 5".into(),
        queue_job: None,
    };
    store.background_jobs.person(&person).await.unwrap().unwrap().unwrap();
    let mut watch =
        folder.command(&["watch", "1", "--every", "20ms"]).stdout(Stdio::piped()).spawn().unwrap();
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
    let folder = WorkingFolder::with_data();
    let (store, id) = folder.background_job(3).await;
    let number = id.to_string();
    folder.run(&["jobs", "retry", &number]).refuses(1, &["is queued", "--failed-rows"]);
    folder.run(&["jobs", "retry", &number, "--failed-rows"]).refuses(1, &["is queued", "once it has ended"]);
    folder.run(&["jobs", "cancel", &number]).ok();
    folder.run(&["jobs", "retry", &number, "--failed-rows"]).refuses(1, &["left nothing to delete"]);
    let told = folder.run(&["jobs", "retry", &number, "--json"]).json();
    assert_eq!(told, json!({ "id": 1, "retried_as": 2, "state": "queued", "total": 3 }));
    folder.run(&["jobs", "retry", &number]).refuses(1, &["background job 2 of the same business is queued"]);
    let shown = folder.run(&["jobs", "show", "2", "--json"]).json();
    assert_eq!(shown["queue_entry"]["state"], "queued", "{shown}");
    let carrier = shown["queue_entry"]["id"].as_str().unwrap().to_owned();
    folder.run(&["jobs", "retry", &carrier]).refuses(1, &["carries deletion 2", "enqueued anew by itself"]);
    assert!(folder.run(&["jobs", "failed-rows", "1"]).err.contains("left no receipt behind"));
    assert_eq!(store.receipts.count_live(BusinessId(789)).await.unwrap(), 3);
}

// ---- with a running service ----

#[tokio::test]
async fn watch_follows_a_deletion_to_its_end() {
    let folder = WorkingFolder::with_data();
    let (_store, id) = folder.background_job(120).await;
    let served = folder.serve(0);
    folder.run(&["enqueue", "delete_receipts_batch_job", &id.to_string(), "--id", "carrier"]).ok();
    let lines = folder.run(&["watch", &id.to_string(), "--every", "20ms", "--json"]).ok();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["status"], &last["succeeded"]), (&json!("completed"), &json!(120)));
    folder.run(&["watch", &id.to_string()]).ok();
    served.end();
}

#[test]
fn an_unknown_function_is_accepted_and_fails_when_it_is_run() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    folder.until_listening();
    let told = folder.run(&["enqueue", "no.such_function", "1", "--id", "x"]);
    assert!(!told.err.contains("warning"), "{}", told.err);
    told.ok();
    let job = folder.until("x", |job| job["state"] == "failed");
    assert!(job["error"].as_str().unwrap().contains("no.such_function"), "{job:#}");
    folder.run(&["jobs", "cancel", "x"]).refuses(1, &["`x` is failed"]);
    served.end();
}

#[test]
fn health_says_yes_only_while_the_service_is_well() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let url = format!("{}/", served.url());
    assert_eq!(folder.run(&["health", "--url", &url]).ok(), "alive\n");
    let port = format!("http.port={}", served.port());
    folder.run(&["health", "--set", &port]).ok();
    folder.until_listening();
    let told = folder.run(&["health", "--url", &url, "--probe", "startup", "--json"]).json();
    assert_eq!(
        (&told["ok"], &told["status"], &told["body"]["status"]),
        (&json!(true), &json!(200), &json!("started"))
    );
    folder.run(&["health", "--url", &format!("{url}nowhere")]).refuses(1, &["404", "expected 200"]);
    served.end();
    folder.run(&["health", "--url", &url]).refuses(1, &["no answer", &url[..url.len() - 1], "tikkun serve"]);
}

#[test]
fn health_does_not_wait_for_ever() {
    let folder = WorkingFolder::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    folder.run(&["health", "--url", &url, "--timeout", "100ms"]).refuses(1, &["no answer", &url]);
}
