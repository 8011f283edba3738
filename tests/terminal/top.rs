//! `tikkun top` in a real terminal, against a real service.

use std::io::Read as _;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use super::pty::Terminal;
use super::working_folder::{PATIENCE, SECRET, Served, TIKKUN, WorkingFolder, signal};

/// Runs the program and then shows how it left the terminal: the exit code, and the terminal's own settings.
const THEN_LOOK: &str = "\"$0\" \"$@\"; echo \"left with $?\"; stty -a; echo that was all";

fn top(folder: &WorkingFolder, served: &Served, size: (u16, u16), env: &[(&str, &str)]) -> Terminal {
    let url = served.url();
    Terminal::start(
        folder,
        size,
        &["sh", "-c", THEN_LOOK, TIKKUN, "top", "--url", &url, "--interval", "50ms"],
        env,
    )
}

/// The terminal reads lines and echoes them again, and shows its own screen and cursor.
#[track_caller]
fn is_as_before(terminal: &Terminal, code: i32) {
    terminal.until_seen("that was all");
    let text = terminal.text();
    assert!(text.contains(&format!("left with {code}\n")), "{text}");
    assert!(text.contains(" icanon") && text.contains(" echo "), "{text}");
    assert!(terminal.is_restored(), "{text}");
}

/// Receipts that the first deletion on the screen has handled, of so many.
fn processed(text: &str, total: i64) -> Option<i64> {
    let line = text.lines().find(|line| line.contains(" of business 789"))?;
    let word = line.split_whitespace().find(|word| word.ends_with(&format!("/{total}")))?;
    word.split('/').next()?.parse().ok()
}

#[test]
fn top_shows_a_deletion_moving_and_leaves_the_terminal_as_it_was() {
    let folder = WorkingFolder::with_data();
    let id = folder.deletion(3000);
    let served = folder.serve(0);
    let terminal = top(&folder, &served, (24, 100), &[]);
    terminal.until_seen("● live");
    terminal.until_seen("maintenance");
    folder.run(&["enqueue", "delete_receipts_batch_job", &id.to_string(), "--id", "carrier"]);
    let moved = |text: &str| processed(text, 3000).filter(|done| *done > 0);
    let first = terminal.until("a deletion that has begun", moved);
    terminal.until("a deletion that goes on", |text| moved(text).filter(|done| *done > first));
    terminal.until_seen("delete_receipts_batch_job");
    terminal.until_seen("█");
    terminal.press("q");
    is_as_before(&terminal, 0);
    served.end();
}

#[test]
fn a_queue_is_paused_and_resumed_by_keys_after_a_question() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let terminal = top(&folder, &served, (24, 80), &[]);
    let paused = || {
        let listed = folder.run(&["queues", "list", "--json"]).json();
        let high = listed.as_array().unwrap().iter().find(|queue| queue["queue"] == "high").unwrap().clone();
        high["paused"].as_bool().unwrap()
    };
    terminal.until_seen("receipts_sync");
    terminal.press("p");
    terminal.until_seen("pause queue high? y yes, n no");
    terminal.press("n");
    terminal.until_seen("nothing was changed");
    assert!(!paused());
    terminal.press("p");
    terminal.until_seen("pause queue high? y yes, n no");
    terminal.press("y");
    terminal.until_seen("queue high is paused");
    terminal.until_seen("‖ high");
    assert!(paused());
    terminal.press("r");
    terminal.until_seen("resume queue high? y yes, n no");
    terminal.press("y");
    terminal.until("a queue that goes on", |text| (!text.contains('‖')).then_some(()));
    assert!(!paused());
    terminal.press("?");
    terminal.until_seen("leave; the service goes on");
    terminal.press("x\u{3}");
    is_as_before(&terminal, 0);
    served.end();
}

