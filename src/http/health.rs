//! `/api/jobs/…`: the state of the queues, the scheduler and this worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::python::PythonReader;
use super::views::time;
use super::writes::Refusals;
use super::{Problem, Writes};
use crate::deletion::described::Descriptions;
use crate::fault::{Fault, FaultKind};
use crate::job::{QueueName, Schedule};
use crate::maintenance::SCHEDULER_ROLE;
use crate::operations::{Hindered, QueueFacts, ServiceFacts, Thresholds, cleanup_alarm, judge};
use crate::queue::{Broker, LeadershipState, PausedQueue, QueueCounts, ScheduleMark};
use crate::store::{OutboxSummary, Store};
use crate::supervision::HealthTable;
use crate::worker::{Outages, Running, Unserved};

/// The configuration of this worker, for `/api/jobs/worker/config`.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerConfig {
    /// The queues it listens to, in order.
    pub configured_queues: Vec<String>,
    /// The same, joined with commas.
    pub rq_queues_env: String,
    /// The role of the process.
    pub service_role: String,
    /// Whether it listens to the queue of deletions.
    pub listens_to_maintenance: bool,
    /// The known queues of the application.
    pub all_known_queues: Vec<String>,
}

/// Reads the state of the service.
pub struct HealthReader {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// The database.
    pub store: Store,
    /// The supervised actors.
    pub children: HealthTable,
    /// The running jobs.
    pub running: Running,
    /// The described deletions.
    pub deletions: Arc<Descriptions>,
    /// The configuration of this worker.
    pub worker: WorkerConfig,
    /// The schedules.
    pub schedules: Arc<[Schedule]>,
    /// The limits beyond which the service is degraded.
    pub thresholds: Thresholds,
    /// Whether writes to the back ends succeed.
    pub writes: Writes,
    /// The queues that are not served now.
    pub outages: Outages,
    /// The Python processes, if this process runs jobs in them.
    pub python: Option<PythonReader>,
    /// The time limit for each back end, so that a response is sent in time.
    pub deadline: Duration,
}

/// Counts by queue.
type Counts = BTreeMap<QueueName, QueueCounts>;
/// The paused queues, with who paused each.
type Pauses = BTreeMap<QueueName, PausedQueue>;

#[derive(Debug, Default, Serialize)]
struct QueueView {
    #[serde(flatten)]
    counts: QueueCounts,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_since: Option<String>,
}

impl QueueView {
    fn new(counts: QueueCounts, pause: Option<&PausedQueue>) -> Self {
        Self {
            counts,
            paused: pause.is_some(),
            paused_by: pause.map(|pause| pause.by.clone()),
            paused_since: pause.map(|pause| time(pause.since)),
        }
    }
}

/// The results of all reads; an error where a back end did not answer.
struct Reading {
    counts: Result<Counts, Fault>,
    paused: Result<Pauses, Fault>,
    scheduler: Result<Option<LeadershipState>, Fault>,
    outbox: Result<OutboxSummary, Fault>,
    refusals: Refusals,
    unserved: BTreeMap<QueueName, Unserved>,
    /// Described deletions that cannot be used, with the reasons.
    unusable: BTreeMap<String, String>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/jobs/health").route(web::get().to(health)))
        .service(web::resource("/jobs/stats").route(web::get().to(stats)))
        .service(web::resource("/jobs/scheduler").route(web::get().to(scheduler)))
        .service(web::resource("/jobs/worker/config").route(web::get().to(worker_config)));
}

async fn health(reader: web::Data<HealthReader>) -> HttpResponse {
    let reading = reader.read().await;
    let status = status(&reading, reader.hindered(), reader.thresholds);
    let body = reader.body(status, &reading);
    if status == "unhealthy" {
        HttpResponse::InternalServerError().json(body)
    } else {
        HttpResponse::Ok().json(body)
    }
}

