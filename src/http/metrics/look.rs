//! Metrics that must be read: from the tables of this process at each scrape, from the back ends at most
//! every five seconds, however many scrapes there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix_web::web;
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::python;
use crate::fault::Fault;
use crate::http::PythonReader;
use crate::http::health::HealthReader;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, JobState, QueueName, Schedule};
use crate::maintenance::SCHEDULER_ROLE;
use crate::measure::list;
use crate::queue::{LeadershipState, PausedQueue, ProcessRecord, QueueCounts, ScheduleMark};
use crate::store::OutboxSummary;

/// How long a read stays fresh.
const FRESH: Duration = Duration::from_secs(5);
/// The time limit for a back end; a scrape has ten seconds by default.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most active deletions that are read; there is at most one per tenant.
const DELETIONS: u32 = 200;
/// The label for all queues that the configuration does not name.
const OTHER: &str = "other";

/// Updates the metrics that must be read.
pub struct MetricsLook {
    health: web::Data<HealthReader>,
    /// The type of the rows of deletions.
    job_type: String,
    /// The queues with their own label.
    queues: BTreeSet<QueueName>,
    read: Mutex<Read>,
}

/// The state kept between two reads.
#[derive(Default)]
struct Read {
    at: Option<Instant>,
    /// The progress of each running deletion, and when that value was first seen.
    moved: BTreeMap<BackgroundJobId, (i64, Instant)>,
}

/// The state of the broker.
struct QueueReading {
    counts: BTreeMap<QueueName, QueueCounts>,
    paused: BTreeMap<QueueName, PausedQueue>,
    processes: Vec<ProcessRecord>,
    leader: Option<LeadershipState>,
    marks: BTreeMap<String, ScheduleMark>,
}

impl MetricsLook {
    /// Uses the ports of `health`; rows of `job_type` are deletions.
    #[must_use]
    pub fn new(health: web::Data<HealthReader>, job_type: String) -> Self {
        let worker = &health.worker;
        let queues =
            worker.configured_queues.iter().chain(&worker.all_known_queues).map(QueueName::from).collect();
        Self { health, job_type, queues, read: Mutex::default() }
    }

    /// Sets every gauge that must be read. Never fails: separate gauges show which back end does not answer.
    pub async fn bring_up_to_date(&self) {
        self.supervision();
        python::show(&self.health.python.as_ref().map(PythonReader::snapshots).unwrap_or_default());
        let mut read = self.read.lock().await;
        if read.at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let (queue, database) = futures::join!(within(self.read_queue()), within(self.read_database()));
        read.at = Some(Instant::now());
        list::READABLE.gauge(&["queue"]).set(flag(queue.is_ok()));
        list::READABLE.gauge(&["database"]).set(flag(database.is_ok()));
        self.show_queues(queue.as_ref().ok());
        self.show_scheduler(queue.as_ref().ok());
        let (outbox, deletions) = database.map_or((None, None), |(outbox, rows)| (Some(outbox), Some(rows)));
        show_outbox(outbox.as_ref());
        show_deletions(deletions.as_deref(), &mut read.moved, Instant::now());
    }

    async fn read_queue(&self) -> Result<QueueReading, Fault> {
        let broker = &self.health.broker;
        let (counts, paused, processes, leader, marks) = futures::try_join!(
            broker.counts(),
            broker.paused(),
            broker.processes(),
            broker.leadership(SCHEDULER_ROLE),
            broker.schedule_marks(),
        )?;
        Ok(QueueReading { counts, paused, processes, leader, marks })
    }

    async fn read_database(&self) -> Result<(OutboxSummary, Vec<BackgroundJob>), Fault> {
        let store = &self.health.store;
        futures::try_join!(
            store.outbox.summary(None),
            store.background_jobs.active(&self.job_type, DELETIONS)
        )
    }

    fn supervision(&self) {
        let tree = self.health.children.snapshot();
        for role in &tree.roles {
            list::ACTOR_RESTARTS.counter(&[&role.role]).absolute(role.restarts);
            list::ACTOR_PANICS.counter(&[&role.role]).absolute(role.panics);
            list::ACTORS.gauge(&[&role.role]).set(role.present as f64);
        }
        list::STUCK_THREADS.gauge(&[]).set(tree.stuck_threads as f64);
    }

    fn show_queues(&self, reading: Option<&QueueReading>) {
        for queue in &self.queues {
            let name = queue.as_str();
            let counts = reading.map(|reading| reading.counts.get(queue).copied().unwrap_or_default());
            show_counts(name, counts);
            let paused = reading.map(|reading| flag(reading.paused.contains_key(queue)));
            list::QUEUE_PAUSED.gauge(&[name]).set(paused.unwrap_or(f64::NAN));
            let listens = |process: &&ProcessRecord| process.listens_to(queue);
            let workers = reading.map(|reading| reading.processes.iter().filter(listens).count() as f64);
            list::QUEUE_WORKERS.gauge(&[name]).set(workers.unwrap_or(f64::NAN));
        }
        let others = reading.map(|reading| {
            let others = reading.counts.iter().filter(|(queue, _)| !self.queues.contains(queue));
            others.map(|(_, counts)| *counts).sum()
        });
        show_counts(OTHER, others);
    }

