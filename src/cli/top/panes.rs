//! The content of the panes, row by row: text and tone, without any layout on the screen.

use chrono::{DateTime, Utc};

use super::super::spans::short;
use super::super::tone::Tone;
use super::board::{Child, Deletion, PythonProcess, Queue, Running};
use super::meter::{bar, spark};
use super::sheet::{Cell, Sheet, cell, count, number, plain, text};
use super::state::{Pane, View};

/// The content of the pane at `now`.
pub(super) fn sheet(view: &View, pane: Pane, now: DateTime<Utc>) -> Sheet {
    let board = &view.board;
    match pane {
        Pane::Queues => Sheet {
            columns: vec![
                text("queues", 0, 0),
                number("queued", 6, 0),
                number("started", 7, 0),
                number("/min", 5, 0),
                number("failed", 6, 0),
                number("workers", 7, 60),
                text("last two minutes", 20, 110),
                text("state", 26, 80),
            ],
            rows: board.queues.iter().map(queue).collect(),
            nothing: "no queue is known yet",
        },
        Pane::Running => Sheet {
            columns: vec![
                text("running", 0, 0),
                text("queue", 12, 100),
                number("try", 3, 90),
                text("progress", 16, 60),
                number("done", 13, 0),
                number("rate", 7, 70),
                number("left", 9, 0),
                number("since", 8, 100),
            ],
            rows: board.running.iter().map(|job| running(job, view, now)).collect(),
            nothing: "nothing runs in this process",
        },
        Pane::Python => pythons(view, now),
        Pane::Deletions => Sheet {
            columns: vec![
                text("deletions", 0, 0),
                text("status", 9, 0),
                text("progress", 16, 60),
                number("done", 13, 0),
                number("rate", 7, 70),
                number("left", 9, 50),
                number("failed", 6, 100),
                text("note", 30, 120),
            ],
            rows: board.deletions.iter().map(deletion).collect(),
            nothing: "nobody has asked for a deletion yet",
        },
        Pane::Actors => actors(view, now),
    }
}

fn pythons(view: &View, now: DateTime<Utc>) -> Sheet {
    Sheet {
        columns: vec![
            text("python", 0, 0),
            text("state", 8, 0),
            text("mode", 5, 90),
            number("jobs", 6, 60),
            number("memory", 9, 0),
            text("job", 36, 80),
            number("since", 8, 100),
        ],
        rows: view
            .board
            .python
            .iter()
            .flat_map(|python| &python.processes)
            .map(|one| python(one, now))
            .collect(),
        nothing: "no python process is there",
    }
}

fn actors(view: &View, now: DateTime<Utc>) -> Sheet {
    Sheet {
        columns: vec![
            text("actors", 0, 0),
            text("state", 10, 0),
            number("restarts", 8, 0),
            number("since", 8, 60),
            text("last panic", 44, 110),
        ],
        rows: view.board.tree.children.iter().map(|child| actor(child, view, now)).collect(),
        nothing: "no actor is known yet",
    }
}

fn queue(queue: &Queue) -> Vec<Cell> {
    let counts = &queue.counts;
    let (name, state) = match (&queue.paused_by, queue.paused) {
        (Some(by), true) => (format!("‖ {}", queue.name), cell(format!("paused by {by}"), Tone::Warn)),
        (None, true) => (format!("‖ {}", queue.name), cell("paused", Tone::Warn)),
        (_, false) if queue.workers == 0 && counts.queued > 0 => {
            (queue.name.clone(), cell("nobody listens", Tone::Bad))
        }
        (_, false) if queue.workers == 0 => (queue.name.clone(), cell("not listened to", Tone::Quiet)),
        _ => (queue.name.clone(), plain("")),
    };
    vec![
        cell(name, if queue.paused { Tone::Warn } else { Tone::Plain }),
        count(counts.queued, Tone::Plain),
        count(counts.started, Tone::Busy),
        count(queue.per_minute, Tone::Good),
        count(counts.failed, Tone::Bad),
        count(queue.workers, Tone::Plain),
        cell(spark(&queue.done, 20), Tone::Busy),
        state,
    ]
}

fn running(job: &Running, view: &View, now: DateTime<Utc>) -> Vec<Cell> {
    let carried =
        view.board.deletions.iter().find(|deletion| deletion.queue_job.as_ref() == Some(&job.job_id));
    let seconds = seconds_since(&job.since, now);
    // A job that works on a deletion has the progress of the deletion.
    let (done, total) = match (job.processed, job.total, carried) {
        (None, None, Some(deletion)) => (Some(deletion.processed), Some(deletion.total)),
        (done, total, _) => (done, total),
    };
    let rate = carried.and_then(|deletion| deletion.rate_per_second).or_else(|| {
        let (done, seconds) = (done?, seconds.filter(|seconds| *seconds >= 1.0)?);
        (done > 0).then(|| done as f64 / seconds)
    });
    let left = match (carried, total, done, rate) {
        (Some(deletion), ..) => time_left(deletion),
        (None, Some(total), Some(done), Some(rate)) if rate > 0.0 => {
            short((total - done).max(0) as f64 / rate)
        }
        _ => String::new(),
    };
    vec![
        plain(job.function.rsplit('.').next().unwrap_or_default()),
        cell(&job.queue, Tone::Quiet),
        cell(job.attempt.to_string(), if job.attempt > 1 { Tone::Warn } else { Tone::Quiet }),
        cell(total.map(|total| bar(done.unwrap_or(0), total, 16)).unwrap_or_default(), Tone::Busy),
        plain(match (done, total) {
            (Some(done), Some(total)) => format!("{done}/{total}"),
            (Some(done), None) => done.to_string(),
            _ => "-".to_owned(),
        }),
        plain(rate.map(per_second).unwrap_or_default()),
        plain(left),
        cell(seconds.map(short).unwrap_or_default(), Tone::Quiet),
    ]
}

