//! `tikkun watch` in a real terminal.

use super::pty::Terminal;
use super::working_folder::{TIKKUN, WorkingFolder};

#[test]
fn watch_draws_a_bar_with_rate_and_time_left_and_ends_with_the_job() {
    let folder = WorkingFolder::with_data();
    let id = folder.deletion(1500).to_string();
    let served = folder.serve(0);
    let terminal = Terminal::start(&folder, (24, 100), &[TIKKUN, "watch", &id, "--every", "20ms"], &[]);
    terminal.until_seen("queued 0/1500");
    folder.run(&["enqueue", "delete_receipts_batch_job", &id, "--id", "carrier"]);
    terminal.until("a rate and a time left", |text| {
        (text.contains("/s, ") && text.contains(" left")).then_some(())
    });
    terminal.until_seen("█");
    let (code, terminal) = terminal.ended();
    assert_eq!(code, Some(0));
    terminal.until_seen("completed 1500/1500 (100.0%)");
    assert!(terminal.is_restored());
    served.end();
}
