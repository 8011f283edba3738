//! The exporter of a process: created before its first span, and flushed after its last.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::{Layer, Registry};

use super::client::{BlockingClient, LastError};
use super::watched::Watched;
use crate::config::TraceSettings;

/// The time limit for sending the remaining spans when the process leaves.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An OpenTelemetry variable has an invalid value.
    #[error("spans cannot be exported: {0}; correct the OTEL_ variable, or set OTEL_SDK_DISABLED=true")]
    Settings(#[from] ExporterBuildError),
    /// The operating system refused something.
    #[error("spans cannot be exported: {0}")]
    System(#[from] std::io::Error),
}

/// Exports spans as long as it exists. When it is dropped, it sends the remaining ones within five seconds.
#[derive(Debug)]
#[must_use = "spans go out while it lives"]
pub struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    /// An exporter to the collector that the environment names.
    ///
    /// # Errors
    /// If the environment has values that cannot be used.
    pub fn new(settings: TraceSettings) -> Result<Self, ExportError> {
        let last_error = LastError::default();
        let otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(BlockingClient::new(LastError::clone(&last_error))?)
            .build()?;
        let resource = Resource::builder();
        let resource = if settings.named { resource } else { resource.with_service_name("tikkun") };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(Watched::new(otlp, last_error))
            .build();
        Ok(Self { provider })
    }

    /// The layer that receives spans up to the level `most`, except from the crates in `quiet`, and the
    /// warnings in them. Error events are left out, because only the attempt decides whether it has failed.
    pub(in crate::runtime) fn layer(
        &self,
        most: LevelFilter,
        quiet: &'static [&'static str],
    ) -> Box<dyn Layer<Registry> + Send + Sync> {
        let scope = InstrumentationScope::builder("tikkun").with_version(env!("CARGO_PKG_VERSION")).build();
        let wanted = move |of: &Metadata<'_>| {
            let heard = if of.is_span() { most >= *of.level() } else { *of.level() == Level::WARN };
            heard && !quiet.iter().any(|name| of.target().starts_with(name))
        };
        let layer = tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer_with_scope(scope))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        Box::new(layer.with_filter(filter_fn(wanted).with_max_level_hint(most)))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(%error, "the last spans did not reach the OpenTelemetry collector");
        }
    }
}
