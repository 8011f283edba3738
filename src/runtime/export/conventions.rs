//! The names of an attempt's fields in OpenTelemetry's conventions for messaging systems.
//!
//! They are applied on the exporter's thread, so that they cost a job nothing.

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::trace::SpanData;

use crate::worker::ATTEMPT;

/// The messaging system, for every engine: the queues follow RQ's model.
const SYSTEM: &str = "rq";

/// Our fields and their names in the conventions; `None`: the span's own context contains it.
const NAMES: [(&str, Option<&str>); 4] = [
    ("job.id", Some("messaging.message.id")),
    ("queue.name", Some("messaging.destination.name")),
    ("job.kind", Some("code.function.name")),
    ("trace.id", None),
];

/// Renames an attempt's span and its fields to the conventions; other spans are left as they are.
pub(super) fn apply(span: &mut SpanData) {
    if span.name != ATTEMPT {
        return;
    }
    span.span_kind = SpanKind::Consumer;
    span.attributes.retain_mut(rename);
    let queue = span.attributes.iter().find(|pair| pair.key.as_str() == "messaging.destination.name");
    span.name = queue.map_or("process".into(), |queue| format!("process {}", queue.value).into());
    let fixed = [
        ("messaging.system", SYSTEM),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
    ];
    span.attributes.extend(fixed.map(|(key, value)| KeyValue::new(key, value)));
    if matches!(span.status, Status::Error { .. }) {
        // The status contains the error's text; its class is unknown here.
        span.attributes.push(KeyValue::new("error.type", "_OTHER"));
    }
}

/// Renames the attribute; `false` if it is to be dropped.
fn rename(pair: &mut KeyValue) -> bool {
    match NAMES.iter().find(|(ours, _)| pair.key.as_str() == *ours) {
        Some((_, Some(name))) => {
            pair.key = Key::from_static_str(name);
            true
        }
        Some((_, None)) => false,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    fn span(name: &'static str, attributes: Vec<KeyValue>, status: Status) -> SpanData {
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn an_attempt_is_told_in_the_words_of_the_conventions() {
        let fields = vec![
            KeyValue::new("job.id", "j-1"),
            KeyValue::new("job.kind", "shop.greet"),
            KeyValue::new("job.attempt", 2),
            KeyValue::new("queue.name", "high"),
            KeyValue::new("trace.id", "4bf9"),
        ];
        let mut attempt = span(ATTEMPT, fields, Status::error("no luck"));
        apply(&mut attempt);
        assert_eq!((&*attempt.name, &attempt.span_kind), ("process high", &SpanKind::Consumer));
        let told: Vec<_> =
            attempt.attributes.iter().map(|pair| (pair.key.as_str(), pair.value.to_string())).collect();
        let expected = [
            ("messaging.message.id", "j-1"),
            ("code.function.name", "shop.greet"),
            ("job.attempt", "2"),
            ("messaging.destination.name", "high"),
            ("messaging.system", "rq"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("error.type", "_OTHER"),
        ];
        assert_eq!(told, expected.map(|(key, value)| (key, value.to_owned())));
    }

    #[test]
    fn other_spans_are_left_as_they_are() {
        let mut batch = span("batch", vec![KeyValue::new("limit", 50)], Status::Unset);
        apply(&mut batch);
        assert_eq!((&*batch.name, &batch.span_kind), ("batch", &SpanKind::Internal));
        assert_eq!(batch.attributes, [KeyValue::new("limit", 50)]);
    }
}
