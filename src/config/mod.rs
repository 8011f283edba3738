//! What the service is told: one file per section, typed and checked before anything starts.
//!
//! [`Settings::load`] reads flags, environment, file and built-in defaults, in this order of
//! precedence, and either gives [`Settings`] in which everything fits together, or a [`ConfigError`]
//! that lists every problem, each with the key and where its value came from.
//!
//! `config/default.toml` is the manual and the only source of defaults. No other module reads the
//! environment. No secret appears in `Debug` output, in an error, or in [`Loaded::effective`].

mod attachments;
mod broker;
mod contradictions;
mod deletion;
mod diagnostics;
mod environment;
mod http;
mod keys;
mod layers;
mod lease;
mod libpq;
mod load;
mod log;
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
mod rescuer;
mod retention;
mod schedule;
mod scheduler;
mod service;
mod settings;
mod size;
mod sources;
mod store;
mod supervision;
mod table;
mod traces;
mod tracker;
mod trust;
mod value;
mod worker;

pub use attachments::{AttachmentDriver, AttachmentSettings, R2Settings, S3Settings};
pub use broker::{BrokerEngine, BrokerSettings, RedisSettings};
pub use deletion::DeletionSettings;
pub use diagnostics::DiagnosticsSettings;
pub use http::HttpSettings;
pub use layers::{Entry, Origin};
pub use lease::LeaseSettings;
pub use load::Loaded;
pub use log::{LogFormat, LogLevel, LogSettings};
pub use mask::masked_url;
pub use postgres::PostgresSettings;
pub use problem::{ConfigError, Problem, Warning, WarningLevel};
pub use proxy::ProxySettings;
pub use reference::{Explained, reference};
pub use rescuer::RescuerSettings;
pub use retention::RetentionSettings;
pub use scheduler::SchedulerSettings;
pub use service::{Role, ServiceSettings};
pub use settings::Settings;
pub use size::ByteSize;
pub use sources::Sources;
pub use store::{StoreEngine, StoreSettings};
pub use supervision::SupervisionSettings;
pub use traces::TraceSettings;
pub use tracker::TrackerSettings;
pub use trust::{TlsSettings, trusted_roots};
pub use worker::WorkerSettings;
