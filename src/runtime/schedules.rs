//! Schedules whose function is not registered in this process.

use crate::config::Settings;
use crate::job::{Registries, Schedule};

/// Warns of each: a function may be registered elsewhere, but a misspelt name shows only when it is due.
pub(super) fn warn_of_foreign(settings: &Settings, registries: &Registries) {
    let schedules = settings.schedules.iter().filter(|_| settings.service.role.schedules());
    let is_unknown = |schedule: &&Schedule| {
        let registry = registries.of(&schedule.queue);
        registry.foreign().is_none() && registry.find(&schedule.kind).is_err()
    };
    for schedule in schedules.filter(is_unknown) {
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
