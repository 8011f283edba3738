//! Finds out why one job does not move. Pure functions.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::facts::{Facts, Patient, Queues};
use super::finding::{Finding, Severity, age, finding, whole_seconds};
use crate::job::background::{BackgroundJob, PauseReason, Status};
use crate::job::{JobRecord, JobState, Limit};
use crate::operations::{Stuck, stuck};

/// A due job is enqueued well within this time: twice the default `scheduler.leadership_ttl`.
const PROMOTED_WITHIN: TimeDelta = TimeDelta::seconds(150);

/// The job in question was not found.
pub(super) fn nobody(facts: &Facts) -> Option<Finding> {
    let asked = facts.asked.as_ref().filter(|_| facts.patients.is_empty())?;
    let severity =
        if facts.database.is_ok() && facts.queues.is_ok() { Severity::Error } else { Severity::Notice };
    Some(finding(
        (severity, "no_such_job"),
        format!("job {asked}"),
        "there is neither a background job of that number nor a job of that id in a queue, as far as could be looked",
        "`tikkun jobs list` shows what is there; ended jobs are dropped in time",
    ))
}

/// The reasons why one job does not move.
pub(super) fn diagnose(facts: &Facts, patient: &Patient) -> Vec<Finding> {
    match &patient.row {
        Some(row) => of_row(facts, patient, row),
        None => patient.entry.iter().flat_map(|entry| of_entry(facts, patient, entry)).collect(),
    }
}

fn of_row(facts: &Facts, patient: &Patient, row: &BackgroundJob) -> Vec<Finding> {
    let subject = format!("background job {}", row.id);
    let by_person = row.note.pause_reason.unwrap_or(PauseReason::Person) == PauseReason::Person;
    match row.status {
        Status::Completed | Status::Cancelled => vec![finding(
            (Severity::Notice, "ended"),
            subject,
            format!("it is {}", row.status),
            "nothing: it has ended",
        )],
        Status::Failed => vec![finding(
            (Severity::Error, "failed"),
            subject,
            format!("it has failed: {}", row.last_error.as_deref().unwrap_or("no error is noted")),
            "mend the cause, then let a person request the deletion anew (POST /api/receipts/delete_all): what is \
             deleted stays deleted, and the new one begins with what is left",
        )],
        Status::Paused if by_person => {
            let by = row.note.changed_by.as_deref().unwrap_or("a person");
            let asked = facts.asked.is_some();
            let severity = if asked { Severity::Warning } else { Severity::Notice };
            vec![finding(
                (severity, "paused_by_person"),
                subject,
                format!("paused by {by}{}", since(facts, row.updated_at)),
                format!("it goes on when a person resumes it: POST /api/receipts/jobs/{}/resume", row.id),
            )]
        }
        Status::Queued | Status::Running | Status::Paused => {
            let mut findings: Vec<_> =
                heartbeat(facts, patient, row).into_iter().chain(waiting(row)).collect();
            if let Ok(queues) = &facts.queues {
                findings.extend(carried(facts, patient, row, queues));
            }
            findings
        }
    }
}

fn heartbeat(facts: &Facts, patient: &Patient, row: &BackgroundJob) -> Option<Finding> {
    // A process that cannot write to its queue may not write here either, and has a finding of its own.
    if let (Some(entry), Ok(queues)) = (&patient.entry, &facts.queues)
        && queues.is_held_in_silence(&entry.id)
    {
        return None;
    }
    let Some(Stuck::Silent(silent)) = stuck(row, facts.now, facts.rules.stuck_after) else { return None };
    Some(finding(
        (Severity::Error, "no_heartbeat"),
        format!("background job {}", row.id),
        format!(
            "running, but no heartbeat{} ({} ago)",
            since(facts, row.heartbeat_at),
            humantime::format_duration(whole_seconds(silent))
        ),
        "it goes on from its checkpoint as soon as a live worker listens to its queue; if one does, look at its \
         `status_tracker` in /api/jobs/health and into its log, and restart that process: nothing is lost",
    ))
}

