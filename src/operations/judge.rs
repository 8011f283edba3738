//! Judges the status of the service from plain facts, for `/api/jobs/health` and the page; the doctor shares
//! [`cleanup_alarm`]. The result is stable codes, which can be translated. Pure functions.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::queue::{LeadershipState, QueueCounts};
use crate::store::OutboxSummary;

/// The limits beyond which the service is degraded.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// The most failed jobs.
    pub failed: u64,
    /// The most waiting jobs.
    pub queued: u64,
    /// The age at which an object that waits to be deleted raises an alarm; one that the storage refused
    /// raises it at once. `None`: no alarm, because `deletion.storage_delete` is off.
    pub cleanup_age: Option<Duration>,
    /// Whether a scheduler has to run at all times. If not, as beside a worker that was started without one, its absence
    /// is a warning only while jobs wait for their time.
    pub needs_scheduler: bool,
}

/// The facts from which the status is judged. `None`: the back end does not answer.
#[derive(Clone, Debug)]
pub struct ServiceFacts<'a> {
    /// The time of the read.
    pub now: DateTime<Utc>,
    /// The queues.
    pub queues: Option<Vec<QueueFacts<'a>>>,
    /// The process that holds or last held the leader lease of the Scheduler.
    pub scheduler: Option<Option<&'a LeadershipState>>,
    /// The objects that wait to be deleted from storage.
    pub outbox: Option<&'a OutboxSummary>,
    /// Back ends that refuse writes: `broker`, `database`.
    pub refusing: Vec<&'static str>,
    /// Queues that the broker does not serve to this process, each with whether no job at all is taken from it.
    pub unserved: Vec<(&'a str, bool)>,
    /// How many described deletions do not fit the tables.
    pub unusable_deletions: usize,
    /// Which jobs this process cannot run now.
    pub hindered: Hindered,
    /// Threads that are stuck in job code.
    pub stuck_threads: usize,
    /// The limits.
    pub thresholds: Thresholds,
}

/// Which jobs a process cannot run now, because the program that runs them is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hindered {
    /// None.
    #[default]
    No,
    /// Those of some queues.
    InPart,
    /// All.
    Wholly,
}

/// The facts about one queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number of its jobs by state.
    pub counts: QueueCounts,
    /// Whether it is paused.
    pub paused: bool,
    /// Live processes that listen to it; `None` if that was not read.
    pub listeners: Option<usize>,
}

/// A reason for the status, or a notice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reason {
    /// Its severity.
    pub severity: Severity,
    /// A stable code.
    #[schema(example = "nobody_listens")]
    pub code: &'static str,
    /// The queue it is about.
    pub queue: Option<String>,
    /// The number of jobs, objects or threads.
    pub count: Option<u64>,
    /// The limit that `count` exceeds.
    pub limit: Option<u64>,
}

/// The severity of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A back end cannot be reached or refuses writes, no job is taken from a queue, or none can be run.
    Unhealthy,
    /// Something does not work.
    Warning,
    /// Something is unusual.
    Degraded,
    /// For information.
    Notice,
}

/// Why the objects that wait to be deleted need attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupAlarm {
    /// The storage refuses to delete some of them.
    Refused,
    /// The oldest has waited for this time.
    Old(Duration),
}

/// The alarm for the outbox, if any. `alarm_after` is `None` if `deletion.storage_delete` is off: no alarm.
#[must_use]
pub fn cleanup_alarm(
    outbox: &OutboxSummary,
    alarm_after: Option<Duration>,
    now: DateTime<Utc>,
) -> Option<CleanupAlarm> {
    let most = alarm_after?;
    if outbox.refused > 0 {
        return Some(CleanupAlarm::Refused);
    }
    outbox.age(now).filter(|age| *age > most).map(CleanupAlarm::Old)
}

