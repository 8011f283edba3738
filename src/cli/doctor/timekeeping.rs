//! Checks that a scheduler is running, and that the functions of schedules are registered. Pure functions.

use super::facts::{Facts, ForeignSchedule, Queues};
use super::finding::{Finding, Severity, finding};

/// Warns if no process holds the leader lease of the Scheduler. One that may live and only be unable to renew it has a
/// finding of its own.
pub(super) fn scheduler(queues: &Queues) -> Option<Finding> {
    if queues.is_led_in_silence() {
        return None;
    }
    let what = match &queues.scheduler {
        Some(leader) if leader.is_held() => return None,
        Some(leader) => format!("process {} held its lock last, and that has run out", leader.holder),
        None => "nobody has ever held its lock".to_owned(),
    };
    Some(finding(
        (Severity::Warning, "no_scheduler"),
        "scheduler",
        format!("{what}: delayed and retried jobs do not come due, schedules do not fire"),
        "start `tikkun serve` with SERVICE_ROLE `all`, `worker` or `scheduler`",
    ))
}

/// Finds schedules whose function is not registered in this build.
pub(super) fn schedules(facts: &Facts, queues: &Queues) -> Vec<Finding> {
    let foreign = facts.rules.foreign_schedules.iter().filter(|_| facts.asked.is_none());
    let found = foreign.map(|ForeignSchedule { name, function, queue }| {
        let ours = queues.listened_to(queue) || queues.is_awaited(queue) || facts.rules.own_queues.contains(queue);
        let severity = if ours { Severity::Warning } else { Severity::Notice };
        finding(
            (severity, "schedule_unknown_function"),
            format!("schedule {name}"),
            format!(
                "it calls `{function}`, which this build has not registered; its jobs wait in `{queue}`{}",
                if ours { ", where a worker of this build fails them" } else { "" }
            ),
            "correct `function`, or give the schedule a `queue` that only the worker listens to which has the function",
        )
    });
    found.collect()
}
