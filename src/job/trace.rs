//! The trace of a job: the W3C trace context that its enqueuer put into the job's `meta`.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use serde_json::{Map, Value};

/// W3C's key, in HTTP headers and in `meta`.
const PARENT: &str = "traceparent";
/// W3C's key for the data of tracing systems.
const STATE: &str = "tracestate";
/// Sentry's equivalent of `traceparent`.
const SENTRY: &str = "sentry-trace";
/// Dictionaries in `meta` in which applications are known to store these keys, besides `meta` itself.
const CARRIERS: [&str; 4] = ["otel", "otel_context", "trace_context", "_sentry_trace_headers"];
/// The longest `tracestate` that is passed on, in bytes; W3C requires no more.
const LONGEST_STATE: usize = 512;
/// The flag of a trace that is to be recorded.
const SAMPLED: u8 = 1;

/// A trace, and the span in it that enqueued the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: NonZeroU128,
    parent: NonZeroU64,
    flags: u8,
    state: Option<String>,
}

/// A trace id, shown with the usual 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

/// A text that is no valid trace context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is `{shown}`, expected {expected}")]
pub struct BadTrace {
    name: &'static str,
    shown: String,
    expected: &'static str,
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TraceId {
    /// The id as a number, most significant digit first.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0.get()
    }
}

impl TraceContext {
    /// Parses a `traceparent`, as strictly as W3C's Trace Context requires. An unusable `tracestate` is
    /// dropped, and the trace is still used.
    ///
    /// # Errors
    /// When the text is no `traceparent`.
    pub fn parse(parent: &str, state: Option<&str>) -> Result<Self, BadTrace> {
        let bad = || BadTrace::new(PARENT, parent, "`00-`, 32 and 16 lower-case hex digits and two flags");
        let mut parts = parent.split('-');
        let version = parts.next().and_then(|text| hex(text, 2)).filter(|version| *version != 0xff);
        let (version, trace, span) = (version.ok_or_else(bad)?, parts.next(), parts.next());
        let flags = parts.next().and_then(|text| hex(text, 2)).and_then(|flags| u8::try_from(flags).ok());
        // Later versions may add fields after the flags; version 0 may not.
        if version == 0 && parts.next().is_some() {
            return Err(bad());
        }
        let state = state.map(str::trim).filter(|state| can_be_carried(state)).map(str::to_owned);
        Self::of_parts(trace, span, flags, state).ok_or_else(bad)
    }

    /// Parses Sentry's form: `{trace}-{span}`, optionally with a flag for recording.
    fn parse_sentry(text: &str) -> Result<Self, BadTrace> {
        let bad = || BadTrace::new(SENTRY, text, "32 and 16 lower-case hex digits, and perhaps 0 or 1");
        let mut parts = text.split('-');
        let (trace, span) = (parts.next(), parts.next());
        let flags = match (parts.next(), parts.next()) {
            (None | Some("1"), None) => SAMPLED,
            (Some("0"), None) => 0,
            _ => return Err(bad()),
        };
        Self::of_parts(trace, span, Some(flags), None).ok_or_else(bad)
    }

    fn of_parts(
        trace: Option<&str>,
        span: Option<&str>,
        flags: Option<u8>,
        state: Option<String>,
    ) -> Option<Self> {
        let trace = NonZeroU128::new(hex(trace?, 32)?)?;
        let parent = NonZeroU64::new(u64::try_from(hex(span?, 16)?).ok()?)?;
        Some(Self { trace, parent, flags: flags?, state })
    }

    /// The trace in a job's `meta`: `traceparent` and `tracestate`, or Sentry's `sentry-trace`, in `meta`
    /// itself or in its dictionaries `otel`, `otel_context`, `trace_context` and `_sentry_trace_headers`. The
    /// first readable one counts.
    ///
    /// # Errors
    /// When there is a trace context but none is readable; the job runs all the same.
    pub fn of_meta(meta: &Map<String, Value>) -> Result<Option<Self>, BadTrace> {
        if meta.is_empty() {
            return Ok(None);
        }
        let nested = CARRIERS.iter().filter_map(|name| meta.get(*name)?.as_object());
        let mut unreadable = None;
        for carrier in std::iter::once(meta).chain(nested) {
            match Self::of_carrier(carrier) {
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err(bad)) => unreadable = unreadable.or(Some(bad)),
                None => {}
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    fn of_carrier(carrier: &Map<String, Value>) -> Option<Result<Self, BadTrace>> {
        let text = |name: &str| carrier.get(name).and_then(Value::as_str);
        match (carrier.get(PARENT), carrier.get(SENTRY)) {
            (Some(Value::String(parent)), _) => Some(Self::parse(parent, text(STATE))),
            (_, Some(Value::String(sentry))) => Some(Self::parse_sentry(sentry)),
            (None | Some(Value::Null), None | Some(Value::Null)) => None,
            (parent, sentry) => {
                let shown = parent.or(sentry).map(Value::to_string).unwrap_or_default();
                Some(Err(BadTrace::new(PARENT, &shown, "a text")))
            }
        }
    }

    /// Writes the trace into a job's `meta`.
    pub fn write_into(&self, meta: &mut Map<String, Value>) {
        meta.insert(PARENT.to_owned(), Value::String(self.to_string()));
        if let Some(state) = &self.state {
            meta.insert(STATE.to_owned(), Value::String(state.clone()));
        }
    }

    /// The trace.
    #[must_use]
    pub fn trace(&self) -> TraceId {
        TraceId(self.trace)
    }

    /// The id of the span that enqueued the job.
    #[must_use]
    pub fn parent(&self) -> u64 {
        self.parent.get()
    }

    /// Whether the trace is to be recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The data of tracing systems.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// Writes a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.trace(), self.parent, self.flags & SAMPLED)
    }
}

impl BadTrace {
    fn new(name: &'static str, text: &str, expected: &'static str) -> Self {
        Self { name, shown: text.chars().take(80).collect(), expected }
    }
}

/// Parses exactly this many lower-case hex digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn can_be_carried(state: &str) -> bool {
    let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
    !state.is_empty() && state.len() <= LONGEST_STATE && state.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT_TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const SENTRY_TEXT: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1";

