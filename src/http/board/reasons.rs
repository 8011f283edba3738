//! Why the service is as it is, as stable words that a page can say in any language.

use super::shapes::{QueueState, Reason, Severity};
use crate::http::health::Thresholds;
use crate::store::OutboxSummary;

/// What reasons are found in.
pub(super) struct Evidence<'a> {
    /// The queues; none: the broker does not answer.
    pub queues: Option<&'a [QueueState]>,
    /// What storage owes; none: the database does not answer.
    pub outbox: Option<&'a OutboxSummary>,
    /// Whether anybody keeps time.
    pub scheduled: bool,
    /// Back ends that refuse writes: `broker`, `database`.
    pub refusing: Vec<&'static str>,
    /// Threads that do not come back.
    pub stuck_threads: usize,
    /// What is unusual.
    pub thresholds: Thresholds,
}

/// The reasons, worst first, and the word for them all.
pub(super) fn reasons(evidence: &Evidence<'_>) -> (&'static str, Vec<Reason>) {
    let mut found = Vec::new();
    match evidence.queues {
        None => found.push(reason(Severity::Unhealthy, "broker_unreachable")),
        Some(queues) => of_queues(queues, evidence, &mut found),
    }
    match evidence.outbox {
        None => found.push(reason(Severity::Unhealthy, "database_unreachable")),
        Some(outbox) if evidence.thresholds.overdue(outbox) => {
            found.push(Reason {
                count: Some(outbox.pending),
                ..reason(Severity::Degraded, "cleanup_overdue")
            });
        }
        Some(_) => {}
    }
    let read =
        |name: &str| if name == "broker" { evidence.queues.is_some() } else { evidence.outbox.is_some() };
    for name in evidence.refusing.iter().filter(|name| read(name)) {
        let code = if *name == "broker" { "broker_refuses_writes" } else { "database_refuses_writes" };
        found.push(reason(Severity::Unhealthy, code));
    }
    if evidence.stuck_threads > 0 {
        let count = u64::try_from(evidence.stuck_threads).ok();
        found.push(Reason { count, ..reason(Severity::Notice, "stuck_threads") });
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

fn of_queues(queues: &[QueueState], evidence: &Evidence<'_>, found: &mut Vec<Reason>) {
    if !evidence.scheduled {
        found.push(reason(Severity::Warning, "no_scheduler"));
    }
    let sum = |of: fn(&QueueState) -> u64| queues.iter().map(of).sum::<u64>();
    let limits = [
        ("many_failed", sum(|queue| queue.counts.failed), evidence.thresholds.failed),
        ("many_queued", sum(|queue| queue.counts.queued), evidence.thresholds.queued),
    ];
    for (code, count, limit) in limits.into_iter().filter(|(_, count, limit)| count > limit) {
        let (count, limit) = (Some(count), Some(limit));
        found.push(Reason { count, limit, ..reason(Severity::Degraded, code) });
    }
    for queue in queues {
        let of = |code| Reason {
            queue: Some(queue.name.clone()),
            count: Some(queue.counts.queued),
            ..reason(Severity::Notice, code)
        };
        if queue.paused {
            found.push(of("queue_paused"));
        } else if queue.workers == 0 && queue.counts.queued > 0 {
            found.push(of("nobody_listens"));
        }
    }
}

fn reason(severity: Severity, code: &'static str) -> Reason {
    Reason { severity, code, queue: None, count: None, limit: None }
}

#[cfg(test)]
mod tests {
    use super::super::shapes::Totals;
    use super::*;

    fn evidence<'a>(queues: Option<&'a [QueueState]>, outbox: Option<&'a OutboxSummary>) -> Evidence<'a> {
        let thresholds = Thresholds { failed: 100, queued: 1000, cleanup_age: None };
        Evidence { queues, outbox, scheduled: true, refusing: Vec::new(), stuck_threads: 0, thresholds }
    }

    #[test]
    fn the_worst_reason_decides_and_comes_first() {
        let counts = Totals { queued: 3, failed: 101, ..Totals::default() };
        let queues = [QueueState { name: "low".into(), counts, ..QueueState::default() }];
        let outbox = OutboxSummary::default();
        let (status, found) = reasons(&evidence(Some(&queues), Some(&outbox)));
        let codes: Vec<_> = found.iter().map(|reason| reason.code).collect();
        assert_eq!((status, codes), ("degraded", vec!["many_failed", "nobody_listens"]));
        assert_eq!(found[1].queue.as_deref(), Some("low"));
        assert_eq!(reasons(&evidence(None, Some(&outbox))).0, "unhealthy");
        let refusing = vec!["broker", "database"];
        let (status, found) = reasons(&Evidence { refusing, ..evidence(None, Some(&outbox)) });
        let codes: Vec<_> = found.iter().map(|reason| reason.code).collect();
        assert_eq!((status, codes), ("unhealthy", vec!["broker_unreachable", "database_refuses_writes"]));
    }

    #[test]
    fn a_paused_queue_is_worth_knowing_and_healthy() {
        let queues = [QueueState { paused: true, ..QueueState::default() }];
        let outbox = OutboxSummary::default();
        let (status, found) = reasons(&evidence(Some(&queues), Some(&outbox)));
        assert_eq!((status, found[0].code), ("healthy", "queue_paused"));
    }
}