async fn stats(reader: web::Data<HealthReader>) -> Result<HttpResponse, Problem> {
    let (counts, paused) = reader
        .within(async { futures::try_join!(reader.broker.counts(), reader.broker.paused()) })
        .await
        .map_err(|fault| Problem::unavailable("broker", &fault))?;
    let queues = reader.queues(&counts, &paused);
    Ok(HttpResponse::Ok().json(json!({ "queues": queues, "summary": summary(&counts) })))
}

async fn scheduler(reader: web::Data<HealthReader>) -> Result<HttpResponse, Problem> {
    let broker = &reader.broker;
    let (leader, marks) = reader
        .within(async { futures::try_join!(broker.leadership(SCHEDULER_ROLE), broker.schedule_marks()) })
        .await
        .map_err(|fault| Problem::unavailable("broker", &fault))?;
    let mut view = scheduler_view(leader.as_ref());
    let now = Utc::now();
    let schedules = reader.schedules.iter().map(|one| schedule_view(one, marks.get(&one.name), now));
    if let Some(view) = view.as_object_mut() {
        view.insert("schedules".to_owned(), schedules.collect());
    }
    Ok(HttpResponse::Ok().json(view))
}

async fn worker_config(reader: web::Data<HealthReader>) -> HttpResponse {
    HttpResponse::Ok().json(&reader.worker)
}

impl HealthReader {
    pub(super) async fn within<T>(&self, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::new(FaultKind::Unavailable, "no answer in time")),
        }
    }

    /// Which jobs cannot be run here now.
    pub(super) fn hindered(&self) -> Hindered {
        self.python.as_ref().map(PythonReader::hindered).unwrap_or_default()
    }

    async fn read(&self) -> Reading {
        let (counts, paused, scheduler, outbox, refusals) = futures::join!(
            self.within(self.broker.counts()),
            self.within(self.broker.paused()),
            self.within(self.broker.leadership(SCHEDULER_ROLE)),
            self.within(self.store.outbox.summary(None)),
            self.writes.refused(),
        );
        let (unserved, unusable) = (self.outages.by_queue(), self.deletions.unusable());
        Reading { counts, paused, scheduler, outbox, refusals, unserved, unusable }
    }

    fn body(&self, status: &str, reading: &Reading) -> Value {
        let (none, nobody) = (Counts::new(), Pauses::new());
        let counts = reading.counts.as_ref().unwrap_or(&none);
        let paused = reading.paused.as_ref().unwrap_or(&nobody);
        let unreachable: Vec<_> = [
            ("broker", reading.counts.is_err() || reading.paused.is_err()),
            ("database", reading.outbox.is_err()),
        ]
        .into_iter()
        .filter_map(|(name, failed)| failed.then_some(name))
        .collect();
        let leader = reading.scheduler.as_ref().ok().and_then(Option::as_ref);
        let (now, alarm_after) = (Utc::now(), self.thresholds.cleanup_age);
        let cleanup = reading.outbox.as_ref().ok().map(|outbox| {
            json!({
                "pending": outbox.pending,
                "oldest_seconds": outbox.age(now).map(|age| age.as_secs()),
                "alarm": cleanup_alarm(outbox, alarm_after, now).is_some(),
                "last_error": outbox.last_error,
                "refused": outbox.refused,
                "parked": outbox.parked,
                "storage_delete": alarm_after.is_some(),
            })
        });
        let reasons = reading.unserved.iter().map(|(queue, one)| (queue.to_string(), &one.why));
        let not_served: BTreeMap<_, _> = reasons.collect();
        let mut body = json!({
            "status": status,
            "unreachable": unreachable,
            "refuses_writes": reading.refusals,
            "queues": self.queues(counts, paused),
            "not_served": not_served,
            "unusable_deletions": reading.unusable,
            "scheduler": scheduler_view(leader),
            "worker": self.worker,
            "summary": summary(counts),
            "cleanup_pending": cleanup,
            "running": self.running.list(),
            "supervision": self.children.snapshot(),
        });
        if let (Some(python), Some(body)) = (&self.python, body.as_object_mut()) {
            body.insert("python".to_owned(), json!(python.state()));
        }
        body
    }

    /// Every known queue, even if it was never used, and every used one.
    fn queues(&self, counts: &Counts, paused: &Pauses) -> BTreeMap<String, QueueView> {
        let known = self.worker.all_known_queues.iter().chain(&self.worker.configured_queues);
        let used = counts.keys().chain(paused.keys()).map(ToString::to_string);
        let view = |name: String| {
            let queue = QueueName::from(&name);
            let counts = counts.get(&queue).copied().unwrap_or_default();
            (name, QueueView::new(counts, paused.get(&queue)))
        };
        known.cloned().chain(used).map(view).collect()
    }
}