    fn of(meta: Value) -> Result<Option<TraceContext>, BadTrace> {
        let Value::Object(meta) = meta else { panic!("no object: {meta}") };
        TraceContext::of_meta(&meta)
    }

    #[test]
    fn a_traceparent_is_read_and_written_back_as_it_was() {
        let read = TraceContext::parse(PARENT_TEXT, Some(" vendor=1,other=2 ")).unwrap();
        assert_eq!(read.trace().to_string(), TRACE);
        assert_eq!((read.parent(), read.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(read.state(), Some("vendor=1,other=2"));
        let mut meta = Map::from_iter([("who".to_owned(), json!("me"))]);
        read.write_into(&mut meta);
        assert_eq!(
            Value::Object(meta.clone()),
            json!({ "who": "me", "traceparent": PARENT_TEXT, "tracestate": "vendor=1,other=2" })
        );
        assert_eq!(TraceContext::of_meta(&meta), Ok(Some(read)));
    }

    #[test]
    fn what_w3c_forbids_is_no_trace() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47361-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-ארבעf3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let bad = TraceContext::parse(wrong, None).unwrap_err().to_string();
            assert!(bad.starts_with("`traceparent` is `"), "{bad}");
            assert_eq!(of(json!({ "traceparent": wrong })).unwrap_err().to_string(), bad, "{wrong}");
        }
    }

    #[test]
    fn a_later_version_may_say_more_and_a_bad_state_is_dropped() {
        let later = format!("01-{TRACE}-00f067aa0ba902b7-00-more");
        let read = TraceContext::parse(&later, Some("a=\nb=1")).unwrap();
        assert_eq!((read.is_sampled(), read.state()), (false, None));
        let long = "x".repeat(LONGEST_STATE + 1);
        assert_eq!(TraceContext::parse(PARENT_TEXT, Some(&long)).unwrap().state(), None);
    }

    #[test]
    fn a_trace_is_found_where_applications_leave_it() {
        let found = [
            json!({ "traceparent": PARENT_TEXT }),
            json!({ "otel": { "traceparent": PARENT_TEXT } }),
            json!({ "otel_context": { "traceparent": PARENT_TEXT } }),
            json!({ "trace_context": { "traceparent": PARENT_TEXT } }),
            json!({ "sentry-trace": SENTRY_TEXT }),
            json!({ "_sentry_trace_headers": { "sentry-trace": SENTRY_TEXT, "baggage": "" } }),
            json!({ "traceparent": "broken", "otel": { "traceparent": PARENT_TEXT } }),
        ];
        for meta in found {
            let trace = of(meta.clone()).unwrap().unwrap_or_else(|| panic!("{meta}"));
            assert_eq!(trace.to_string(), PARENT_TEXT, "{meta}");
        }
        for none in
            [json!({}), json!({ "user": 7 }), json!({ "otel": PARENT_TEXT }), json!({ "traceparent": null })]
        {
            assert_eq!(of(none.clone()), Ok(None), "{none}");
        }
        assert!(of(json!({ "traceparent": 7 })).unwrap_err().to_string().contains("expected a text"));
    }

    #[test]
    fn sentrys_form_may_leave_the_decision_open() {
        let read = |text: String| of(json!({ "sentry-trace": text }));
        assert!(read(format!("{TRACE}-00f067aa0ba902b7")).unwrap().unwrap().is_sampled());
        assert!(!read(format!("{TRACE}-00f067aa0ba902b7-0")).unwrap().unwrap().is_sampled());
        assert!(read(format!("{TRACE}-00f067aa0ba902b7-2")).is_err());
        assert!(read(format!("{TRACE}-00f067aa0ba902b7-1-1")).is_err());
    }
}
