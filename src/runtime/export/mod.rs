//! Sends the spans of attempts to an OpenTelemetry collector, as OTLP over HTTP.
//!
//! A job never waits for the export: an ended span is put into a bounded queue, or dropped and counted, and a
//! separate thread sends the queue. While the collector is unavailable, a warning is logged at most every
//! minute. OpenTelemetry's library reads its own variables (`OTEL_EXPORTER_OTLP_*`, `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_SPAN_*`).

mod client;
mod conventions;
mod exporter;
mod watched;

pub use exporter::{ExportError, Exporter};
