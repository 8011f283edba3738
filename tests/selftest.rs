//! `tikkun selftest`: its results for a healthy installation, and for broken ones.

use crate::servers::s3;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
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

/// The exit code and what was printed.
async fn selftest(data: &Path, options: &[&str]) -> (i32, String) {
    selftest_under(&[], data, options).await
}

/// The same with a program and its arguments before it. The process is killed when the test gives up.
async fn selftest_under(wrapper: &[&str], data: &Path, options: &[&str]) -> (i32, String) {
    let line = [wrapper, &[env!("CARGO_BIN_EXE_tikkun"), "selftest", "--data"]].concat();
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).arg(data).args(options);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output =
        tokio::time::timeout(DEADLINE, command.output()).await.expect("waited for the selftest").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap_or_else(|| panic!("{line:?}: {} {said}", output.status));
    (code, String::from_utf8(output.stdout).unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// The results in the order of the steps.
fn results(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|line| line["step"].as_str().unwrap()).collect::<Vec<_>>(), STEPS);
    steps.iter().map(|line| line["result"].as_str().unwrap().to_owned()).collect()
}

/// Everything before `step` passed, `step` failed, everything after it was skipped; the error.
async fn only_failure(data: &Path, step: &str, options: &[&str]) -> String {
    only_failure_under(&[], data, step, options).await
}

async fn only_failure_under(wrapper: &[&str], data: &Path, step: &str, options: &[&str]) -> String {
    let (code, printed) = selftest_under(wrapper, data, &[options, &["--json"]].concat()).await;
    failure(code, &printed, step)
}