fn python(process: &PythonProcess, now: DateTime<Utc>) -> Vec<Cell> {
    let tone = match process.state.as_str() {
        "busy" => Tone::Busy,
        "ready" => Tone::Good,
        _ => Tone::Quiet,
    };
    vec![
        plain(process.pid.to_string()),
        cell(&process.state, tone),
        cell(&process.mode, Tone::Quiet),
        count(process.jobs, Tone::Plain),
        plain(process.memory.map(|bytes| format!("{} MiB", bytes >> 20)).unwrap_or_default()),
        plain(process.job_id.clone().unwrap_or_default()),
        cell(seconds_since(&process.since, now).map(short).unwrap_or_default(), Tone::Quiet),
    ]
}

fn deletion(deletion: &Deletion) -> Vec<Cell> {
    let running = deletion.status == "running";
    let tone = match deletion.status.as_str() {
        "running" if deletion.stuck_reason.is_some() => Tone::Bad,
        "running" => Tone::Busy,
        "completed" => Tone::Good,
        "failed" => Tone::Bad,
        "paused" => Tone::Warn,
        "cancelled" => Tone::Quiet,
        _ => Tone::Plain,
    };
    let rate = deletion.rate_per_second.filter(|_| running);
    vec![
        plain(format!("{} of business {}", deletion.job_id, deletion.business_id)),
        cell(&deletion.status, tone),
        cell(bar(deletion.processed, deletion.total, 16), tone),
        plain(format!("{}/{}", deletion.processed, deletion.total)),
        plain(rate.map(per_second).unwrap_or_default()),
        plain(if running { time_left(deletion) } else { String::new() }),
        count(deletion.failed_count.max(0).unsigned_abs(), Tone::Bad),
        cell(note(deletion).unwrap_or_default(), Tone::Warn),
    ]
}

/// Why a deletion is slow, or how it ended.
fn note(deletion: &Deletion) -> Option<String> {
    let by = deletion.changed_by.as_deref().unwrap_or("a person");
    match (&deletion.stuck_reason, &deletion.waiting_for, deletion.paused_by.as_deref()) {
        (Some(stuck), ..) => Some(stuck.clone()),
        (None, Some(what), _) if deletion.is_active() => Some(format!("waits: {what}")),
        (_, _, Some("person")) => Some(format!("paused by {by}; r resumes it")),
        (_, _, Some(_)) => Some("makes room for others and goes on by itself".to_owned()),
        _ => deletion.last_error.as_ref().map(|error| format!("last error: {error}")),
    }
}

fn time_left(deletion: &Deletion) -> String {
    match (deletion.eta_low, deletion.eta_high, deletion.eta_seconds) {
        (Some(low), Some(high), _) if high - low >= 1.0 => format!("≤{}", short(high)),
        (_, Some(seconds), _) | (Some(seconds), None, _) | (None, None, Some(seconds)) => short(seconds),
        (None, None, None) => String::new(),
    }
}

fn actor(child: &Child, view: &View, now: DateTime<Utc>) -> Vec<Cell> {
    let tone = match child.state.as_str() {
        "running" => Tone::Good,
        "starting" | "restarting" => Tone::Warn,
        "stopped" => Tone::Quiet,
        _ => Tone::Bad,
    };
    vec![
        plain(format!("{}{}", "  ".repeat(depth(child, view)), child.name)),
        cell(&child.state, tone),
        count(child.restarts, Tone::Warn),
        cell(seconds_since(&child.since, now).map(short).unwrap_or_default(), Tone::Quiet),
        cell(child.last_panic.as_ref().map(|panic| panic.message.clone()).unwrap_or_default(), Tone::Bad),
    ]
}

/// The number of supervisors above a child; a cycle in the table ends after 8 steps at most.
fn depth(child: &Child, view: &View) -> usize {
    let children = &view.board.tree.children;
    let above = |child: &Child| children.iter().find(|other| Some(&other.name) == child.supervisor.as_ref());
    std::iter::successors(above(child), |child| above(child)).take(children.len().min(8)).count()
}