    fn show_scheduler(&self, reading: Option<&QueueReading>) {
        let now = Utc::now();
        let led = reading.map(|reading| flag(reading.leader.as_ref().is_some_and(LeadershipState::is_held)));
        list::SCHEDULER_LED.gauge(&[]).set(led.unwrap_or(f64::NAN));
        let tick = reading.and_then(|reading| reading.leader.as_ref()?.last_tick);
        list::SCHEDULER_TICK_AGE.gauge(&[]).set(tick.map_or(f64::NAN, |tick| since(tick, now)));
        for schedule in self.health.schedules.iter() {
            let lag = reading.map(|reading| lag(schedule, reading.marks.get(&schedule.name), now));
            list::SCHEDULE_LAG.gauge(&[&schedule.name]).set(lag.unwrap_or(f64::NAN));
        }
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, Fault>>) -> Result<T, ()> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| ())?.map_err(|_| ())
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn since(then: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    (now - then).to_std().unwrap_or_default().as_secs_f64()
}

fn show_counts(queue: &str, counts: Option<QueueCounts>) {
    for state in JobState::ALL {
        let count = counts.map(|mut counts| *counts.of_mut(state) as f64);
        list::QUEUE_JOBS.gauge(&[queue, state.as_str()]).set(count.unwrap_or(f64::NAN));
    }
}

/// How long the next due time after the mark has passed, in seconds. A mark of another rule does not count.
fn lag(schedule: &Schedule, mark: Option<&ScheduleMark>, now: DateTime<Utc>) -> f64 {
    let mark = mark.filter(|mark| mark.rule == schedule.rule.to_string());
    let due = mark.and_then(|mark| schedule.rule.next_after(mark.until));
    due.map_or(0.0, |due| since(due, now))
}

fn show_outbox(outbox: Option<&OutboxSummary>) {
    let show = |state: &str, count: Option<u64>| {
        list::OUTBOX_OBJECTS.gauge(&[state]).set(count.map_or(f64::NAN, |count| count as f64));
    };
    show("waiting", outbox.map(|outbox| outbox.pending.saturating_sub(outbox.refused)));
    show("refused", outbox.map(|outbox| outbox.refused));
    show("parked", outbox.map(|outbox| outbox.parked));
    let oldest = outbox.map(|outbox| outbox.age(Utc::now()).unwrap_or_default().as_secs_f64());
    list::OUTBOX_OLDEST.gauge(&[]).set(oldest.unwrap_or(f64::NAN));
}

fn show_deletions(
    rows: Option<&[BackgroundJob]>,
    moved: &mut BTreeMap<BackgroundJobId, (i64, Instant)>,
    now: Instant,
) {
    for status in Status::ALL.into_iter().filter(|status| status.is_active()) {
        let count = rows.map(|rows| rows.iter().filter(|row| row.status == status).count() as f64);
        list::DELETIONS.gauge(&[status.as_str()]).set(count.unwrap_or(f64::NAN));
    }
    let left = |row: &BackgroundJob| (row.progress.total - row.progress.processed).max(0);
    let left = rows.map(|rows| rows.iter().map(left).sum::<i64>() as f64);
    list::DELETION_RECEIPTS_LEFT.gauge(&[]).set(left.unwrap_or(f64::NAN));
    let silence = rows.map(|rows| silence(rows, moved, now).as_secs_f64());
    list::DELETION_SILENCE.gauge(&[]).set(silence.unwrap_or(f64::NAN));
}

/// The longest time that a running deletion has made no progress.
fn silence(
    rows: &[BackgroundJob],
    moved: &mut BTreeMap<BackgroundJobId, (i64, Instant)>,
    now: Instant,
) -> Duration {
    let running: BTreeMap<_, _> = rows
        .iter()
        .filter(|row| row.status == Status::Running)
        .map(|row| {
            let here = row.progress.processed;
            let since =
                moved.get(&row.id).filter(|(there, _)| *there == here).map_or(now, |(_, since)| *since);
            (row.id, (here, since))
        })
        .collect();
    *moved = running;
    moved.values().map(|(_, since)| now.saturating_duration_since(*since)).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;
    use crate::job::{Args, CronRule, Missed};

    #[test]
    fn a_schedule_lags_from_its_first_time_that_nobody_decided_on() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let schedule = Schedule {
            name: "nightly".to_owned(),
            rule: CronRule::parse("30 2 * * *", Tz::UTC).unwrap(),
            kind: "shop.report".into(),
            args: Args::default(),
            queue: "low".into(),
            timeout: None,
            retries: None,
            jitter: Duration::ZERO,
            missed: Missed::Once,
        };
        let until = at("2026-03-26T02:30:00Z");
        let mark = ScheduleMark { rule: schedule.rule.to_string(), until, last: None };
        assert_eq!(lag(&schedule, Some(&mark), at("2026-03-27T02:29:00Z")), 0.0);
        assert_eq!(lag(&schedule, Some(&mark), at("2026-03-27T02:31:00Z")), 60.0);
        assert_eq!(lag(&schedule, None, at("2026-03-27T02:31:00Z")), 0.0);
        let other = ScheduleMark { rule: "0 0 * * * UTC".to_owned(), ..mark };
        assert_eq!(lag(&schedule, Some(&other), at("2026-04-27T02:31:00Z")), 0.0);
    }
}