fn failure(code: i32, printed: &str, step: &str) -> String {
    let report: Value = serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let at = STEPS.iter().position(|name| *name == step).unwrap();
    // What a canary leaves behind is cleaned up whatever became of it.
    let after = if step == "canary" { "passed" } else { "skipped" };
    let expected: Vec<_> = (0..STEPS.len())
        .map(|index| match index.cmp(&at) {
            std::cmp::Ordering::Less => "passed",
            std::cmp::Ordering::Equal => "failed",
            std::cmp::Ordering::Greater => after,
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
        (vec![Trouble::Pass, Trouble::Pass, no()], "delete the object \"tikkun-selftest/"),
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
async fn key_that_the_library_cannot_bear_fails_the_attachments() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    let profile = folder.path().join("credentials");
    fs::write(&profile, "[default]\naws_access_key_id = A\u{1}B\naws_secret_access_key = s\n").unwrap();
    let file = format!("AWS_SHARED_CREDENTIALS_FILE={}", profile.display());
    let options = bucket(&server);
    let without_key: Vec<&str> = options.iter().map(String::as_str).take(options.len() - 4).collect();
    let data = folder.path().join("data");
    let error = only_failure_under(&["env", &file], &data, "attachments", &without_key).await;
    assert!(error.contains("put (storage on s3)") && error.contains("panic at"), "{error}");
}

#[actix_rt::test]
async fn key_with_a_line_end_opens_the_bucket() {
    let (folder, server) = (tempfile::tempdir().unwrap(), S3Server::start());
    let mut options = bucket(&server);
    for one in options.iter_mut().filter(|one| one.contains("access_key")) {
        one.push('\n');
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let (code, printed) = selftest(folder.path(), &options).await;
    assert_eq!(code, 0, "{printed}");
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

#[actix_rt::test]
async fn paused_queue_of_a_listener_fails_the_canary_and_says_who_paused_it() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open_embedded(folder.path()).await.unwrap();
    for queue in ["maintenance", "tikkun-selftest"] {
        broker.pause(&queue.into(), "Dana").await.unwrap();
        let error = only_failure(folder.path(), "canary", &[]).await;
        let words = format!("tikkun queues resume {queue}");
        assert!(error.contains("paused by Dana") && error.contains(&words), "{error}");
        broker.resume(&queue.into()).await.unwrap();
    }
    broker.pause(&"maintenance".into(), "Dana").await.unwrap();
    let (code, printed) = selftest(folder.path(), &["--set", "worker.queues=default"]).await;
    assert_eq!(code, 0, "somebody else's queue is no matter: {printed}");
}

/// Takes root's right to write everywhere away; others have none to begin with.
fn bound_by_permissions() -> &'static [&'static str] {
    let root = rustix::process::geteuid().is_root();
    if root { &["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] } else { &[] }
}

fn make_writable(folder: &Path, writable: bool) {
    for path in files(folder).into_iter().chain([folder.join("attachments"), folder.to_owned()]) {
        let mode = match (path.is_dir(), writable) {
            (true, true) => 0o755,
            (true, false) => 0o555,
            (false, true) => 0o644,
            (false, false) => 0o444,
        };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

#[actix_rt::test]
async fn read_only_folder_fails_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert_eq!(selftest_under(bound_by_permissions(), &data, &[]).await.0, 0);
    make_writable(&data, false);
    let error = only_failure_under(bound_by_permissions(), &data, "queue", &[]).await;
    make_writable(&data, true);
    assert!(error.contains("readonly database") || error.contains("unable to open"), "{error}");

    // One that never held anything.
    let data = folder.path().join("empty");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o555)).unwrap();
    let error = only_failure_under(bound_by_permissions(), &data, "queue", &[]).await;
    assert!(error.contains("unable to open database file") && error.contains("queue.db"), "{error}");
}

#[actix_rt::test]
async fn read_only_attachments_fail_the_attachments() {
    let folder = tempfile::tempdir().unwrap();
    let attachments = folder.path().join("attachments");
    fs::create_dir(&attachments).unwrap();
    fs::set_permissions(&attachments, Permissions::from_mode(0o555)).unwrap();
    let error = only_failure_under(bound_by_permissions(), folder.path(), "attachments", &[]).await;
    assert!(error.contains("ermission denied"), "{error}");
}

/// Runs what follows twice on the folder of the first argument: while there is room, and when it is full. Only
/// the second run is heard. Where a disk of our own may be mounted it is one without room; elsewhere no file
/// may grow.
const FULL_DISK: &str = r#"
    folder=$1; shift
    if unshare --map-root-user --mount true 2>/dev/null; then
        exec unshare --map-root-user --mount sh -c '
            folder=$1; shift
            mount -t tmpfs -o size=8m tmpfs "$folder" || exit 90
            "$@" >/dev/null || exit 91
            cat /dev/zero > "$folder/filling" 2>/dev/null
            exec "$@"' sh "$folder" "$@"
    fi
    "$@" >/dev/null || exit 91
    trap "" XFSZ
    ulimit -f 0
    exec "$@""#;

#[actix_rt::test]
async fn full_disk_fails_the_queue_of_a_service_that_was_well_before() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let wrapper = ["sh", "-c", FULL_DISK, "sh", data];
    let error = only_failure_under(&wrapper, folder.path(), "queue", &[]).await;
    assert!(error.contains("disk is full") || error.contains("disk I/O error"), "{error}");
}

/// Standard output and standard error are of one who has gone, as `head` goes, and `tee` whose terminal was closed.
#[tokio::test]
async fn nobody_who_reads_the_report_is_no_panic_and_no_time_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for (options, code) in [(&["--limit", "30s"][..], 0), (&["--json"], 0), (&["--set", "no.such=1"], 1)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        command.arg("selftest").arg("--data").arg(folder.path()).args(options);
        command.stdin(Stdio::null()).stdout(gone()).stderr(gone()).kill_on_drop(true);
        let status = tokio::time::timeout(DEADLINE, command.status()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(code), "{options:?}");
    }
    let (code, _) = selftest(folder.path(), &["--limit", "0s"]).await;
    assert_eq!(code, 2, "every step would fail");
}
