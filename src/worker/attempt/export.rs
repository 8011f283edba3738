//! Exported data of an attempt besides its span's fields: the parent span, and the error.

use std::str::FromStr as _;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, SetParentError};

use crate::job::{JobRecord, TraceContext};

/// Makes the span a child of the span that enqueued the job. Without one it begins its own trace.
pub(crate) fn begin(span: &Span, job: &JobRecord) {
    if span.is_disabled() {
        return;
    }
    // An unreadable trace was logged when the span was created.
    let Ok(Some(trace)) = TraceContext::of_meta(&job.meta) else { return };
    let parent = Context::new().with_remote_span_context(remote(&trace));
    match span.set_parent(parent) {
        Ok(()) | Err(SetParentError::LayerNotFound | SetParentError::SpanDisabled) => {}
        Err(error) => tracing::debug!(%error, "the attempt's span begins a trace of its own"),
    }
}

fn remote(trace: &TraceContext) -> SpanContext {
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let state = trace.state().and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    SpanContext::new(TraceId::from(trace.trace().number()), SpanId::from(trace.parent()), flags, true, state)
}

/// Records an error on the current span, which is that of an attempt.
pub(crate) fn failed(error: &str) {
    Span::current().set_status(Status::error(error.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_the_span_that_enqueued_the_job() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let parent = remote(&TraceContext::parse(text, Some("vendor=1")).unwrap());
        assert!(parent.is_valid() && parent.is_remote() && !parent.is_sampled());
        assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
        assert_eq!(parent.trace_state().header(), "vendor=1");
    }
}
