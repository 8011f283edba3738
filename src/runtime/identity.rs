//! The identity of this process, as other processes and users see it.

use chrono::Utc;

use crate::config::Settings;
use crate::http::WorkerConfig;
use crate::queue::ProcessRecord;

/// The process as named in its lease.
pub(super) fn this_process(settings: &Settings) -> ProcessRecord {
    let now = Utc::now();
    ProcessRecord {
        id: uuid::Uuid::new_v4().simple().to_string().into(),
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        pid: std::process::id(),
        queues: if settings.service.role.runs_jobs() { settings.worker.queues.clone() } else { Vec::new() },
        started_at: now,
        lease_until: now,
    }
}

/// The configuration of this worker, as the HTTP server shows it.
pub(super) fn worker_config(settings: &Settings) -> WorkerConfig {
    let worker = &settings.worker;
    WorkerConfig {
        configured_queues: worker.queues.iter().map(ToString::to_string).collect(),
        rq_queues_env: worker.queues_as_given.clone(),
        service_role: settings.service.role.to_string(),
        listens_to_maintenance: worker.listens_to(settings.deletion.queue.as_str()),
        all_known_queues: worker.known_queues.iter().map(ToString::to_string).collect(),
    }
}
