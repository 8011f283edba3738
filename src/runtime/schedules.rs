//! Schedules whose function is not registered in this process.

use crate::config::Settings;
use crate::job::Registry;

/// Warns of each: a function may be registered elsewhere, but a misspelt name shows only when it is due.
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
