//! The demonstration, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn demo(tmp: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tikkun"))
        .env_clear()
        .env("TMPDIR", tmp)
        .current_dir(tmp)
        .arg("demo")
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What was found for one line of the summary.
fn found(report: &Value, what: &str) -> u64 {
    let facts = report["facts"].as_array().unwrap();
    let fact = facts.iter().find(|fact| fact["what"] == what);
    fact.unwrap_or_else(|| panic!("no `{what}` in {report:#}"))["found"].as_u64().unwrap()
}

#[test]
fn everything_goes_that_must_and_everything_stays_that_must() {
    let tmp = tempfile::tempdir().unwrap();
    let ended = demo(tmp.path(), &["--receipts", "120", "--batch", "50", "--throttle", "0s", "--json"]);
    let log = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{log}");
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&report["ok"], &report["receipts"]), (&true.into(), &120.into()));
    for (what, count) in [
        ("receipts of the request: deleted", 120),
        ("receipts of the request: live", 0),
        ("attachments: only these receipts point to them", 0),
        ("attachments: sources that another tenant's receipt previews", 2),
        ("attachments: previews that are another tenant's source", 2),
        ("attachments: invoices and contracts", 3),
        ("attachments: two rows, one object", 2),
        ("attachments: owned by another tenant", 1),
        ("attachments: another tenant's own", 12),
        ("attachments: came with receipts that arrived meanwhile", 5),
        ("receipts of another tenant: live", 10),
        ("files missing", 0),
        ("files that nothing points to", 0),
        ("objects still to be deleted", 0),
    ] {
        assert_eq!(found(&report, what), count, "{what}");
    }
    assert!(found(&report, "receipts that arrived meanwhile: live") >= 5);
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0, "the temporary folder is left behind");
}

#[test]
fn the_log_tells_the_story_letter_for_letter() {
    let tmp = tempfile::tempdir().unwrap();
    let ended = demo(tmp.path(), &["--receipts", "120", "--throttle", "1ms"]);
    let log = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{log}");
    for line in [
        "🔨 JOB PICKED queue='maintenance' job_id=1 function=delete_receipts_batch_job",
        "🧾 JOB start type=delete_receipts business_id=789 job_id=1",
        "🔄 [RECEIPTS_DELETE] Processing batch: 50 receipts (IDs 1-50)",
        "✓ [RECEIPTS_DELETE] Batch complete: 50 deleted, 0 failed (50/120 = 41.7%)",
        "→ [RECEIPTS_DELETE] R2 cleanup: 83 deleted, 0 failed",
        "🔄 [RECEIPTS_DELETE] Processing batch: 20 receipts (IDs 101-120)",
        "✓ [RECEIPTS_DELETE] Batch complete: 20 deleted, 0 failed (120/120 = 100.0%)",
        "🧾 JOB complete type=delete_receipts business_id=789 job_id=1",
    ] {
        assert!(log.lines().any(|found| found.ends_with(&format!(" INFO {line}"))), "no `{line}` in\n{log}");
    }
    let secrets = log.lines().filter(|line| line.contains("X-Internal-Secret: ")).count();
    assert_eq!(secrets, 1, "{log}");
    let summary = text(&ended.stdout);
    assert!(summary.contains("receipts/s"), "{summary}");
    assert!(!summary.contains('✗'), "{summary}");
}

#[test]
fn a_single_receipt_is_a_demonstration_too() {
    let tmp = tempfile::tempdir().unwrap();
    let ended = demo(tmp.path(), &["--receipts", "1", "--throttle", "0s", "--json"]);
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
}

#[test]
fn options_that_make_no_sense_are_named_and_nothing_is_done() {
    let tmp = tempfile::tempdir().unwrap();
    for (args, words) in [
        (&["--receipts", "0"][..], &["--receipts", "'0'"][..]),
        (&["--batch", "0"], &["--batch", "'0'", "1..=1000"]),
        (&["--batch", "2000"], &["--batch", "'2000'", "1..=1000"]),
        (&["--throttle", "soon"], &["--throttle", "'soon'", "with its unit"]),
        (&["--port", "99999"], &["--port", "'99999'"]),
        (&["--data", "elsewhere"], &["--data"]),
        (&["--set", "deletion.bach=1"], &["deletion.bach", "deletion.batch"]),
    ] {
        let ended = demo(tmp.path(), args);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn a_port_in_use_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = demo(tmp.path(), &["--port", &port]);
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port"), "{said}");
}

#[test]
fn settings_of_anything_real_are_out_of_reach() {
    let tmp = tempfile::tempdir().unwrap();
    let real = tmp.path().join("real.db");
    let store = format!("store.url=sqlite://{}", real.display());
    let data = format!("service.data={}", tmp.path().join("real").display());
    let ended = Command::new(env!("CARGO_BIN_EXE_tikkun"))
        .env_clear()
        .env("TMPDIR", tmp.path())
        .env("DATABASE_URL", format!("sqlite://{}", real.display()))
        .env("TIKKUN_DELETION__BATCH", "nonsense")
        .current_dir(tmp.path())
        .args(["demo", "--receipts", "3", "--throttle", "0s", "--set", &store, "--set", &data])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
}
