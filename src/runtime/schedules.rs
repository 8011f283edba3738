//! Schedules whose function this process does not have.

use crate::config::Settings;
use crate::job::Registry;

/// What a schedule calls may live in another process; but a wrong name would show only when it comes due.
pub(super) fn warn_of_foreign(settings: &Settings, registry: &Registry) {
    let schedules = settings.schedules.iter().filter(|_| settings.service.role.schedules());
    for schedule in schedules.filter(|schedule| registry.find(&schedule.kind).is_err()) {
        tracing::warn!(
            queue.name = %schedule.queue,
            job.kind = %schedule.kind,
            "schedule `{name}` calls `{kind}`, which this process has not registered: a worker that has it must \
             listen to queue `{queue}`, or correct `function`",
            name = schedule.name,
            kind = schedule.kind,
            queue = schedule.queue
        );
    }
}
