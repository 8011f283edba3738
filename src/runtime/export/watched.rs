//! Exports spans, and logs their loss: at once, then at most every minute.

use std::time::{Duration, Instant};

use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::Mutex;

use super::client::LastError;
use super::conventions::apply;

/// The shortest time between two warnings.
const EVERY: Duration = Duration::from_secs(60);

/// The exporter that logs losses.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Otlp,
    last_error: LastError,
    losses: Mutex<Losses>,
}

/// Spans lost since the last warning.
#[derive(Debug, Default)]
struct Losses {
    spans: usize,
    told: Option<Instant>,
}

/// What to log.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// This many spans are lost.
    Lost(usize),
    /// Spans arrive again; this many more were lost in the meantime.
    Again(usize),
}

impl Losses {
    fn lost(&mut self, spans: usize, now: Instant) -> Told {
        self.spans += spans;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return Told::Nothing;
        }
        self.told = Some(now);
        Told::Lost(std::mem::take(&mut self.spans))
    }

    fn arrived(&mut self) -> Told {
        match self.told.take() {
            Some(_) => Told::Again(std::mem::take(&mut self.spans)),
            None => Told::Nothing,
        }
    }
}

impl Watched {
    pub(super) fn new(inner: Otlp, last_error: LastError) -> Self {
        Self { inner, last_error, losses: Mutex::default() }
    }

    fn tell(&self, told: Told, error: &str) {
        match told {
            Told::Nothing => {}
            Told::Lost(lost) => tracing::warn!(
                lost,
                error,
                "spans cannot be sent to the OpenTelemetry collector; jobs go on without. Look whether it runs at \
                 OTEL_EXPORTER_OTLP_ENDPOINT"
            ),
            Told::Again(lost) => tracing::info!(lost, "spans reach the OpenTelemetry collector again"),
        }
    }
}

impl SpanExporter for Watched {
    /// Logs losses here. The library would log every single one, so it never gets an error.
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        batch.iter_mut().for_each(apply);
        *self.last_error.lock() = None;
        match self.inner.export(batch).await {
            Ok(()) => {
                let told = self.losses.lock().arrived();
                self.tell(told, "");
            }
            Err(error) => {
                let told = self.losses.lock().lost(spans, Instant::now());
                let error = self.last_error.lock().take().unwrap_or_else(|| error.to_string());
                self.tell(told, &error);
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_at_once_then_at_most_every_minute_and_their_end_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut losses = Losses::default();
        assert_eq!(losses.arrived(), Told::Nothing);
        assert_eq!(losses.lost(5, at(0)), Told::Lost(5));
        assert_eq!(losses.lost(6, at(5)), Told::Nothing);
        assert_eq!(losses.lost(7, at(59)), Told::Nothing);
        assert_eq!(losses.lost(1, at(60)), Told::Lost(14));
        assert_eq!(losses.lost(2, at(61)), Told::Nothing);
        assert_eq!(losses.arrived(), Told::Again(2));
        assert_eq!(losses.arrived(), Told::Nothing);
        assert_eq!(losses.lost(1, at(62)), Told::Lost(1), "a new loss is told at once");
    }
}
