//! Reads everything that the board shows from the ports and the actors' tables, concurrently.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web;
use chrono::{DateTime, Utc};

use super::eta::{DeletionRow, deletion_row};
use super::history::{History, last_minute};
use super::running::{running_jobs, running_state};
use super::shapes::{
    CleanupState, Overview, ProcessState, QueueState, SchedulerState, Snapshot, WorkerState,
};
use crate::fault::Fault;
use crate::http::facade::Facade;
use crate::http::health::{HealthReader, unserved_queues};
use crate::http::python::PythonReader;
use crate::http::views::{QueueService, time};
use crate::job::QueueName;
use crate::job::background::BackgroundJob;
use crate::job_log::JobLog;
use crate::maintenance::SCHEDULER_ROLE;
use crate::operations::{ServiceFacts, cleanup_alarm, judge, present};
use crate::queue::{LeadershipState, PausedQueue, ProcessRecord, QueueCounts};
use crate::store::OutboxSummary;
use crate::worker::RunningJob;

/// The most active deletions.
const ACTIVE: u32 = 200;
/// The most recent deletions that are shown as well.
const RECENT: u32 = 30;

/// The process that answers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The process.
    pub process: ProcessRecord,
    /// Its role.
    pub role: String,
    /// Jobs that it runs at the same time.
    pub slots: u64,
    /// Whether the page refuses all changes.
    pub read_only: bool,
    /// How often the board is read.
    pub interval: Duration,
}

/// Reads the board.
pub struct BoardReader {
    /// The queues, the outbox and the actors' table.
    pub health: web::Data<HealthReader>,
    /// The deletions.
    pub facade: web::Data<Facade>,
    /// The log lines of jobs that ran in this process.
    pub job_log: Arc<JobLog>,
    /// The process that answers.
    pub identity: Identity,
}

/// The results of all reads; an error where a back end did not answer.
struct Reading {
    counts: Result<BTreeMap<QueueName, QueueCounts>, Fault>,
    paused: Result<BTreeMap<QueueName, PausedQueue>, Fault>,
    scheduler: Result<Option<LeadershipState>, Fault>,
    processes: Result<Vec<ProcessRecord>, Fault>,
    outbox: Result<OutboxSummary, Fault>,
    active: Result<Vec<BackgroundJob>, Fault>,
    newest: Result<Vec<BackgroundJob>, Fault>,
    now: Result<DateTime<Utc>, Fault>,
    /// With the progress that Python jobs have saved.
    running: Vec<RunningJob>,
}

impl BoardReader {
    /// Reads everything once.
    pub(in crate::http) async fn read(&self, history: &mut History) -> Snapshot {
        history.look(Instant::now());
        let reading = self.ask(history).await;
        let now = Instant::now();
        if let Ok(processes) = &reading.processes {
            history.seen.workers = processes.iter().map(|process| self.worker(process)).collect();
        }
        let queues = self.queues(&reading, (now, history));
        let children = self.health.children.snapshot();
        let refusing = self.health.writes.refused().await.into_keys().collect();
        let unserved = self.health.outages.by_queue();
        let leader = reading.scheduler.as_ref().ok().and_then(Option::as_ref);
        let outbox = reading.outbox.as_ref().ok();
        let (status, reasons) = judge(&ServiceFacts {
            now: Utc::now(),
            queues: (reading.counts.is_ok() && reading.paused.is_ok())
                .then(|| queues.iter().map(QueueState::facts).collect()),
            scheduler: reading.scheduler.as_ref().ok().map(Option::as_ref),
            outbox: outbox.filter(|_| reading.active.is_ok()),
            refusing,
            unserved: unserved_queues(&unserved),
            unusable_deletions: self.health.deletions.unusable().len(),
            hindered: self.health.hindered(),
            stuck_threads: children.stuck_threads,
            thresholds: self.health.thresholds,
        });
        let overview = Overview {
            status,
            reasons,
            totals: queues.iter().map(|queue| queue.counts).sum(),
            per_minute: queues.iter().map(|queue| queue.per_minute).sum(),
            scheduler: scheduler(leader),
            cleanup: outbox.map(|outbox| self.cleanup(outbox)),
            process: self.process(),
        };
        Snapshot {
            overview,
            queues,
            workers: history.seen.workers.clone(),
            running: reading.running.iter().map(|job| running_state(job, &self.job_log)).collect(),
            python: self.health.python.as_ref().map(PythonReader::state),
            deletions_known: reading.active.is_ok() && reading.newest.is_ok(),
            deletions: self.deletions(reading, (now, history)),
            tree: children.into(),
        }
    }

    async fn ask(&self, history: &mut History) -> Reading {
        let (health, jobs) = (&self.health, &self.facade.deletions.jobs);
        let kind = &self.facade.deletions.requests.tracked.job_type;
        let (counts, paused, scheduler, processes, outbox, active, now, running) = futures::join!(
            health.within(health.broker.counts()),
            health.within(health.broker.paused()),
            health.within(health.broker.leadership(SCHEDULER_ROLE)),
            health.within(present(&*health.broker)),
            history.outbox.read(health.within(health.store.outbox.summary(None))),
            health.within(jobs.active(kind, ACTIVE)),
            health.within(jobs.now()),
            running_jobs(health),
        );
        history.under_way(active.as_deref().unwrap_or_default());
        let newest = history.newest.read(health.within(jobs.newest(kind, RECENT))).await;
        Reading { counts, paused, scheduler, processes, outbox, active, newest, now, running }
    }