/// The status of the service, and its reasons, the worst first.
#[must_use]
pub fn judge(facts: &ServiceFacts<'_>) -> (&'static str, Vec<Reason>) {
    let mut found = Vec::new();
    let broker = facts.queues.as_ref().zip(facts.scheduler);
    match broker {
        None => found.push(reason(Severity::Unhealthy, "broker_unreachable")),
        Some((queues, leader)) => {
            let is_needed =
                facts.thresholds.needs_scheduler || queues.iter().any(|queue| queue.counts.scheduled > 0);
            if is_needed && !leader.is_some_and(LeadershipState::is_held) {
                found.push(reason(Severity::Warning, "no_scheduler"));
            }
            of_queues(queues, facts.thresholds, &mut found);
        }
    }
    match facts.outbox {
        None => found.push(reason(Severity::Unhealthy, "database_unreachable")),
        Some(outbox) if cleanup_alarm(outbox, facts.thresholds.cleanup_age, facts.now).is_some() => {
            found.push(Reason {
                count: Some(outbox.pending),
                ..reason(Severity::Degraded, "cleanup_overdue")
            });
        }
        Some(_) => {}
    }
    let read = |name: &str| if name == "broker" { broker.is_some() } else { facts.outbox.is_some() };
    for name in facts.refusing.iter().filter(|name| read(name)) {
        let code = if *name == "broker" { "broker_refuses_writes" } else { "database_refuses_writes" };
        found.push(reason(Severity::Unhealthy, code));
    }
    // A broker that serves no queue is named once.
    if broker.is_some() && !facts.refusing.contains(&"broker") {
        found.extend(facts.unserved.iter().map(|(queue, wholly)| {
            let (severity, code) = if *wholly {
                (Severity::Unhealthy, "queue_not_served")
            } else {
                (Severity::Degraded, "some_jobs_not_served")
            };
            Reason { queue: Some((*queue).to_owned()), ..reason(severity, code) }
        }));
    }
    match facts.hindered {
        Hindered::No => {}
        Hindered::InPart => found.push(reason(Severity::Degraded, "some_jobs_cannot_run")),
        Hindered::Wholly => found.push(reason(Severity::Unhealthy, "jobs_cannot_run")),
    }
    let counted = [
        (Severity::Degraded, "deletions_unusable", facts.unusable_deletions),
        (Severity::Notice, "stuck_threads", facts.stuck_threads),
    ];
    for (severity, code, count) in counted.into_iter().filter(|(.., count)| *count > 0) {
        found.push(Reason { count: u64::try_from(count).ok(), ..reason(severity, code) });
    }
    found.sort_by_key(|reason| reason.severity);
    let status = match found.first().map(|worst| worst.severity) {
        Some(Severity::Unhealthy) => "unhealthy",
        Some(Severity::Warning) => "warning",
        Some(Severity::Degraded) => "degraded",
        Some(Severity::Notice) | None => "healthy",
    };
    (status, found)
}