fn waiting(row: &BackgroundJob) -> Option<Finding> {
    let what = row.note.waiting_for.as_ref()?;
    Some(finding(
        (Severity::Warning, "waits"),
        format!("background job {}", row.id),
        format!("it waits: {what}"),
        "bring that back, or mend it; the job waits it out and goes on by itself",
    ))
}

/// Checks that the row has an open queue job.
fn carried(facts: &Facts, patient: &Patient, row: &BackgroundJob, queues: &Queues) -> Vec<Finding> {
    if let Some(entry) = patient.entry.as_ref().filter(|entry| entry.state.is_open()) {
        return open_entry(facts, (entry, Some(row)), queues).into_iter().collect();
    }
    let changed = row.updated_at.max(row.created_at).and_then(|at| age(facts.now, at)).unwrap_or_default();
    let severity = if changed > facts.rules.reconcile_grace { Severity::Error } else { Severity::Notice };
    let entry = match &patient.entry {
        Some(entry) => format!("its queue job `{}` is {}", entry.id, entry.state),
        None => "no queue has a job for it".to_owned(),
    };
    vec![finding(
        (severity, "no_entry"),
        format!("background job {}", row.id),
        format!("it is {}, but {entry}: nothing would ever fetch it", row.status),
        "let a process with SERVICE_ROLE `all`, `worker` or `scheduler` run: its Rescuer enqueues the job anew; look \
         into its log for `reconcile` if it does not",
    )]
}

fn of_entry(facts: &Facts, patient: &Patient, entry: &JobRecord) -> Vec<Finding> {
    let subject = format!("job {}", entry.id);
    let mut findings = Vec::new();
    if entry.state.is_open() && !patient.registered {
        findings.push(finding(
            (Severity::Error, "unknown_function"),
            &subject,
            format!("it asks for `{}`, which this build has not registered", entry.kind),
            "correct the name, or leave its queue to the worker that has the function",
        ));
    }
    match entry.state {
        JobState::Failed => findings.push(finding(
            (Severity::Error, "failed"),
            subject,
            format!("it has failed: {}", entry.error.as_deref().unwrap_or("no error is noted")),
            format!("mend the cause, then `tikkun jobs retry {}`", entry.id),
        )),
        JobState::Finished | JobState::Canceled => findings.push(finding(
            (Severity::Notice, "ended"),
            subject,
            format!("it is {}", entry.state),
            "nothing: it has ended",
        )),
        JobState::Queued | JobState::Scheduled | JobState::Started => {
            findings.extend(
                facts.queues.as_ref().ok().and_then(|queues| open_entry(facts, (entry, None), queues)),
            );
        }
    }
    findings
}

/// Why an open queue job does not move although its queue is served; `row` is the row that it works on.
fn open_entry(
    facts: &Facts,
    (entry, row): (&JobRecord, Option<&BackgroundJob>),
    queues: &Queues,
) -> Option<Finding> {
    let subject = format!("job {}", entry.id);
    match entry.state {
        JobState::Scheduled => {
            let late = entry.due_at.is_some_and(|due| facts.now - due > PROMOTED_WITHIN);
            let what =
                format!("it was due{}, and nobody has put it into its queue", since(facts, entry.due_at));
            let to_do = "let a process with SERVICE_ROLE `all`, `worker` or `scheduler` run";
            if late {
                // Who leads and cannot renew its lease has a finding of its own.
                let not_promoted = || finding((Severity::Error, "not_promoted"), subject, what, to_do);
                return (!queues.is_led_in_silence()).then(not_promoted);
            }
            let what = format!("it waits for its time{}", since(facts, entry.due_at));
            Some(finding((Severity::Notice, "scheduled"), subject, what, "nothing: it comes due by itself"))
        }
        JobState::Queued if queues.listened_to(&entry.queue) && !queues.paused.contains_key(&entry.queue) => {
            let waited = unpicked(facts, entry, row)?;
            let counts = queues.counts.get(&entry.queue).copied().unwrap_or_default();
            Some(finding(
                (Severity::Warning, "workers_busy"),
                subject,
                format!(
                    "queued for {}; queue `{}` is listened to, with {} jobs waiting and {} running",
                    humantime::format_duration(whole_seconds(waited)),
                    entry.queue,
                    counts.queued,
                    counts.started
                ),
                "look at `running` in /api/jobs/health; give the worker more slots (`worker.slots`), a higher \
                 `worker.queue_caps`, or start another one",
            ))
        }
        JobState::Started => started(facts, entry, queues),
        JobState::Queued | JobState::Finished | JobState::Failed | JobState::Canceled => None,
    }
}

