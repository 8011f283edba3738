//! Judges processes by their leases, and the jobs that are held under them. Pure functions.

use std::collections::BTreeSet;

use super::facts::{Facts, Queues, Silent};
use super::finding::{Finding, Severity, age, finding};
use crate::job::QueueName;

/// The most jobs of a process that are named.
const NAMED: usize = 5;

/// Processes whose lease has run out although nothing says that they are dead: all of them, or those that matter for
/// the job in question.
pub(super) fn not_renewed(facts: &Facts, queues: &Queues, concerned: &BTreeSet<QueueName>) -> Vec<Finding> {
    let concerns = |silent: &&Silent| {
        let listens = concerned.iter().any(|queue| silent.overdue.process.listens_to(queue));
        let leads = queues.scheduler.as_ref().is_some_and(|leader| silent.leads(leader));
        facts.asked.is_none() || listens || leads
    };
    queues.overdue.iter().filter(concerns).map(|silent| of_process(facts, silent)).collect()
}

fn of_process(facts: &Facts, Silent { overdue, jobs }: &Silent) -> Finding {
    let process = &overdue.process;
    let since = age(facts.now, process.lease_until).unwrap_or_default();
    let since = humantime::format_duration(since);
    let mut named: Vec<_> = jobs.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
    if jobs.len() > NAMED {
        named.push("…".to_owned());
    }
    let holds = match jobs.len() {
        0 => "it holds no job".to_owned(),
        number => format!("it holds {number} jobs: {}", named.join(", ")),
    };
    let (what, to_do) = if overdue.lives {
        (
            format!("it lives, and its lease ran out {since} ago: it cannot write to the queue; {holds}"),
            "look at its /api/jobs/health and into its log, which say what refuses its writes. A disk can be full for its \
             user and not for root (reserved blocks, a quota): run `tikkun doctor` as that user. Run no second service as \
             another user meanwhile: it would take these jobs while they run",
        )
    } else {
        (
            format!(
                "its lease ran out {since} ago; it is on another host or in another container, so that it cannot be seen \
                 from here whether it lives; {holds}"
            ),
            "see there whether it lives. If so, it cannot write to the queue: its /api/jobs/health and its log say why. If \
             not, start `tikkun serve`: its Rescuer brings the jobs back to their queues within seconds; a process that \
             lives does so by itself",
        )
    };
    let subject = format!("process {} on {}", process.pid, process.host);
    finding((Severity::Error, "lease_not_renewed"), subject, what, to_do)
}

/// Jobs whose process is dead.
pub(super) fn lost(facts: &Facts, queues: &Queues, concerned: &BTreeSet<QueueName>) -> Vec<Finding> {
    let ours = |id| facts.patients.iter().any(|one| one.entry.as_ref().is_some_and(|entry| entry.id == id));
    let lost = queues.lost.iter().filter(|job| facts.asked.is_none() || ours(job.id.clone()));
    let lost = lost.filter(|job| concerned.contains(&job.queue));
    let to_do = |queue: &QueueName| {
        if queues.processes.is_empty() && !queues.overdue.is_empty() {
            "let the process that cannot renew its lease write again: its Rescuer brings the job back to its queue"
        } else if queues.processes.is_empty() {
            "start `tikkun serve`: its Rescuer brings the job back to its queue within seconds"
        } else if !queues.listened_to(queue) {
            "start a process that serves its queue: those that live leave the job to it, unless they have its function"
        } else {
            "wait a moment: a live process brings it back to its queue within 15 seconds; if it stays, look into that \
         process's log for `rescuer`"
        }
    };
    lost.map(|job| {
        let since = job.started_at.and_then(|at| age(facts.now, at)).unwrap_or_default();
        let what = format!(
            "its worker has died: it was started {} ago, and the lease of its process is over",
            humantime::format_duration(since)
        );
        finding((Severity::Error, "worker_died"), format!("job {}", job.id), what, to_do(&job.queue))
    })
    .collect()
}
