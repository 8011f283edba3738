//! Reads which process holds which started job, by the leases of the queue.

use std::collections::{BTreeSet, HashSet};

use super::facts::{Patient, Queues, Silent};
use crate::fault::Fault;
use crate::job::{JobId, JobRecord, JobState};
use crate::queue::{Broker, JobFilter, ProcessRecord};

/// The most started jobs that are read: enough to name causes, and quick even with a million jobs.
const LOOK_AT: u32 = 200;

/// The processes whose lease has run out without a sign of their death, with the jobs that they hold.
pub(super) async fn overdue(broker: &dyn Broker) -> Result<Vec<Silent>, Fault> {
    let mut found = Vec::new();
    for overdue in broker.overdue().await? {
        let mut jobs = Vec::new();
        for queue in &overdue.process.queues {
            let held = broker.held(queue, &overdue.process.id).await?;
            jobs.extend(held.into_iter().map(|one| one.job.id));
        }
        found.push(Silent { overdue, jobs });
    }
    Ok(found)
}

/// Those that have not renewed their lease in the meantime.
pub(super) fn still_overdue(overdue: Vec<Silent>, live: &[ProcessRecord]) -> Vec<Silent> {
    let renewed = |silent: &Silent| live.iter().any(|process| process.id == silent.overdue.process.id);
    overdue.into_iter().filter(|silent| !renewed(silent)).collect()
}

/// The jobs in question that have started and that a live process holds under its lease.
pub(super) async fn held(
    broker: &dyn Broker,
    queues: &Queues,
    patients: &[Patient],
) -> Result<HashSet<JobId>, Fault> {
    let started = patients.iter().filter_map(|one| one.entry.as_ref());
    let started = started.filter(|entry| entry.state == JobState::Started);
    let from: BTreeSet<_> = started.map(|entry| &entry.queue).collect();
    let mut held = HashSet::new();
    for process in &queues.processes {
        for queue in &from {
            held.extend(broker.held(queue, &process.id).await?.into_iter().map(|one| one.job.id));
        }
    }
    Ok(held)
}

/// Started jobs that neither a live process nor one of `overdue` holds, without those that a foreign worker started. Jobs are listed
/// before the processes, so that the jobs of a process that has just started do not look lost.
pub(super) async fn lost(broker: &dyn Broker, overdue: &[Silent]) -> Result<Vec<JobRecord>, Fault> {
    let filter = JobFilter { state: Some(JobState::Started), limit: LOOK_AT, ..JobFilter::default() };
    let started = broker.jobs(&filter).await?;
    let queues: BTreeSet<_> = started.iter().map(|job| &job.queue).collect();
    let mut held: HashSet<JobId> = overdue.iter().flat_map(|silent| &silent.jobs).cloned().collect();
    for process in broker.processes().await? {
        for queue in &queues {
            held.extend(broker.held(queue, &process.id).await?.into_iter().map(|one| one.job.id));
        }
    }
    let mut lost = Vec::new();
    for job in started.into_iter().filter(|job| job.attempt > 0 && !held.contains(&job.id)) {
        // The job may have ended or been fetched again in the meantime.
        let again = broker.job(&job.id).await?;
        if again.is_some_and(|again| again.state == JobState::Started && again.attempt == job.attempt) {
            lost.push(job);
        }
    }
    Ok(lost)
}