fn summary(counts: &Counts) -> Value {
    let totals: QueueCounts = counts.values().copied().sum();
    json!({ "total_queued": totals.queued, "total_failed": totals.failed })
}

fn scheduler_view(leader: Option<&LeadershipState>) -> Value {
    let ttl = leader.map_or(Duration::ZERO, |leader| leader.ttl);
    json!({
        "last_tick": leader.and_then(|leader| leader.last_tick).map(time),
        "lock_held": leader.is_some_and(LeadershipState::is_held),
        "lock_ttl": ttl.as_secs_f64().ceil() as u64,
    })
}

pub(super) fn schedule_view(schedule: &Schedule, mark: Option<&ScheduleMark>, now: DateTime<Utc>) -> Value {
    json!({
        "name": schedule.name,
        "cron": schedule.rule.fields(),
        "time_zone": schedule.rule.zone().name(),
        "function": schedule.kind,
        "queue": schedule.queue,
        "last_run": mark.and_then(|mark| mark.last).map(time),
        "next_run": schedule.rule.next_after(now).map(time),
    })
}

fn queue_facts<'a>((queue, counts): (&'a QueueName, &QueueCounts)) -> QueueFacts<'a> {
    QueueFacts { name: queue.as_str(), counts: *counts, paused: false, listeners: None }
}

/// The queues that are not served, with whether nothing is taken from them.
pub(super) fn unserved_queues(unserved: &BTreeMap<QueueName, Unserved>) -> Vec<(&str, bool)> {
    unserved.iter().map(|(queue, one)| (queue.as_str(), one.wholly)).collect()
}