#[test]
fn an_outage_is_a_wait_that_is_seen_and_ends_by_itself() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let port = served.port();
    let terminal = top(&folder, &served, (10, 40), &[]);
    terminal.until_seen("● live");
    terminal.until_seen("default");
    served.end();
    terminal.until_seen("✕ away for");
    terminal.resize(24, 80);
    terminal.until_seen("receipts_sync");
    let served = folder.serve(port);
    terminal.until_seen("● live");
    terminal.press("\u{1b}");
    is_as_before(&terminal, 0);
    served.end();
}

#[test]
fn a_panic_and_a_signal_give_the_terminal_back() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let terminal =
        top(&folder, &served, (24, 80), &[("FAILPOINTS", "top.frame=3*off->1*panic(as the test wishes)")]);
    terminal.until_seen("as the test wishes");
    is_as_before(&terminal, 101);

    let url = served.url();
    let terminal = Terminal::start(&folder, (24, 80), &[TIKKUN, "top", "--url", &url], &[]);
    terminal.until_seen("● live");
    assert!(!terminal.is_restored());
    signal(&terminal.child, Signal::TERM);
    let (code, terminal) = terminal.ended();
    assert_eq!(code, Some(0));
    terminal.until("the usual screen", |_| terminal.is_restored().then_some(()));
    served.end();
}

#[test]
fn a_terminal_that_goes_away_is_no_crash() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let (mut pty, pts) = pty_process::blocking::open().unwrap();
    pty.resize(pty_process::Size::new(24, 80)).unwrap();
    let command = pty_process::blocking::Command::new(TIKKUN).args(["top", "--url", &served.url()]);
    let mut child = command.env("INTERNAL_SECRET", SECRET).current_dir(folder.path()).spawn(pts).unwrap();
    let (mut some, mut drawn) = ([0; 4096], Vec::new());
    while !String::from_utf8_lossy(&drawn).contains("live") {
        let count = pty.read(&mut some).unwrap();
        drawn.extend_from_slice(&some[..count]);
    }
    drop(pty);
    let ended = child.wait().unwrap();
    assert!(ended.code().is_some(), "{ended}");
    served.end();
}

#[test]
fn a_wrong_secret_ends_the_view_with_what_to_do() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let terminal =
        top(&folder, &served, (24, 80), &[("INTERNAL_SECRET", "another-secret-than-the-service-has")]);
    terminal.until_seen("that was all");
    let text = terminal.text();
    assert!(
        text.contains("answered 401") && text.contains("try: ") && text.contains("left with 1"),
        "{text}"
    );
    served.end();
}

#[test]
fn colours_stay_away_where_nobody_wants_them() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let coloured = |env: &[(&str, &str)]| {
        let terminal = top(&folder, &served, (24, 80), env);
        terminal.until_seen("● live");
        terminal.until_seen("receipts_sync");
        terminal.press("q");
        is_as_before(&terminal, 0);
        let bytes = terminal.bytes();
        bytes.contains("\u{1b}[38;5;") || (30..38).any(|code| bytes.contains(&format!("\u{1b}[{code}m")))
    };
    assert!(coloured(&[]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
    served.end();
}

#[test]
fn one_frame_is_printed_for_scripts_as_text_and_as_json() {
    let folder = WorkingFolder::new();
    let served = folder.serve(0);
    let url = served.url();
    let look = |args: &[&str]| {
        folder.run_with(&[&["top", "--url", &url], args].concat(), &[("INTERNAL_SECRET", SECRET)]).ok()
    };
    let end = Instant::now() + PATIENCE;
    // A service that has just started has yet to take its place.
    let text = loop {
        let text = look(&["--once"]);
        if text.contains("\nhealthy\n") || Instant::now() > end {
            break text;
        }
    };
    for words in
        ["tikkun ", "healthy", "queues (8)", "receipts_sync", "nothing runs in this process", "actors ("]
    {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.trim_end() == line), "{text}");
    let json: Value = serde_json::from_str(&look(&["--json"])).unwrap();
    assert_eq!(json["queues"][0]["name"], "high");
    served.end();
}
