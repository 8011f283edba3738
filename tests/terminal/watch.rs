//! `tikkun watch` in a real terminal.

use super::desk::{Desk, TIKKUN};
use super::pty::Terminal;

#[test]
fn watch_draws_a_bar_with_rate_and_time_left_and_ends_with_the_job() {
    let desk = Desk::with_data();
    let id = desk.deletion(1500).to_string();
    let served = desk.serve(0);
    let terminal = Terminal::start(&desk, (24, 100), &[TIKKUN, "watch", &id, "--every", "20ms"], &[]);
    terminal.until_seen("queued 0/1500");
    desk.run(&["enqueue", "delete_receipts_batch_job", &id, "--id", "carrier"]);
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