/// Details of the chosen row for which the columns may lack room.
pub(super) fn detail(view: &View) -> Option<String> {
    let row = view.rows.get(view.pane.place()).copied().unwrap_or_default();
    match view.pane {
        Pane::Queues => {
            let queue = view.board.queues.get(row).filter(|queue| queue.paused)?;
            Some(format!(
                "{} is paused by {}; r resumes it",
                queue.name,
                queue.paused_by.as_deref().unwrap_or("-")
            ))
        }
        Pane::Running => {
            let job = view.board.running.get(row)?;
            Some(format!(
                "{} in queue {}, job {}, attempt {}",
                job.function, job.queue, job.job_id, job.attempt
            ))
        }
        Pane::Python => view.board.python.as_ref()?.hindrance.clone(),
        Pane::Deletions => {
            let deletion = view.board.deletions.get(row)?;
            let failed = (deletion.failed_count > 0).then(|| {
                let (rows, id) = (deletion.failed_count, deletion.job_id);
                format!("{rows} rows failed, `tikkun jobs failed-rows {id}` lists them")
            });
            let all: Vec<String> = note(deletion).into_iter().chain(failed).collect();
            (!all.is_empty()).then(|| all.join("; "))
        }
        Pane::Actors => {
            let panic = view.board.tree.children.get(row)?.last_panic.as_ref()?;
            Some(format!("{} ({})", panic.message, panic.place))
        }
    }
}

fn per_second(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") }
}

fn seconds_since(at: &str, now: DateTime<Utc>) -> Option<f64> {
    let at = DateTime::parse_from_rfc3339(at).ok()?;
    Some((now - at.to_utc()).num_seconds().max(0) as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::link::News;
    use super::*;

    fn view(section: &str, data: &str) -> View {
        let mut view = View::new(String::new());
        view.hear(News::Section { name: section.into(), data: data.into() }, Instant::now());
        assert_eq!(view.notice(Instant::now()), None);
        view
    }

    fn row(view: &View, pane: Pane) -> Vec<String> {
        let now = "2026-01-01T00:01:40Z".parse().unwrap();
        sheet(view, pane, now).rows[0].iter().map(|cell| cell.text.clone()).collect()
    }

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        for (section, data, pane) in [
            ("queues", "[{}]", Pane::Queues),
            ("running", "[{}]", Pane::Running),
            ("python", r#"{"processes":[{}]}"#, Pane::Python),
            ("deletions", "[{}]", Pane::Deletions),
            ("tree", r#"{"children":[{}]}"#, Pane::Actors),
        ] {
            let sheet = sheet(&view(section, data), pane, Utc::now());
            assert_eq!(sheet.rows[0].len(), sheet.columns.len(), "{section}");
        }
    }

    #[test]
    fn a_running_job_without_a_deletion_tells_its_own_rate_and_time_left() {
        let job =
            r#"[{"function":"f","since":"2026-01-01T00:00:00Z","total":300,"processed":100,"attempt":1}]"#;
        let row = row(&view("running", job), Pane::Running);
        assert_eq!(row[4..], ["100/300", "1.0/s", "3m 20s", "1m 40s"]);
    }

    #[test]
    fn a_job_that_carries_a_deletion_is_as_far_as_that() {
        let mut view = view("running", r#"[{"job_id":"c","since":"2026-01-01T00:00:00Z"}]"#);
        let deletion = r#"[{"queue_job":"c","status":"running","processed":5,"total":10,"rate_per_second":2.5,"eta_seconds":2}]"#;
        view.hear(News::Section { name: "deletions".into(), data: deletion.into() }, Instant::now());
        assert_eq!(row(&view, Pane::Running)[3..7], ["████████░░░░░░░░", "5/10", "2.5/s", "2s"]);
    }

    #[test]
    fn a_deletion_says_why_it_waits_and_who_paused_it() {
        let note = |fields: &str| {
            let data = format!(r#"[{{"job_id":27,{fields}}}]"#);
            row(&view("deletions", &data), Pane::Deletions)[7].clone()
        };
        assert_eq!(note(r#""status":"running","waiting_for":"the database""#), "waits: the database");
        let paused = r#""status":"paused","paused_by":"person","changed_by":"דנה""#;
        assert_eq!(note(paused), "paused by דנה; r resumes it");
        assert_eq!(note(r#""status":"failed","last_error":"no""#), "last error: no");
    }

    #[test]
    fn python_process_tells_its_job_and_its_memory() {
        let data = r#"{"processes":[{"pid":7,"state":"busy","mode":"warm","jobs":3,"job_id":"j","memory":5242880,
            "since":"2026-01-01T00:00:00Z"}]}"#;
        let row = row(&view("python", data), Pane::Python);
        assert_eq!(row, ["7", "busy", "warm", "3", "5 MiB", "j", "1m 40s"]);
        assert!(!View::new(String::new()).shows(Pane::Python), "of a service without Python jobs");
    }

    #[test]
    fn actors_stand_below_their_supervisor_and_a_circle_ends() {
        let tree =
            r#"{"children":[{"name":"a","supervisor":"b"},{"name":"b","supervisor":"a"},{"name":"top"}]}"#;
        let view = view("tree", tree);
        assert_eq!(depth(&view.board.tree.children[2], &view), 0);
        assert!(depth(&view.board.tree.children[0], &view) <= 3);
    }
}