/// How long a queue job or its deletion has waited in the queue; `None` if that is not unusually long.
fn unpicked(facts: &Facts, entry: &JobRecord, row: Option<&BackgroundJob>) -> Option<Duration> {
    let after = facts.rules.stuck_after;
    if let Some(Stuck::Unpicked(waited)) = row.and_then(|row| stuck(row, facts.now, after)) {
        return Some(waited);
    }
    entry.enqueued_at.and_then(|at| (facts.now - at).to_std().ok()).filter(|waited| *waited > after.unpicked)
}

/// Judges a started job. It counts as running if a live process holds it under its lease, or if no process of
/// Tikkun started it. The time limit is only known if it was enqueued with the job.
fn started(facts: &Facts, entry: &JobRecord, queues: &Queues) -> Option<Finding> {
    let ran = entry.started_at.and_then(|at| age(facts.now, at))?;
    if entry.attempt > 0 && !queues.held.contains(&entry.id) {
        // A job under an expired lease, or its process, has a finding of its own.
        let is_lost = queues.lost.iter().any(|job| job.id == entry.id);
        return (!is_lost && !queues.is_held_in_silence(&entry.id)).then(|| {
            finding(
                (Severity::Error, "held_by_nobody"),
                format!("job {}", entry.id),
                format!(
                    "it is marked as started{}, and no process of Tikkun holds it: unless a worker of RQ runs it, nobody does",
                    since(facts, entry.started_at)
                ),
                "look again in a moment: it may have just ended. If it stays so, put it into its queue anew under its id (in \
                 Python `Queue(name).enqueue_job(Job.fetch(id))`): what lies in a queue is run, whatever its status says",
            )
        });
    }
    let limit = entry.timeout.and_then(Limit::duration);
    let subject = format!("job {}", entry.id);
    let span = humantime::format_duration;
    match limit.filter(|limit| ran > *limit + facts.rules.stuck_grace) {
        Some(limit) => Some(finding(
            (Severity::Warning, "over_time"),
            subject,
            format!(
                "it runs for {}, and its limit is {}: its code does not yield, or waits out an outage",
                span(ran),
                span(limit)
            ),
            "look at `running` and `stuck_threads` in /api/jobs/health of its worker: a thread that does not come back \
             is given up, and too many of them (`service.max_stuck`) end the process; to be quicker restart it: the \
             job is handed over or failed by its policy",
        )),
        None => Some(finding(
            (Severity::Notice, "runs"),
            subject,
            format!(
                "it runs{}, as attempt {}, under a live process",
                since(facts, entry.started_at),
                entry.attempt
            ),
            "nothing: wait, or look at its progress in /api/jobs/health of its worker",
        )),
    }
}

/// A time as the end of a sentence.
fn since(facts: &Facts, at: Option<DateTime<Utc>>) -> String {
    let Some(at) = at else { return String::new() };
    let word = if at > facts.now { "until" } else { "since" };
    format!(" {word} {}", at.format("%Y-%m-%dT%H:%M:%SZ"))
}
