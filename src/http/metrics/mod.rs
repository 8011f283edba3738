//! `/metrics`: metrics in Prometheus' text format; open like the probes, and without secrets.

mod endpoint;
mod look;
mod own_process;
mod python;

pub use endpoint::MetricsEndpoint;
pub(super) use endpoint::routes;
pub use look::MetricsLook;
