//! `/metrics`: what machines watch, in Prometheus' text format; open like the probes, and with nothing secret in it.

mod endpoint;
mod look;
mod own_process;

pub use endpoint::MetricsEndpoint;
pub(super) use endpoint::routes;
pub use look::MetricsLook;
