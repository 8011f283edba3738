//! The configuration: one file per section, typed and checked before anything starts.
//!
//! [`Settings::load`] reads flags, environment, file and built-in defaults, in this order of precedence. It
//! returns valid [`Settings`], or a [`ConfigError`] that lists every problem with its key and the origin of
//! the value.
//!
//! `config/default.toml` explains every setting and is the only source of defaults. No other module reads the
//! environment. No secret appears in `Debug` output, in an error, or in [`Loaded::effective`].

mod contradictions;
mod environment;
mod keys;
mod layers;
mod libpq;
mod load;
mod mask;
mod nearest;
mod networks;
mod postgres;
mod private;
mod problem;
mod proxy;
mod query;
mod reader;
mod redis;
mod reference;
mod sections;
mod settings;
mod size;
mod sources;
mod table;
mod value;

pub(crate) use nearest::nearest;

pub use environment::for_program as environment_for_program;
pub use layers::{Entry, Origin};
pub use load::Loaded;
pub use mask::masked_url;
pub use postgres::PostgresSettings;
pub use problem::{ConfigError, Problem, Warning, WarningLevel};
pub use proxy::{ProxySettings, WebhookProxies};
pub use reference::{Explained, reference};
pub use sections::attachments::{AttachmentDriver, AttachmentSettings, R2Settings, S3Settings};
pub use sections::broker::{BrokerEngine, BrokerSettings, RedisSettings};
pub use sections::certificate::CertificateSettings;
pub use sections::deletion::DeletionSettings;
pub use sections::diagnostics::DiagnosticsSettings;
pub use sections::http::HttpSettings;
pub use sections::lease::LeaseSettings;
pub use sections::log::{LogFormat, LogLevel, LogSettings};
pub use sections::python::{ChildStart, Isolation, PreloadChoice, PythonSettings, PythonWorkerSettings};
pub use sections::rescuer::RescuerSettings;
pub use sections::retention::RetentionSettings;
pub use sections::scheduler::SchedulerSettings;
pub use sections::service::{Role, ServiceSettings};
pub use sections::store::{StoreEngine, StoreSettings};
pub use sections::supervision::SupervisionSettings;
pub use sections::traces::TraceSettings;
pub use sections::tracker::TrackerSettings;
pub use sections::trust::{TlsSettings, trusted_roots};
pub use sections::worker::{QueueOrder, WorkerSettings};
pub use settings::Settings;
pub use size::ByteSize;
pub use sources::Sources;
