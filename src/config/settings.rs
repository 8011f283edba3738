//! All sections together.

use std::time::Duration;

use super::layers::Entry;
use super::reader::Reader;
use super::sections::attachments::AttachmentSettings;
use super::sections::broker::BrokerSettings;
use super::sections::deletion::DeletionSettings;
use super::sections::diagnostics::DiagnosticsSettings;
use super::sections::http::HttpSettings;
use super::sections::lease::LeaseSettings;
use super::sections::log::LogSettings;
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
use crate::job::Schedule;

/// Everything the service is told. `config/default.toml` explains each value.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What this process is for, where it keeps things, how it stops.
    pub service: ServiceSettings,
    /// Whom the service trusts when it speaks TLS.
    pub tls: TlsSettings,
    /// How much is written, and how.
    pub log: LogSettings,
    /// The HTTP server.
    pub http: HttpSettings,
    /// Which queues, and how many jobs at the same time.
    pub worker: WorkerSettings,
    /// How a living process shows that it lives.
    pub lease: LeaseSettings,
    /// How often orphans, the outbox and gaps are looked after.
    pub rescuer: RescuerSettings,
    /// When due jobs are looked for, and who leads.
    pub scheduler: SchedulerSettings,
    /// How many ended jobs a queue keeps.
    pub retention: RetentionSettings,
    /// What comes due by itself.
    pub schedules: Vec<Schedule>,
    /// The job that deletes receipts.
    pub deletion: DeletionSettings,
    /// How often people see something move.
    pub tracker: TrackerSettings,
    /// How patiently failing parts are restarted.
    pub supervision: SupervisionSettings,
    /// Whether the service may be tried out from outside.
    pub diagnostics: DiagnosticsSettings,
    /// Where jobs wait.
    pub broker: BrokerSettings,
    /// The database with the tables.
    pub store: StoreSettings,
    /// Where attached files lie.
    pub attachments: AttachmentSettings,
    /// Whether spans are exported; said by OpenTelemetry's own variables alone.
    pub traces: TraceSettings,
    /// All of this as people may see it, in the order of the manual, each with where it came from.
    pub entries: Vec<Entry>,
}

impl Settings {
    /// An object that waits longer to be deleted is overdue; none while objects stay on purpose.
    #[must_use]
    pub fn cleanup_age(&self) -> Option<Duration> {
        self.deletion.storage_delete.then_some(self.rescuer.outbox_alarm_after)
    }

    /// Reads every section, in the order of the manual.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let service = ServiceSettings::read(reader);
        let data = service.data.clone();
        let tls = TlsSettings::read(reader);
        let ca_file = tls.ca_file.clone();
        Self {
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
            tracker: TrackerSettings::read(reader),
            supervision: SupervisionSettings::read(reader),
            diagnostics: DiagnosticsSettings::read(reader),
            broker: BrokerSettings::read(reader, &data, ca_file.as_deref()),
            store: StoreSettings::read(reader, &data, ca_file.as_deref()),
            attachments: AttachmentSettings::read(reader, &data, ca_file.as_deref()),
            traces: TraceSettings::default(),
            entries: Vec::new(),
        }
    }
}