    /// The queues, or their last known state while the broker does not answer. Charts only use real reads, so
    /// that a broker that recovers does not seem to have finished all its jobs at that moment.
    fn queues(&self, reading: &Reading, (now, history): (Instant, &mut History)) -> Vec<QueueState> {
        let workers = &history.seen.workers.clone()[..];
        let (Ok(counts), Ok(paused)) = (&reading.counts, &reading.paused) else {
            let unknown =
                || self.states((&BTreeMap::new(), &BTreeMap::new(), workers), |_, _| <_>::default());
            return history.seen.queues.clone().unwrap_or_else(unknown);
        };
        let states = self.states((counts, paused, workers), |name, totals| history.queue(now, name, totals));
        history.seen.queues = Some(states.clone());
        states
    }

    /// Every known queue in the worker's order, then other queues that are used or paused.
    fn states(
        &self,
        (counts, paused, workers): (
            &BTreeMap<QueueName, QueueCounts>,
            &BTreeMap<QueueName, PausedQueue>,
            &[WorkerState],
        ),
        mut chart: impl FnMut(&str, QueueCounts) -> (Vec<u64>, Vec<u64>),
    ) -> Vec<QueueState> {
        let worker = &self.health.worker;
        let mut names: Vec<QueueName> =
            worker.configured_queues.iter().chain(&worker.all_known_queues).map(QueueName::from).collect();
        names.extend(counts.keys().chain(paused.keys()).cloned());
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let state = |name: QueueName| {
            let counts = counts.get(&name).copied().unwrap_or_default();
            let (depth, done) = chart(name.as_str(), counts);
            let pause = paused.get(&name);
            QueueState {
                counts,
                workers: workers
                    .iter()
                    .filter(|worker| worker.queues.iter().any(|one| one == name.as_str()))
                    .count(),
                paused: pause.is_some(),
                paused_by: pause.map(|pause| pause.by.clone()),
                paused_since: pause.map(|pause| time(pause.since)),
                per_minute: last_minute(&done),
                name: name.to_string(),
                depth,
                done,
            }
        };
        names.into_iter().map(state).collect()
    }

    fn deletions(&self, reading: Reading, (now, history): (Instant, &mut History)) -> Vec<DeletionRow> {
        let tracked = &self.facade.deletions.requests.tracked;
        let listens = |all: &Vec<ProcessRecord>| all.iter().any(|one| one.listens_to(&tracked.queue));
        let service = QueueService {
            now: reading.now.unwrap_or_else(|_| Utc::now()),
            stuck_after: self.facade.stuck_after,
            queue: tracked.queue.to_string(),
            served: reading.processes.as_ref().ok().map(listens),
        };
        let (Ok(newest), Ok(active)) = (reading.newest, reading.active) else {
            return history.seen.deletions.clone();
        };
        let mut rows: BTreeMap<i64, BackgroundJob> = BTreeMap::new();
        for job in newest.into_iter().chain(active) {
            rows.insert(job.id.0, job);
        }
        history.keep_deletions(|id| rows.get(&id).is_some_and(|job| job.status.is_active()));
        let row = |job: BackgroundJob| {
            let active = job.status.is_active();
            let rates =
                if active { history.deletion(now, job.id.0, job.progress.processed) } else { Vec::new() };
            deletion_row(&job, &service, rates)
        };
        let rows: Vec<DeletionRow> = rows.into_values().rev().map(row).collect();
        history.seen.deletions.clone_from(&rows);
        rows
    }

    fn cleanup(&self, outbox: &OutboxSummary) -> CleanupState {
        let (now, alarm_after) = (Utc::now(), self.health.thresholds.cleanup_age);
        CleanupState {
            pending: outbox.pending,
            oldest_seconds: outbox.age(now).map(|age| age.as_secs()),
            refused: outbox.refused,
            parked: outbox.parked,
            alarm: cleanup_alarm(outbox, alarm_after, now).is_some(),
            last_error: outbox.last_error.clone(),
        }
    }

    fn process(&self) -> ProcessState {
        let Identity { process, role, slots, read_only, interval } = &self.identity;
        let planning = &self.facade.planning;
        ProcessState {
            id: process.id.to_string(),
            role: role.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started_at: time(process.started_at),
            slots: *slots,
            read_only: *read_only,
            batch: planning.batch,
            throttle_ms: whole_millis(planning.throttle),
            interval_ms: whole_millis(*interval),
        }
    }

    fn worker(&self, process: &ProcessRecord) -> WorkerState {
        WorkerState {
            id: process.id.to_string(),
            host: process.host.clone(),
            pid: process.pid,
            queues: process.queues.iter().map(ToString::to_string).collect(),
            started_at: time(process.started_at),
            here: process.id == self.identity.process.id,
        }
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn scheduler(leader: Option<&LeadershipState>) -> SchedulerState {
    SchedulerState {
        lock_held: leader.is_some_and(LeadershipState::is_held),
        holder: leader.map(|leader| leader.holder.to_string()),
        last_tick: leader.and_then(|leader| leader.last_tick).map(time),
    }
}
