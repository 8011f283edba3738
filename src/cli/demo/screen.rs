//! The output on standard error: a bar below the log lines on a terminal, else plain lines.

use std::io::{self, IsTerminal as _, stderr};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

/// The shortest time between two plain lines.
const PLAIN: Duration = Duration::from_secs(1);
/// The bar: progress, rate and remaining time.
const BAR: &str = "{msg} {bar:30} {pos}/{len} ({percent}%) {per_sec}, {eta} left";

/// Standard error, with bars if it is a terminal.
#[derive(Clone)]
pub(super) struct Screen {
    bars: MultiProgress,
    terminal: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let terminal = stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), terminal }
    }

    /// Prints one line above the bar.
    pub(super) fn say(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// Starts to show the progress of a step.
    pub(super) fn meter(&self, what: &'static str, total: u64) -> Meter {
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style).with_message(what);
        let bar = if self.terminal { self.bars.add(bar) } else { ProgressBar::hidden() };
        let now = Instant::now();
        Meter { screen: self.clone(), bar, what, total, began: now, said: now }
    }
}

/// The progress of a step.
pub(super) struct Meter {
    screen: Screen,
    bar: ProgressBar,
    what: &'static str,
    total: u64,
    began: Instant,
    said: Instant,
}

impl Meter {
    pub(super) fn show(&mut self, done: u64) {
        if self.screen.terminal {
            self.bar.set_position(done);
        } else if self.said.elapsed() >= PLAIN {
            self.said = Instant::now();
            let line = in_words(done, self.total, self.began.elapsed());
            self.screen.say(&format!("{}: {line}", self.what));
        }
    }

    /// Removes the bar.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
        self.screen.bars.remove(&self.bar);
    }
}

fn in_words(done: u64, total: u64, elapsed: Duration) -> String {
    let percent = if total == 0 { 100.0 } else { done as f64 * 100.0 / total as f64 };
    let rate = done as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
    let left = total.saturating_sub(done) as f64 / rate;
    let left = if left.is_finite() { format!("{left:.0} s left") } else { "waiting".to_owned() };
    format!("{done}/{total} ({percent:.1}%), {rate:.0}/s, {left}")
}

/// Writes log events above the bar, one at a time.
pub(super) struct AboveBar(MultiProgress);

impl io::Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

impl MakeWriter<'_> for Screen {
    type Writer = AboveBar;

    fn make_writer(&self) -> AboveBar {
        AboveBar(self.bars.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_how_far_how_fast_and_how_long_still() {
        assert_eq!(in_words(450, 1000, Duration::from_secs(3)), "450/1000 (45.0%), 150/s, 4 s left");
        assert_eq!(in_words(0, 1000, Duration::from_secs(3)), "0/1000 (0.0%), 0/s, waiting");
    }
}
