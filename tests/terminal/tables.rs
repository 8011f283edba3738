//! Tables: aligned, as wide as the terminal, and paged; and the column names that programs rely on.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::pty::Terminal;
use super::working_folder::{TIKKUN, WorkingFolder};

const LONG: &str = "server.jobs.reports.weekly_summary_of_everything_that_happened_in_the_shop";

/// The names of a queue's job.
const JOB: [&str; 21] = [
    "id",
    "queue",
    "function",
    "args",
    "state",
    "attempt",
    "failures",
    "orphaned",
    "retries_asked",
    "timeout_seconds",
    "retries_left",
    "result_ttl_seconds",
    "failure_ttl_seconds",
    "created_at",
    "enqueued_at",
    "due_at",
    "started_at",
    "ended_at",
    "result",
    "error",
    "remark",
];
/// The names of a background job.
const ROW: [&str; 25] = [
    "job_id",
    "job_type",
    "business_id",
    "requested_by_user_id",
    "status",
    "total",
    "processed",
    "succeeded",
    "failed_count",
    "percent",
    "last_error",
    "cursor",
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
    "heartbeat_at",
    "attempt",
    "queue_job",
    "paused_by",
    "waiting_for",
    "rate_per_second",
    "eta_seconds",
    "changed_by",
    "queue_entry",
];

fn out(folder: &WorkingFolder, args: &[&str]) -> (String, String) {
    let ended = folder.run(args);
    assert_eq!(ended.code, 0, "{args:?}: {}", ended.err);
    (ended.out, ended.err)
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn names_in_json_never_change() {
    let folder = WorkingFolder::with_data();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&out(&folder, args).0).unwrap() };
    assert_eq!(names(&json(&["jobs", "list", "--json"])[0]), JOB);
    assert_eq!(names(&json(&["jobs", "show", "warm-up", "--json"])), JOB);
    let queue = ["queue", "jobs", "listeners", "paused", "paused_by", "paused_since"];
    assert_eq!(names(&json(&["queues", "list", "--json"])[0]), queue);
    let counts = ["queued", "scheduled", "started", "finished", "failed", "canceled"];
    assert_eq!(names(&json(&["queues", "list", "--json"])[0]["jobs"]), counts);
    let id = folder.deletion(3).to_string();
    assert_eq!(names(&json(&["jobs", "show", &id, "--json"])), ROW);
    assert_eq!(json(&["outbox", "list", "--json"]), serde_json::json!([]));
    let plan = [
        "receipts",
        "attachments",
        "objects",
        "bytes",
        "kept",
        "storage",
        "left_alone",
        "estimate",
        "business_id",
    ];
    assert_eq!(names(&json(&["plan", "789", "--json"])), plan);
}

#[test]
fn a_list_is_as_wide_as_the_terminal_and_whole_where_there_is_none() {
    let folder = WorkingFolder::with_data();
    for id in ["a", "שלום", "2f1d0d4c-7b5a-4a44-9d44-0c1c44b1d7a2"] {
        out(&folder, &["enqueue", LONG, "27", "--id", id, "--queue", "דואר"]);
    }
    let (whole, _) = out(&folder, &["jobs", "list"]);
    assert!(
        whole.contains(&format!("{LONG}(27)")) && whole.contains("CREATED") && !whole.contains('\u{1b}'),
        "{whole}"
    );
    let start = whole.lines().next().unwrap().find("QUEUE").unwrap();
    for line in whole.lines().skip(1) {
        let before = line.split("  ").next().unwrap().width();
        assert!(before <= start, "{line}");
    }
    for columns in [80, 120] {
        let terminal = Terminal::start(&folder, (24, columns), &[TIKKUN, "jobs", "list"], &[]);
        let (code, terminal) = terminal.ended();
        assert_eq!(code, Some(0));
        terminal.until_seen("warm-up");
        let text = terminal.text();
        // A line that is too wide would go on in the next one.
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.contains("2f1d0d4c-7b5a-4a44-9d44-0c1c44b1d7a2") && text.contains('…'), "{text}");
        assert_eq!(text.contains("CREATED"), columns >= 120, "{text}");
    }
}

#[test]
fn states_have_colours_only_on_a_terminal_that_shows_them() {
    let folder = WorkingFolder::with_data();
    out(&folder, &["jobs", "cancel", "warm-up"]);
    let coloured = |env: &[(&str, &str)]| {
        let (_, terminal) = Terminal::start(&folder, (24, 100), &[TIKKUN, "jobs", "list"], env).ended();
        terminal.until_seen("warm-up");
        terminal.bytes().contains("\u{1b}[")
    };
    assert!(coloured(&[]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
    assert!(!coloured(&[("TERM", "dumb")]));
}

#[test]
fn a_long_list_comes_in_pages_and_says_how_it_goes_on() {
    let folder = WorkingFolder::with_data();
    for id in ["a", "b c", "d"] {
        out(&folder, &["enqueue", "f", "--id", id, "--queue", "mail"]);
    }
    let (first, hint) = out(&folder, &["jobs", "list", "--queue", "mail", "--limit", "2"]);
    assert!(first.contains("d ") && first.contains("b c") && first.lines().count() == 3, "{first}");
    assert!(hint.contains("try: `tikkun jobs list --queue mail --after 'b c'`"), "{hint}");
    let (rest, hint) = out(&folder, &["jobs", "list", "--queue", "mail", "--after", "b c", "--limit", "2"]);
    assert!(rest.lines().count() == 2 && hint.is_empty(), "{rest}{hint}");
    let (end, hint) = out(&folder, &["jobs", "list", "--after", "warm-up"]);
    assert!(end.is_empty() && hint.contains("the end of the list"), "{end}{hint}");
    let (none, hint) = out(&folder, &["jobs", "list", "--queue", "none"]);
    assert!(
        none.is_empty() && hint.contains("no job matches") && hint.contains("try: `tikkun"),
        "{none}{hint}"
    );
}

#[test]
fn shells_complete_states_and_the_usual_queues() {
    let folder = WorkingFolder::new();
    for shell in ["bash", "zsh", "fish"] {
        let (script, _) = out(&folder, &["completions", shell]);
        for word in ["scheduled", "canceled", "receipts_sync", "broadcasts", "top", "--interval", "--once"] {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(script.contains(word), "{shell} does not complete `{word}`");
        }
    }
}
