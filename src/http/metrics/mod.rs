//! `/metrics`: what machines watch, in Prometheus' text format; open like the probes, and with nothing secret in it.

mod desk;
mod look;
mod own_process;

pub use desk::MetricsDesk;
pub(super) use desk::routes;
pub use look::MetricsLook;