fn of_queues(queues: &[QueueFacts<'_>], thresholds: Thresholds, found: &mut Vec<Reason>) {
    let totals: QueueCounts = queues.iter().map(|queue| queue.counts).sum();
    let limits = [
        ("many_failed", totals.failed, thresholds.failed),
        ("many_queued", totals.queued, thresholds.queued),
    ];
    for (code, count, limit) in limits.into_iter().filter(|(_, count, limit)| count > limit) {
        let (count, limit) = (Some(count), Some(limit));
        found.push(Reason { count, limit, ..reason(Severity::Degraded, code) });
    }
    for queue in queues {
        let of = |code| Reason {
            queue: Some(queue.name.to_owned()),
            count: Some(queue.counts.queued),
            ..reason(Severity::Notice, code)
        };
        if queue.paused {
            found.push(of("queue_paused"));
        } else if queue.listeners == Some(0) && queue.counts.queued > 0 {
            found.push(of("nobody_listens"));
        }
    }
}

fn reason(severity: Severity, code: &'static str) -> Reason {
    Reason { severity, code, queue: None, count: None, limit: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Judges a healthy service with one queue, one listener and a scheduler, after a change of its facts.
    fn judged(change: impl FnOnce(&mut ServiceFacts<'_>)) -> (&'static str, Vec<Reason>) {
        let leader = LeadershipState { holder: "p".into(), ttl: HOUR, last_tick: None };
        let outbox = OutboxSummary::default();
        let mut facts = ServiceFacts {
            now: DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1),
            queues: Some(vec![queue(3, 0)]),
            scheduler: Some(Some(&leader)),
            outbox: Some(&outbox),
            refusing: Vec::new(),
            unserved: Vec::new(),
            unusable_deletions: 0,
            hindered: Hindered::No,
            stuck_threads: 0,
            thresholds: Thresholds {
                failed: 100,
                queued: 1000,
                cleanup_age: Some(HOUR),
                needs_scheduler: true,
            },
        };
        change(&mut facts);
        judge(&facts)
    }

    fn queue(queued: u64, failed: u64) -> QueueFacts<'static> {
        let counts = QueueCounts { queued, failed, ..QueueCounts::default() };
        QueueFacts { name: "low", counts, paused: false, listeners: Some(1) }
    }

    fn codes(change: impl FnOnce(&mut ServiceFacts<'_>)) -> (&'static str, Vec<&'static str>) {
        let (status, found) = judged(change);
        (status, found.iter().map(|reason| reason.code).collect())
    }

    #[test]
    fn the_worst_reason_decides_and_comes_first() {
        let unheard = QueueFacts { listeners: Some(0), ..queue(3, 101) };
        let (status, found) = judged(|facts| facts.queues = Some(vec![unheard]));
        let codes: Vec<_> = found.iter().map(|reason| reason.code).collect();
        assert_eq!((status, codes), ("degraded", vec!["many_failed", "nobody_listens"]));
        assert_eq!(found[1].queue.as_deref(), Some("low"));
    }

    #[test]
    fn what_is_unusual_is_more_than_the_threshold() {
        assert_eq!(codes(|_| ()), ("healthy", vec![]));
        assert_eq!(codes(|facts| facts.queues = Some(vec![queue(1000, 100)])), ("healthy", vec![]));
        assert_eq!(codes(|facts| facts.queues = Some(vec![queue(999, 0), queue(2, 0)])).1, ["many_queued"]);
        assert_eq!(codes(|facts| facts.queues = Some(vec![queue(0, 101)])).1, ["many_failed"]);
    }

    #[test]
    fn a_back_end_that_does_not_answer_is_out_of_reach_and_nothing_else_is_said_of_it() {
        let broker = ("unhealthy", vec!["broker_unreachable"]);
        assert_eq!(codes(|facts| facts.queues = None), broker);
        // While the broker does not answer, it is unknown whether a scheduler runs.
        assert_eq!(codes(|facts| facts.scheduler = None), broker);
        assert_eq!(codes(|facts| facts.outbox = None), ("unhealthy", vec!["database_unreachable"]));
        let both = codes(|facts| {
            facts.queues = None;
            facts.refusing = vec!["broker", "database"];
        });
        assert_eq!(both, ("unhealthy", vec!["broker_unreachable", "database_refuses_writes"]));
    }

    #[test]
    fn a_queue_that_is_not_served_is_named_unless_the_broker_serves_none() {
        let (status, found) = judged(|facts| facts.unserved = vec![("low", true), ("high", false)]);
        let named: Vec<_> = found.iter().map(|reason| (reason.code, reason.queue.as_deref())).collect();
        let expected = [("queue_not_served", Some("low")), ("some_jobs_not_served", Some("high"))];
        assert_eq!((status, &*named), ("unhealthy", &expected[..]));
        assert_eq!(
            codes(|facts| facts.unserved = vec![("low", false)]),
            ("degraded", vec!["some_jobs_not_served"])
        );
        let refused = codes(|facts| {
            facts.unserved = vec![("low", true)];
            facts.refusing = vec!["broker"];
        });
        assert_eq!(refused, ("unhealthy", vec!["broker_refuses_writes"]));
    }

    #[test]
    fn deletion_that_does_not_fit_the_tables_degrades_the_service() {
        let unusable = codes(|facts| facts.unusable_deletions = 1);
        assert_eq!(unusable, ("degraded", vec!["deletions_unusable"]));
    }

    #[test]
    fn process_that_can_run_no_job_is_unhealthy() {
        assert_eq!(codes(|facts| facts.hindered = Hindered::Wholly), ("unhealthy", vec!["jobs_cannot_run"]));
        assert_eq!(
            codes(|facts| facts.hindered = Hindered::InPart),
            ("degraded", vec!["some_jobs_cannot_run"])
        );
    }

    #[test]
    fn a_scheduler_that_is_not_asked_for_is_missed_only_while_jobs_wait_for_their_time() {
        let without = |facts: &mut ServiceFacts<'_>| {
            facts.thresholds.needs_scheduler = false;
            facts.scheduler = Some(None);
        };
        assert_eq!(codes(without), ("healthy", vec![]));
        let waits = |facts: &mut ServiceFacts<'_>| {
            without(facts);
            let counts = QueueCounts { scheduled: 1, ..QueueCounts::default() };
            facts.queues = Some(vec![QueueFacts { counts, ..queue(0, 0) }]);
        };
        assert_eq!(codes(waits), ("warning", vec!["no_scheduler"]));
    }

    #[test]
    fn a_lock_that_nobody_holds_is_no_scheduler() {
        let over = LeadershipState { holder: "p".into(), ttl: Duration::ZERO, last_tick: None };
        let (status, found) = judged(|facts| facts.scheduler = Some(None));
        assert_eq!((status, found[0].code), ("warning", "no_scheduler"));
        assert!(!over.is_held());
    }

    #[test]
    fn a_paused_queue_is_worth_knowing_and_healthy() {
        let paused = QueueFacts { paused: true, listeners: Some(0), ..queue(3, 0) };
        assert_eq!(codes(|facts| facts.queues = Some(vec![paused])), ("healthy", vec!["queue_paused"]));
        let not_looked_at = QueueFacts { listeners: None, ..queue(3, 0) };
        assert_eq!(codes(|facts| facts.queues = Some(vec![not_looked_at])), ("healthy", vec![]));
    }

    #[test]
    fn objects_raise_an_alarm_unless_they_stay_on_purpose() {
        let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        let since = |seconds| OutboxSummary {
            pending: 1,
            oldest: Some(now - chrono::TimeDelta::seconds(seconds)),
            ..OutboxSummary::default()
        };
        assert_eq!(cleanup_alarm(&since(3600), Some(HOUR), now), None);
        let old = CleanupAlarm::Old(Duration::from_secs(3601));
        assert_eq!(cleanup_alarm(&since(3601), Some(HOUR), now), Some(old));
        let refused = OutboxSummary { refused: 1, ..since(0) };
        assert_eq!(cleanup_alarm(&refused, Some(HOUR), now), Some(CleanupAlarm::Refused));
        for kept in [since(7200), refused] {
            assert_eq!(cleanup_alarm(&kept, None, now), None, "they stay on purpose");
        }
    }
}