/// The status of the service. Listeners are not taken into account here.
fn status(reading: &Reading, hindered: Hindered, thresholds: Thresholds) -> &'static str {
    let counts = reading.counts.as_ref().ok().filter(|_| reading.paused.is_ok());
    let judged = judge(&ServiceFacts {
        now: Utc::now(),
        queues: counts.map(|counts| counts.iter().map(queue_facts).collect()),
        scheduler: reading.scheduler.as_ref().ok().map(Option::as_ref),
        outbox: reading.outbox.as_ref().ok(),
        refusing: reading.refusals.keys().copied().collect(),
        unserved: unserved_queues(&reading.unserved),
        unusable_deletions: reading.unusable.len(),
        hindered,
        stuck_threads: 0,
        thresholds,
    });
    judged.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        failed: 100,
        queued: 1000,
        cleanup_age: Some(Duration::from_secs(3600)),
        needs_scheduler: true,
    };

    fn reading(queued: u64, failed: u64, ttl: u64) -> Reading {
        let counts = QueueCounts { queued, failed, ..QueueCounts::default() };
        let leader = LeadershipState { holder: "p".into(), ttl: Duration::from_secs(ttl), last_tick: None };
        Reading {
            counts: Ok([("default".into(), counts)].into()),
            paused: Ok(Pauses::new()),
            scheduler: Ok(Some(leader)),
            outbox: Ok(OutboxSummary::default()),
            refusals: Refusals::new(),
            unserved: BTreeMap::new(),
            unusable: BTreeMap::new(),
        }
    }

    #[test]
    fn the_worst_thing_decides() {
        assert_eq!(status(&reading(1000, 100, 75), Hindered::No, THRESHOLDS), "healthy");
        assert_eq!(status(&reading(1001, 0, 75), Hindered::No, THRESHOLDS), "degraded");
        assert_eq!(status(&reading(0, 101, 75), Hindered::No, THRESHOLDS), "degraded");
        assert_eq!(status(&reading(0, 101, 0), Hindered::No, THRESHOLDS), "warning");
        let mut overdue = reading(0, 0, 75);
        let oldest = Some(Utc::now() - chrono::TimeDelta::hours(2));
        overdue.outbox = Ok(OutboxSummary { pending: 1, oldest, ..OutboxSummary::default() });
        assert_eq!(status(&overdue, Hindered::No, THRESHOLDS), "degraded");
        let mut undescribed = reading(0, 0, 75);
        undescribed.unusable.insert("recordings".to_owned(), "there is no table `recordings`".to_owned());
        assert_eq!(status(&undescribed, Hindered::No, THRESHOLDS), "degraded");
        let mut refused = reading(0, 0, 75);
        refused.outbox = Ok(OutboxSummary { pending: 1, refused: 1, ..OutboxSummary::default() });
        assert_eq!(status(&refused, Hindered::No, THRESHOLDS), "degraded", "only a person can help");
        let off = Thresholds { cleanup_age: None, ..THRESHOLDS };
        assert_eq!(status(&overdue, Hindered::No, off), "healthy", "they stay on purpose");
        let mut full = reading(0, 0, 75);
        full.refusals.insert("broker", "the disk is full".to_owned());
        assert_eq!(status(&full, Hindered::No, THRESHOLDS), "unhealthy", "it can be read, and no more");
        let mut broken = reading(0, 0, 75);
        broken.outbox = Err(Fault::new(FaultKind::Unavailable, "gone"));
        assert_eq!(status(&broken, Hindered::No, THRESHOLDS), "unhealthy");
        assert_eq!(
            status(&reading(0, 0, 75), Hindered::Wholly, THRESHOLDS),
            "unhealthy",
            "no job can be run"
        );
    }

    #[test]
    fn a_paused_queue_says_who_paused_it_and_others_keep_their_shape() {
        let since = "2026-03-27T10:00:00.5Z".parse().unwrap();
        let pause = PausedQueue { by: "Dana".to_owned(), since };
        let counts = QueueCounts { queued: 5, ..QueueCounts::default() };
        let paused = json!(QueueView::new(counts, Some(&pause)));
        assert_eq!(paused["paused_by"], json!("Dana"));
        assert_eq!(paused["paused_since"], json!("2026-03-27T10:00:00Z"));
        assert_eq!((&paused["queued"], &paused["paused"]), (&json!(5), &json!(true)));
        let runs = json!({
            "queued": 5, "scheduled": 0, "started": 0, "finished": 0, "failed": 0, "canceled": 0, "paused": false,
        });
        assert_eq!(json!(QueueView::new(counts, None)), runs);
    }

    #[test]
    fn a_schedule_tells_its_last_and_its_next_run() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let schedule = Schedule {
            name: "nightly".to_owned(),
            rule: crate::job::CronRule::parse("30 2 * * *", chrono_tz::Asia::Jerusalem).unwrap(),
            kind: "shop.report".into(),
            args: crate::job::Args::default(),
            queue: "low".into(),
            timeout: None,
            retries: None,
            jitter: Duration::ZERO,
            missed: crate::job::Missed::Once,
        };
        let last = at("2026-03-26T00:30:00Z");
        let mark = ScheduleMark { rule: String::new(), until: last, last: Some(last) };
        let view = schedule_view(&schedule, Some(&mark), at("2026-03-26T12:00:00Z"));
        assert_eq!(view["last_run"], json!("2026-03-26T00:30:00Z"));
        assert_eq!(view["next_run"], json!("2026-03-27T00:00:00Z"), "right after the gap");
        assert_eq!((&view["time_zone"], &view["cron"]), (&json!("Asia/Jerusalem"), &json!("30 2 * * *")));
        assert_eq!(schedule_view(&schedule, None, last)["last_run"], Value::Null);
    }

    #[test]
    fn a_scheduler_nobody_leads_holds_no_lock() {
        assert_eq!(scheduler_view(None), json!({ "last_tick": null, "lock_held": false, "lock_ttl": 0 }));
    }
}
