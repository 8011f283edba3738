//! Sends the spans of attempts to an OpenTelemetry collector, as OTLP over HTTP.
//!
//! Nothing here is ever waited for by a job: a span that has ended goes into a bounded queue, or is lost and counted, and a
//! thread of its own sends what has gathered. A collector that is away is a warning at most every minute. OpenTelemetry's
//! library reads its own variables (`OTEL_EXPORTER_OTLP_*`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_SPAN_*`).

mod client;
mod conventions;
mod exporter;
mod watched;

pub use exporter::{ExportError, Exporter};
