//! The tracing span of an attempt, with the job, the attempt and the trace; it covers all its log lines.

use tracing::{Span, field};

use crate::job::{JobRecord, TraceContext, TraceId};

/// The name of an attempt's span. Its fields are `job.id`, `job.kind`, `job.attempt`, `queue.name` and, if
/// the job's `meta` has one, `trace.id`.
pub const ATTEMPT: &str = "attempt";

/// The span of an attempt, from its fetch to its settlement. If no subscriber is interested, the record is
/// not read.
///
/// Its level is error, so that a log with errors only also names the job.
pub(crate) fn attempt_span(job: &JobRecord) -> Span {
    let span = tracing::error_span!(
        ATTEMPT,
        job.id = %job.id,
        job.kind = %job.kind,
        // Signed, because exporters write unsigned numbers as text.
        job.attempt = i64::from(job.attempt),
        queue.name = %job.queue,
        trace.id = trace_of(job).map(field::display),
    );
    #[cfg(feature = "opentelemetry")]
    super::export::begin(&span, job);
    span
}

/// The trace in the job's `meta`; an unreadable one is logged and ignored.
fn trace_of(job: &JobRecord) -> Option<TraceId> {
    match TraceContext::of_meta(&job.meta) {
        Ok(trace) => trace.map(|trace| trace.trace()),
        Err(bad) => {
            tracing::debug!(job.id = %job.id, %bad, "the trace in the job's meta is ignored");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::job::{Args, NewJob};

    /// Counts, and accepts only warnings and errors.
    #[derive(Default)]
    struct Counts {
        spans: AtomicU32,
    }

    impl Subscriber for Counts {
        fn enabled(&self, of: &Metadata<'_>) -> bool {
            *of.level() <= tracing::Level::WARN
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(u64::from(self.spans.fetch_add(1, Ordering::SeqCst)) + 1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn record(meta: serde_json::Value) -> JobRecord {
        let mut job =
            JobRecord::of(NewJob::new("j", "q", "k", Args::default()), chrono::DateTime::UNIX_EPOCH);
        job.meta = meta.as_object().unwrap().clone();
        job
    }

    #[test]
    fn a_log_of_warnings_has_the_span_and_a_trace_that_cannot_be_read_harms_nobody() {
        tracing::subscriber::with_default(Counts::default(), || {
            assert!(!attempt_span(&record(json!({}))).is_disabled());
            assert!(!attempt_span(&record(json!({ "traceparent": "broken" }))).is_disabled());
        });
        assert_eq!(trace_of(&record(json!({ "traceparent": "broken" }))), None);
    }

    #[test]
    fn where_nobody_looks_there_is_no_span() {
        tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), || {
            assert!(attempt_span(&record(json!({}))).is_disabled());
        });
    }
}
