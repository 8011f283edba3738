//! All sections together.

use super::attachments::AttachmentSettings;
use super::broker::BrokerSettings;
use super::deletion::DeletionSettings;
use super::diagnostics::DiagnosticsSettings;
use super::http::HttpSettings;
use super::layers::Entry;
use super::lease::LeaseSettings;
use super::log::LogSettings;
use super::reader::Reader;
use super::rescuer::RescuerSettings;
use super::retention::RetentionSettings;
use super::schedule;
use super::scheduler::SchedulerSettings;
use super::service::ServiceSettings;
use super::store::StoreSettings;
use super::supervision::SupervisionSettings;
use super::traces::TraceSettings;
use super::tracker::TrackerSettings;
use super::trust::TlsSettings;
use super::worker::WorkerSettings;
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
    /// The window to the outside.
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
