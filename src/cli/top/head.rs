//! The lines above the panes: the process, its health with reasons, and the totals of all queues.

use std::time::Instant;

use super::super::spans::short;
use super::super::tone::Tone;
use super::board::Reason;
use super::state::{Line, View};

/// A piece of text with its tone.
pub(super) type Piece = (String, Tone);

/// The version, address and role of the process.
pub(super) fn title(view: &View) -> Vec<Piece> {
    let process = &view.board.overview.process;
    let mut pieces = vec![(format!("tikkun {}", process.version).trim_end().to_owned(), Tone::Plain)];
    pieces.push((format!("  {}", view.base), Tone::Quiet));
    if !process.role.is_empty() {
        let only = if process.read_only { ", only shows" } else { "" };
        pieces.push((format!("  {}{only}", process.role), Tone::Quiet));
    }
    pieces
}

/// The state of the connection.
pub(super) fn line(view: &View, now: Instant) -> Piece {
    match &view.line {
        Line::Opening => ("○ connecting".to_owned(), Tone::Quiet),
        Line::Live => ("● live".to_owned(), Tone::Good),
        Line::Away { why, since, again } => {
            let away = short(now.saturating_duration_since(*since).as_secs_f64());
            let again = again.saturating_duration_since(now).as_secs_f64().ceil();
            (format!("✕ away for {away}, next try in {}: {why}", short(again)), Tone::Bad)
        }
    }
}

/// The health and its reasons, the worst first; at most `lines` lines.
pub(super) fn health(view: &View, lines: usize) -> Vec<Vec<Piece>> {
    let overview = &view.board.overview;
    let status = match overview.status.as_str() {
        "" => return vec![vec![("nothing was heard yet".to_owned(), Tone::Quiet)]],
        status => (status.to_owned(), of_status(status)),
    };
    let mut all: Vec<Vec<Piece>> = vec![vec![status]];
    for (place, reason) in overview.reasons.iter().enumerate() {
        let piece = (in_words(reason), of_severity(&reason.severity));
        match (all.last_mut(), place) {
            (Some(first), 0) => first.extend([("  ".to_owned(), Tone::Plain), piece]),
            _ => all.push(vec![("  ".to_owned(), Tone::Plain), piece]),
        }
    }
    let more = all.len().saturating_sub(lines.max(1));
    all.truncate(lines.max(1));
    if let Some(last) = all.last_mut().filter(|_| more > 0) {
        last.push((format!("  (and {more} more)"), Tone::Quiet));
    }
    all
}

/// The totals of all queues.
pub(super) fn totals(view: &View) -> Vec<Piece> {
    let overview = &view.board.overview;
    let totals = &overview.totals;
    let mut pieces = [
        number("queued", totals.queued, Tone::Plain),
        number("started", totals.started, Tone::Busy),
        number("finished/min", overview.per_minute, Tone::Good),
        number("failed", totals.failed, Tone::Bad),
    ]
    .concat();
    if let Some(owed) = &overview.cleanup {
        pieces.extend(number("outbox", owed.pending, if owed.alarm { Tone::Bad } else { Tone::Warn }));
        if let Some(oldest) = owed.oldest_seconds.filter(|_| owed.pending > 0) {
            pieces.push((format!("(oldest {})  ", short(oldest as f64)), Tone::Quiet));
        }
        for (word, many) in [("refused", owed.refused), ("parked", owed.parked)] {
            if many > 0 {
                pieces.extend(number(word, many, Tone::Warn));
            }
        }
    }
    if overview.process.slots > 0 {
        let used = format!("{}/{}  ", view.board.running.len(), overview.process.slots);
        pieces.extend([("slots ".to_owned(), Tone::Quiet), (used, Tone::Plain)]);
    }
    if view.board.tree.stuck_threads > 0 {
        pieces.extend(number("stuck threads", view.board.tree.stuck_threads, Tone::Bad));
    }
    if let Some(why) = view.board.python.as_ref().and_then(|python| python.hindrance.as_ref()) {
        pieces.push((format!("{why}  "), Tone::Bad));
    }
    if let Some(error) = overview.cleanup.as_ref().and_then(|owed| owed.last_error.as_ref()) {
        pieces.push((format!("outbox: {error}"), Tone::Quiet));
    }
    pieces
}

/// A number with its name.
fn number(name: &str, many: u64, tone: Tone) -> Vec<Piece> {
    vec![(format!("{name} "), Tone::Quiet), (format!("{many}  "), tone.of_count(many))]
}

/// The reason in words; an unknown code is shown as it is.
fn in_words(reason: &Reason) -> String {
    let queue = reason.queue.as_deref().unwrap_or("-");
    let count = reason.count.unwrap_or(0);
    let limit = reason.limit.map(|limit| format!(", more than {limit}")).unwrap_or_default();
    match reason.code.as_str() {
        "broker_unreachable" => "the queue is out of reach: jobs wait".to_owned(),
        "database_unreachable" => "the database is out of reach: jobs wait".to_owned(),
        "broker_refuses_writes" => "the queue takes no writes: jobs wait".to_owned(),
        "database_refuses_writes" => "the database takes no writes: jobs wait".to_owned(),
        "queue_not_served" => format!("no job can be taken from queue {queue}: its log says why"),
        "some_jobs_not_served" => {
            format!("queue {queue} refuses something about single jobs: its log says what")
        }
        "jobs_cannot_run" => "no job can be run: the python processes cannot be started".to_owned(),
        "some_jobs_cannot_run" => {
            "some jobs cannot be run: their python processes cannot be started".to_owned()
        }
        "deletions_unusable" => {
            format!("{count} described deletions do not fit the tables: `tikkun doctor` says why")
        }
        "no_scheduler" => "no scheduler is running: delayed jobs do not come due".to_owned(),
        "cleanup_overdue" => format!("storage owes {count} objects for too long"),
        "many_failed" => format!("{count} jobs have failed{limit}"),
        "many_queued" => format!("{count} jobs wait{limit}"),
        "stuck_threads" => format!("{count} threads do not come back"),
        "queue_paused" => format!("queue {queue} is paused, {count} jobs wait"),
        "nobody_listens" => format!("nobody listens to queue {queue}, {count} jobs wait"),
        other => other.replace('_', " "),
    }
}

fn of_status(status: &str) -> Tone {
    match status {
        "healthy" => Tone::Good,
        "unhealthy" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn of_severity(severity: &str) -> Tone {
    match severity {
        "unhealthy" => Tone::Bad,
        "warning" | "degraded" => Tone::Warn,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_says_the_worst_first_and_counts_what_has_no_room() {
        let mut view = View::new(String::new());
        assert_eq!(health(&view, 3)[0][0].0, "nothing was heard yet");
        view.board.overview.status = "degraded".into();
        let reason = |code: &str| Reason { code: code.into(), count: Some(7), ..Reason::default() };
        view.board.overview.reasons = ["many_failed", "nobody_listens", "of_tomorrow"].map(reason).into();
        let told = |lines| {
            let all = health(&view, lines);
            all.into_iter()
                .map(|line| line.into_iter().map(|(text, _)| text).collect::<String>())
                .collect::<Vec<_>>()
        };
        assert_eq!(told(1), ["degraded  7 jobs have failed  (and 2 more)"]);
        assert_eq!(told(9)[1..], ["  nobody listens to queue -, 7 jobs wait", "  of tomorrow"]);
    }
}
