//! All sections together.

use std::time::Duration;

use super::layers::Entry;
use super::proxy::WebhookProxies;
use super::reader::Reader;
use super::sections::attachments::AttachmentSettings;
use super::sections::broker::{BrokerEngine, BrokerSettings};
use super::sections::certificate::CertificateSettings;
use super::sections::deletion::DeletionSettings;
use super::sections::described;
use super::sections::diagnostics::DiagnosticsSettings;
use super::sections::http::HttpSettings;
use super::sections::lease::LeaseSettings;
use super::sections::log::LogSettings;
use super::sections::python::{self, PythonSettings, PythonWorkerSettings};
use super::sections::rescuer::RescuerSettings;
use super::sections::retention::RetentionSettings;
use super::sections::schedule;
use super::sections::scheduler::SchedulerSettings;
use super::sections::service::ServiceSettings;
use super::sections::store::StoreSettings;
use super::sections::supervision::SupervisionSettings;
use super::sections::traces::TraceSettings;
use super::sections::tracker::TrackerSettings;
use super::sections::trust::TlsSettings;
use super::sections::worker::WorkerSettings;
use crate::job::{DescribedDeletion, QueueName, Schedule};

/// All settings of the service. `config/default.toml` explains each value.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The role of this process, its data folder and how it stops.
    pub service: ServiceSettings,
    /// The certificate authorities that TLS connections trust.
    pub tls: TlsSettings,
    /// The log's level and format.
    pub log: LogSettings,
    /// The HTTP server.
    pub http: HttpSettings,
    /// The queues to listen to, and how many jobs run at the same time.
    pub worker: WorkerSettings,
    /// How long the lease of a process is valid, and how often it is renewed.
    pub lease: LeaseSettings,
    /// How often orphaned jobs, the outbox and missing queue jobs are checked.
    pub rescuer: RescuerSettings,
    /// How often due jobs are enqueued, and how long the leader lease is valid.
    pub scheduler: SchedulerSettings,
    /// How many ended jobs each queue keeps.
    pub retention: RetentionSettings,
    /// The jobs that are enqueued on a schedule.
    pub schedules: Vec<Schedule>,
    /// The job that deletes receipts, and the pace of all deletions.
    pub deletion: DeletionSettings,
    /// The key that signs certificates of deletions.
    pub certificate: CertificateSettings,
    /// The described deletions of other tables.
    pub deletions: Vec<DescribedDeletion>,
    /// How often progress and heartbeats are written.
    pub tracker: TrackerSettings,
    /// The limits and delays for restarts of failing actors.
    pub supervision: SupervisionSettings,
    /// `[diagnostics]`: whether the test jobs `tikkun.*` are registered.
    pub diagnostics: DiagnosticsSettings,
    /// How the processes of Python jobs are used.
    pub python: PythonSettings,
    /// The Python workers whose jobs run beside kinds in Rust.
    pub python_workers: Vec<PythonWorkerSettings>,
    /// The queue engine.
    pub broker: BrokerSettings,
    /// The database with the tables.
    pub store: StoreSettings,
    /// Where attached files are stored.
    pub attachments: AttachmentSettings,
    /// The proxies for webhooks; only HTTPS_PROXY and similar variables set them.
    pub webhook_proxies: WebhookProxies,
    /// Whether spans are exported; only OpenTelemetry's own variables set this.
    pub traces: TraceSettings,
    /// All settings with their origin, in the order of `config/default.toml`, without secrets.
    pub entries: Vec<Entry>,
}

impl Settings {
    /// How long an object may wait to be deleted; `None` if `deletion.storage_delete` is off.
    #[must_use]
    pub fn cleanup_age(&self) -> Option<Duration> {
        self.deletion.storage_delete.then_some(self.rescuer.outbox_alarm_after)
    }

    /// Has Redis hand over each job of these queues with all fields of its hash, for code in another language, and RQ's
    /// readers see the workers under `name`, if there is one.
    pub fn hand_over_whole_jobs(&mut self, queues: Vec<QueueName>, name: Option<String>) {
        if let BrokerEngine::Redis(redis) = &mut self.broker.engine {
            redis.whole_hashes = queues;
            redis.worker_name = name;
        }
    }

    /// Reads every section, in the order of `config/default.toml`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let service = ServiceSettings::read(reader);
        let data = service.data.clone();
        let tls = TlsSettings::read(reader);
        let ca_file = tls.ca_file.clone();
        let settings = Self {
            service,
            tls,
            log: LogSettings::read(reader),
            http: HttpSettings::read(reader),
            worker: WorkerSettings::read(reader),
            lease: LeaseSettings::read(reader),
            rescuer: RescuerSettings::read(reader),
            scheduler: SchedulerSettings::read(reader),
            retention: RetentionSettings::read(reader),
            schedules: schedule::read_all(reader),
            deletion: DeletionSettings::read(reader),
            certificate: CertificateSettings::read(reader),
            deletions: described::read_all(reader),
            tracker: TrackerSettings::read(reader),
            supervision: SupervisionSettings::read(reader),
            diagnostics: DiagnosticsSettings::read(reader),
            python: PythonSettings::read(reader),
            python_workers: Vec::new(),
            broker: BrokerSettings::read(reader, &data, ca_file.as_deref()),
            store: StoreSettings::read(reader, &data, ca_file.as_deref()),
            attachments: AttachmentSettings::read(reader, &data, ca_file.as_deref()),
            webhook_proxies: WebhookProxies::read(reader),
            traces: TraceSettings::default(),
            entries: Vec::new(),
        };
        Self { python_workers: python::read_workers(reader, &settings.python), ..settings }
    }
}
