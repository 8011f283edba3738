//! `tikkun selftest`: what it says of a healthy place, and of broken ones.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is what a test is for"
)]

#[path = "servers/s3.rs"]
#[allow(dead_code, reason = "each test program needs a part of it")]
mod s3;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use s3::{BUCKET, KEY_ID, S3Server, SECRET, Trouble};
use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tikkun::queue::{JobFilter, open_embedded};
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(120);
const STEPS: [&str; 7] = ["configuration", "queue", "database", "attachments", "lease", "canary", "clean_up"];

/// The exit code and what was printed. The process is killed when the test gives up.
async fn selftest(data: &Path, options: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
    command.args(["selftest", "--data"]).arg(data).args(options);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output =
        tokio::time::timeout(DEADLINE, command.output()).await.expect("waited for the selftest").unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The results in the order of the steps.
fn results(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|line| line["step"].as_str().unwrap()).collect::<Vec<_>>(), STEPS);
    steps.iter().map(|line| line["result"].as_str().unwrap().to_owned()).collect()
}

/// Everything before `step` passed, `step` failed, everything after it was skipped; the error.
async fn only_failure(data: &Path, step: &str, options: &[&str]) -> String {
    let (code, printed) = selftest(data, &[options, &["--json"]].concat()).await;
    let report: Value = serde_json::from_str(&printed).unwrap();
    let at = STEPS.iter().position(|name| *name == step).unwrap();
    let expected: Vec<_> = (0..STEPS.len())
        .map(|index| match index.cmp(&at) {
            std::cmp::Ordering::Less => "passed",
            std::cmp::Ordering::Equal => "failed",
            std::cmp::Ordering::Greater => "skipped",
        })
        .collect();
    assert_eq!(results(&report), expected, "{printed}");
    assert_eq!((code, &report["passed"]), (1, &Value::Bool(false)));
    let failed = &report["steps"][at];
    assert!(!failed["advice"].as_str().unwrap().is_empty());
    failed["error"].as_str().unwrap().to_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[actix_rt::test]
async fn healthy_folder_passes_every_step_and_is_left_clean_each_time() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (code, printed) = selftest(folder.path(), &["--json"]).await;
        let report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(results(&report), ["passed"; STEPS.len()], "{printed}");
        assert_eq!((code, &report["passed"]), (0, &Value::Bool(true)));
        let broker = open_embedded(folder.path()).await.unwrap();
        let left = broker.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(broker.processes().await.unwrap(), [], "its lease is given back");
        assert!(broker.counts().await.unwrap().len() <= 1, "each run has its own queue, and it stays");
        assert_eq!(files(&folder.path().join("attachments")), Vec::<PathBuf>::new());
    }
}

#[actix_rt::test]
async fn people_get_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let (code, printed) = selftest(folder.path(), &[]).await;
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!((code, lines.len()), (0, STEPS.len() + 1), "{printed}");
    assert!(
        lines[1].starts_with("queue ") && lines[1].contains(" ok ") && lines[1].ends_with(" ms"),
        "{printed}"
    );
    assert_eq!(lines[STEPS.len()], "everything works");

    let (code, printed) = selftest(folder.path(), &["--set", "attachments.folder=/dev/null"]).await;
    assert_eq!(code, 1);
    assert!(printed.contains("attachments    FAILED") && printed.contains("what to do:"), "{printed}");
    assert!(printed.contains("canary job     skipped"), "{printed}");
}

#[actix_rt::test]
async fn configuration_that_cannot_be_used_is_the_step_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let error = only_failure(folder.path(), "configuration", &["--set", "worker.slots=0"]).await;
    assert!(error.contains("worker.slots"), "{error}");
}

#[actix_rt::test]
async fn file_in_place_of_the_data_folder_fails_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::write(&data, "in the way").unwrap();
    let error = only_failure(&data, "queue", &[]).await;
    assert!(error.contains(data.to_str().unwrap()), "{error}");
}

#[actix_rt::test]
async fn file_in_place_of_the_attachments_fails_the_attachments() {
    let folder = tempfile::tempdir().unwrap();
    let attachments = folder.path().join("attachments");
    fs::write(&attachments, "in the way").unwrap();
    let error = only_failure(folder.path(), "attachments", &[]).await;
    assert!(error.contains(attachments.to_str().unwrap()), "{error}");
}

/// What it takes to reach a bucket.
fn bucket(server: &S3Server) -> Vec<String> {
    [
        ("driver", "s3"),
        ("s3_endpoint", &server.endpoint()),
        ("s3_bucket", BUCKET),
        ("s3_path_style", "true"),
        ("s3_access_key_id", KEY_ID),
        ("s3_secret_access_key", SECRET),
    ]
    .iter()
    .flat_map(|(key, value)| ["--set".to_owned(), format!("attachments.{key}={value}")])
    .collect()
}

#[actix_rt::test]
async fn bucket_passes_every_step_and_is_left_clean() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    let options = bucket(&server);
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.push("--json");
    let (code, printed) = selftest(folder.path(), &options).await;
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, results(&report)), (0, vec!["passed".to_owned(); STEPS.len()]), "{printed}");
    assert!(server.keys().is_empty());
    assert_eq!(server.asked("PUT"), 1);
}

#[actix_rt::test]
async fn bucket_that_refuses_something_fails_the_attachments_and_names_it() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    let options = bucket(&server);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let no = || Trouble::Answer(403, "AccessDenied", "no");
    for (script, words) in [
        (vec![no()], "write the object \"tikkun-selftest/"),
        (vec![Trouble::Pass, no(), Trouble::Pass], "list objects under \"tikkun-selftest/"),
        (vec![Trouble::Pass, Trouble::Pass, no()], "delete 1 objects in the bucket `attachments`"),
    ] {
        server.script(script);
        let error = only_failure(folder.path(), "attachments", &options).await;
        assert!(error.contains(words) && error.contains("s3:DeleteObject"), "expected `{words}` in: {error}");
    }
    let wrong = [options.as_slice(), &["--set", "attachments.s3_bucket=attachmentz"]].concat();
    let error = only_failure(folder.path(), "attachments", &wrong).await;
    assert!(error.contains("there is no such bucket; correct `attachments.s3_bucket`"), "{error}");
}

#[actix_rt::test]
async fn locked_queue_fails_the_queue_in_its_time() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_embedded(folder.path()).await.unwrap());
    let file = folder.path().join("queue.db");
    let mut held = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut held).await.unwrap();
    let error = only_failure(folder.path(), "queue", &["--limit", "500ms"]).await;
    assert_eq!(error, "no answer within 500ms");
}
