//! Every error names the next step, tested for one situation after another.

use std::net::TcpListener;

use super::working_folder::{SECRET, WorkingFolder};

/// What is run, with which environment, how it ends, and what the error names.
type Situation<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a [&'a str]);

#[track_caller]
fn holds(folder: &WorkingFolder, (args, env, code, words): &Situation<'_>) {
    let ended = folder.run_with(args, env);
    let (out, error) = (ended.out, ended.err);
    assert_eq!(ended.code, *code, "{args:?}: {out}{error}");
    let step = error.lines().find(|line| line.starts_with("  try: "));
    let step = step.or_else(|| error.lines().find(|line| line.contains("try '--help'")));
    assert!(step.is_some_and(|step| step.len() > 20), "{args:?} has no next step: {error}");
    for word in *words {
        assert!(error.contains(word), "{args:?}: no `{word}` in: {error}");
    }
    assert!(!error.contains(SECRET) && !error.contains("panicked"), "{args:?}: {error}");
}

#[test]
fn what_is_wrong_on_the_command_line_says_what_was_expected() {
    let folder = WorkingFolder::new();
    let situations: [Situation; 19] = [
        (&["frobnicate"], &[], 2, &["frobnicate"]),
        (&["job", "list"], &[], 2, &["jobs"]),
        (&["jobs", "list", "--state", "asleep"], &[], 2, &["asleep", "queued", "canceled"]),
        (&["jobs", "list", "--limit", "0"], &[], 2, &["--limit"]),
        (&["jobs", "list", "--queue", "a,b"], &[], 2, &["--queue", "a,b", "no comma"]),
        (&["queues", "pause", ""], &[], 2, &["not empty"]),
        (&["plan", "all"], &[], 2, &["all"]),
        (&["certificate", "show", "all"], &[], 2, &["all"]),
        (&["certificate", "verify", "f", "--key", "short"], &[], 2, &["--key", "64 hexadecimal digits"]),
        (&["certificate", "verify", "f", "--head", "short"], &[], 2, &["--head", "64 hexadecimal digits"]),
        (&["watch", "seven"], &[], 2, &["seven"]),
        (&["watch", "7", "--every", "10"], &[], 2, &["--every", "200ms"]),
        (&["top", "--interval", "0s"], &[], 2, &["--interval", "longer than zero"]),
        (&["top", "--url", "ftp://here"], &[], 2, &["ftp://here", "http://127.0.0.1:8080"]),
        (&["health", "--probe", "well"], &[], 2, &["well", "ready"]),
        (&["completions", "nushell"], &[], 2, &["nushell", "bash"]),
        (&["enqueue", "f", "--named", "x=1", "--named", "x=2"], &[], 2, &["`x` twice", "enqueue --help"]),
        (&["--set", "nonsense", "config"], &[], 2, &["nonsense", "KEY=VALUE"]),
        (&["demo", "--data", "here"], &[], 2, &["--data", "demo --help"]),
    ];
    situations.iter().for_each(|situation| holds(&folder, situation));
}

#[test]
fn what_is_wrong_in_the_configuration_is_named_by_its_key() {
    let folder = WorkingFolder::new();
    let situations: [Situation; 10] = [
        (
            &["serve"],
            &[("TIKKUN_CERTIFICATE__KEY", SECRET)],
            2,
            &["certificate.key", "`tikkun certificate keygen`"],
        ),
        (
            &["doctor"],
            &[("TIKKUN_CERTIFICATE__KEY", SECRET)],
            2,
            &["certificate.key", "64 hexadecimal digits"],
        ),
        (
            &["config", "--set", "deletion.bach=5"],
            &[],
            2,
            &["deletion.bach", "deletion.batch", "--reference"],
        ),
        (&["config", "--set", "deletion.batch=many"], &[], 2, &["deletion.batch", "many"]),
        (&["jobs", "list"], &[("TIKKUN_DELETION__THROTTLE", "soon")], 2, &["deletion.throttle", "soon"]),
        (&["config", "--config", "nowhere.toml"], &[], 2, &["nowhere.toml"]),
        (&["serve"], &[("SERVICE_ROLE", "boss")], 2, &["boss"]),
        (&["jobs", "list", "--set", "store.url=mysql://h/d"], &[], 2, &["store.url"]),
        (&["jobs", "list", "--set", "broker.url=amqp://h"], &[], 2, &["broker.url"]),
        (&["health", "--set", "http.enabled=false"], &[], 2, &["http.enabled", "--url"]),
    ];
    situations.iter().for_each(|situation| holds(&folder, situation));
}

#[test]
fn what_cannot_be_opened_or_reached_is_named_with_what_to_check() {
    let folder = WorkingFolder::new();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (url, redis) =
        (format!("http://127.0.0.1:{port}"), format!("broker.url=redis://user:{SECRET}@127.0.0.1:{port}/0"));
    drop(TcpListener::bind("127.0.0.1:0"));
    let secret = &[("INTERNAL_SECRET", SECRET)][..];
    let situations: [Situation; 14] = [
        (&["certificate", "verify", "nowhere"], &[], 1, &["nowhere", "certificate export"]),
        (&["jobs", "list"], &[], 1, &["data/queue.db", "--data", "tikkun serve"]),
        (&["jobs", "list", "--data", "file"], &[], 1, &["file/queue.db", "--data"]),
        (&["enqueue", "f", "--data", "file"], &[], 1, &["the queue", "--data"]),
        (&["serve", "--data", "/proc/tikkun", "--port", "0"], &[], 1, &["/proc/tikkun", "read and write"]),
        (&["serve", "--port", &port], &[], 1, &["cannot listen", &port, "--port"]),
        (&["enqueue", "f", "--set", &redis], &[], 1, &["doctor"]),
        (&["health"], &[], 2, &["http.port", "--url"]),
        (
            &["health", "--url", &url, "--timeout", "100ms"],
            &[],
            1,
            &["no answer", &url, "100ms", "tikkun serve"],
        ),
        (&["top"], secret, 2, &["terminal", "top --once", "health --json", "jobs list"]),
        (&["top", "--once", "--url", &url], &[], 2, &["http.internal_secret", "INTERNAL_SECRET"]),
        (&["top", "--once"], secret, 2, &["http.port", "--url"]),
        (&["man", "--to", "nowhere"], &[], 1, &["nowhere", "mkdir -p"]),
        (&["doctor", "--limit", "0s"], &[], 2, &["--limit"]),
    ];
    situations.iter().for_each(|situation| holds(&folder, situation));
    drop(taken);
    holds(&folder, &(&["top", "--once", "--url", &url], secret, 1, &["no answer", &url, "tikkun serve"]));
}

#[test]
fn tables_that_are_missing_are_made_by_a_named_command() {
    let folder = WorkingFolder::with_data();
    std::fs::remove_file(folder.path().join("data/tikkun.db")).unwrap();
    std::fs::write(folder.path().join("data/tikkun.db"), "").unwrap();
    holds(&folder, &(&["watch", "1", "--set", "store.migrate=false"], &[], 1, &["tikkun serve"]));
    std::fs::write(folder.path().join("data/tikkun.db"), "this is no database at all".repeat(99)).unwrap();
    holds(&folder, &(&["watch", "1"], &[], 1, &["the database", "doctor"]));
}

#[test]
fn jobs_that_are_not_there_or_not_in_the_right_state_say_what_can_be_done() {
    let folder = WorkingFolder::with_data();
    folder.run(&["enqueue", "f", "--id", "x"]);
    let row = folder.deletion(3).to_string();
    let situations: [Situation; 16] = [
        (&["certificate", "show", "99"], &[], 1, &["background job 99", "has no certificate"]),
        (&["jobs", "show", "nobody"], &[], 1, &["`nobody`", "jobs list"]),
        (&["jobs", "show", "99"], &[], 1, &["background job 99", "jobs list"]),
        (&["jobs", "cancel", "nobody", "no-one"], &[], 1, &["`nobody`", "`no-one`", "jobs list"]),
        (&["jobs", "list", "--after", "nobody"], &[], 1, &["`nobody`", "jobs list"]),
        (&["watch", "99"], &[], 1, &["background job 99", "tikkun top"]),
        (&["jobs", "retry", "x"], &[], 1, &["is queued", "jobs show x"]),
        (&["jobs", "retry", &row], &[], 1, &["is queued", "jobs show"]),
        (&["jobs", "retry", &row, "--failed-rows"], &[], 1, &["is queued", "tikkun watch"]),
        (&["jobs", "failed-rows", "x"], &[], 1, &["`x`", "number of a background job"]),
        (&["jobs", "cancel"], &[], 2, &["which jobs", "jobs cancel --help"]),
        (&["jobs", "retry", "x", "--queue", "mail"], &[], 2, &["not both", "jobs retry --help"]),
        (&["jobs", "retry", "--failed-rows", "--queue", "mail"], &[], 2, &["--failed-rows", "--help"]),
        (&["enqueue", "f", "--id", "x"], &[], 1, &["`x` exists", "jobs show x"]),
        (&["outbox", "park", "7"], &[], 1, &["7", "outbox list"]),
        (&["queues", "pause", "maintenence"], &[], 1, &["did you mean `maintenance`", "queues list"]),
    ];
    situations.iter().for_each(|situation| holds(&folder, situation));
    folder.run(&["jobs", "cancel", "x"]);
    holds(&folder, &(&["jobs", "cancel", "x"], &[], 1, &["`x` is canceled", "jobs show x"]));
    folder.run(&["jobs", "cancel", &row]);
    holds(&folder, &(&["watch", &row], &[], 1, &["was cancelled", "jobs retry"]));
}

#[test]
fn a_service_that_says_no_is_told_apart_from_one_that_is_away() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let (url, nowhere) = (served.url(), format!("{}/nowhere", served.url()));
    let wrong = &[("INTERNAL_SECRET", "another-secret-than-the-service-has")][..];
    let right = &[("INTERNAL_SECRET", SECRET)][..];
    let situations: [Situation; 3] = [
        (&["top", "--once", "--url", &url], wrong, 1, &["401", "http.internal_secret", "tikkun config"]),
        (&["top", "--once", "--url", &nowhere], right, 1, &["404", "SERVICE_ROLE"]),
        (&["health", "--url", &nowhere], &[], 1, &["404", "expected 200", "doctor"]),
    ];
    situations.iter().for_each(|situation| holds(&folder, situation));
    served.end();
}
