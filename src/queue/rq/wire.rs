//! Converts between a job's hash and the runtime's record of it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeZone as _, Utc};
use serde_json::{Map, Value};

use super::callbacks::callback;
use super::codec::{self, Heads, Limits, Serializer};
use super::taken::Values;
use crate::fault::{Fault, FaultKind};
use crate::job::{
    Callbacks, JobId, JobRecord, JobState, KindName, Limit, NewJob, QueueName, RETRIES_EXHAUSTED, Retries,
    Webhooks,
};

/// The most memory in bytes for a job's meta, which is part of every record but not counted there.
const META: usize = 1 << 20;

/// Seconds that count as unlimited; Redis refuses times much further away.
const LONGEST: i64 = 10_000_000_000;

/// The fields of a hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Hash(pub(super) Values);

/// The newest outcome of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct LastOutcome(pub(super) HashMap<String, Vec<u8>>);

impl Hash {
    /// A field as text; `None` if it is missing, empty or not UTF-8.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        let bytes = self.0.get(field)?;
        std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
    }

    fn number(&self, field: &str) -> Option<i64> {
        self.text(field)?.parse().ok()
    }

    /// How often our workers started it.
    pub(super) fn attempts(&self) -> u32 {
        self.count("x_attempt")
    }

    fn count(&self, field: &str) -> u32 {
        self.number(field).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }

    fn time(&self, field: &str) -> Option<DateTime<Utc>> {
        time(self.text(field)?)
    }

    /// A duration in seconds; -1 is unlimited, as in RQ.
    fn limit(&self, field: &str) -> Option<Limit> {
        self.number(field).map(|seconds| {
            u64::try_from(seconds).map_or(Limit::Never, |s| Limit::After(Duration::from_secs(s)))
        })
    }

    fn retries(&self) -> Option<Retries> {
        let left = u32::try_from(self.number("retries_left")?).unwrap_or(0);
        let intervals = self.text("retry_intervals").and_then(|text| codec::parse_intervals(text).ok());
        // RQ writes a list with a single zero for no intervals.
        let intervals = intervals.filter(|intervals| *intervals != [Duration::ZERO]).unwrap_or_default();
        Some(Retries { left, intervals })
    }

    /// Its state; an unknown word comes from a newer RQ and counts as waiting.
    pub(super) fn state(&self) -> JobState {
        state(self.text("status").unwrap_or_default())
    }

    /// Whether a user stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.text("status") == Some("stopped")
    }

    /// Its queue.
    pub(super) fn queue(&self) -> &str {
        self.text("origin").unwrap_or_default()
    }

    /// The record, and the serializer for its result. An unreadable call is an error inside the record; its
    /// bytes are not changed.
    pub(super) fn record(
        &self,
        id: &str,
        last: Option<&LastOutcome>,
        limits: &Limits,
    ) -> (JobRecord, Serializer) {
        let data = self.0.get("data").unwrap_or_default();
        let (kind, args, serializer) = match codec::decode_call(data, limits) {
            Ok(call) => (call.kind, Ok(call.args), call.serializer),
            Err(call) => {
                let kind = call.kind.or_else(|| Heads::new(limits).name(data));
                let kind = kind.unwrap_or_else(|| KindName::from(KindName::UNREADABLE));
                (kind, Err(call.error), call.serializer.unwrap_or_default())
            }
        };
        let state = self.state();
        let is_final = matches!(state, JobState::Finished | JobState::Failed | JobState::Canceled);
        let record = JobRecord {
            id: JobId::from(id),
            queue: QueueName::from(self.text("origin").unwrap_or_default()),
            kind,
            args,
            state,
            attempt: self.count("x_attempt"),
            failures: self.count("x_failures"),
            orphaned: self.count("x_orphaned"),
            retries_asked: self.count("number_of_retries"),
            timeout: self.limit("timeout"),
            retries: self.retries(),
            result_ttl: self.limit("result_ttl"),
            failure_ttl: self.limit("failure_ttl"),
            created_at: self.time("created_at").unwrap_or(DateTime::UNIX_EPOCH),
            enqueued_at: self.time("enqueued_at"),
            due_at: self.number("x_due").filter(|_| state == JobState::Scheduled).and_then(from_millis),
            started_at: self.time("started_at"),
            ended_at: self.time("ended_at").filter(|_| is_final),
            result: last.filter(|_| state == JobState::Finished).and_then(|last| last.result(limits)),
            error: last.and_then(|last| last.error(limits)),
            stopped: self.is_stopped(),
            meta: self.meta(limits),
            callbacks: self.callbacks(),
            webhooks: Webhooks::new(self.text("webhooks").unwrap_or_default()),
            remark: self.text("x_remark").map(str::to_owned),
        };
        (record, serializer)
    }

    /// Its callbacks.
    fn callbacks(&self) -> Callbacks {
        let of = |name, timeout| callback(self.text(name), self.text(timeout));
        Callbacks {
            success: of("success_callback_name", "success_callback_timeout"),
            failure: of("failure_callback_name", "failure_callback_timeout"),
            stopped: of("stopped_callback_name", "stopped_callback_timeout"),
        }
    }

    /// Its meta; an unreadable one stays on the server, and is empty here.
    fn meta(&self, limits: &Limits) -> Map<String, Value> {
        let limits = Limits { memory: limits.memory.min(META), ..*limits };
        let read = self.0.get("meta").and_then(|bytes| codec::decode_meta(bytes, &limits).ok());
        read.map(|(meta, _)| meta).unwrap_or_default()
    }
}

impl LastOutcome {
    fn text(&self, field: &str) -> Option<&str> {
        std::str::from_utf8(self.0.get(field)?).ok()
    }

    /// `Some` for a job that succeeded, even without a result.
    fn result(&self, limits: &Limits) -> Option<Value> {
        match (self.text("type"), self.text("return_value")) {
            (Some("1"), None) => Some(Value::Null),
            (Some("1"), Some(text)) => Some(
                codec::decode_result(text, limits)
                    .unwrap_or_else(|refusal| Value::String(format!("(unreadable: {refusal})"))),
            ),
            _ => None,
        }
    }

    /// Our own message, or the last line of a Python traceback.
    fn error(&self, limits: &Limits) -> Option<String> {
        if !matches!(self.text("type"), Some("2" | "3" | "5")) {
            return None;
        }
        // RQ stores no text with a maximum of retries that was reached.
        let Some(stored) = self.text("exc_string") else {
            return (self.text("type") == Some("5")).then(|| RETRIES_EXHAUSTED.to_owned());
        };
        let trace = codec::decode_exc(stored, limits);
        let told = |trace: String| message_of(&trace).to_owned();
        Some(trace.map_or_else(|refusal| format!("(unreadable: {refusal})"), told))
    }
}

/// The fields of a new job, without those that the script adds.
pub(super) fn fields(job: &NewJob, serializer: Serializer) -> Result<Vec<(&'static str, Vec<u8>)>, Fault> {
    let unwritable = || Fault::new(FaultKind::Permanent, format!("write job {}", job.id));
    let data =
        codec::encode_call(&job.kind, &job.args, serializer).map_err(|error| unwritable().because(error))?;
    let mut fields = vec![
        ("data", data),
        ("description", format!("{}{}", job.kind, job.args).into_bytes()),
        ("started_at", Vec::new()),
        ("ended_at", Vec::new()),
        ("last_heartbeat", Vec::new()),
        ("worker_name", Vec::new()),
        ("success_callback_name", Vec::new()),
        ("failure_callback_name", Vec::new()),
        ("stopped_callback_name", Vec::new()),
        ("group_id", Vec::new()),
    ];
    for (name, limit) in
        [("timeout", job.timeout), ("result_ttl", job.result_ttl), ("failure_ttl", job.failure_ttl)]
    {
        if let Some(limit) = limit {
            fields.push((name, seconds(limit).to_string().into_bytes()));
        }
    }
    if let Some(retries) = &job.retries {
        fields.push(("retries_left", retries.left.to_string().into_bytes()));
        // RQ writes a list with a single zero for no intervals.
        let none = [Duration::ZERO];
        let intervals = if retries.intervals.is_empty() { &none[..] } else { &retries.intervals };
        fields.push(("retry_intervals", codec::write_intervals(intervals).into_bytes()));
    }
    if job.end == crate::job::QueueEnd::Head {
        fields.push(("enqueue_at_front", b"1".to_vec()));
    }
    if !job.meta.is_empty() {
        let meta = codec::encode_meta(&job.meta, serializer).map_err(|error| unwritable().because(error))?;
        fields.push(("meta", meta));
    }
    Ok(fields)
}

/// RQ's number of seconds: -1 for unlimited and for centuries. Fractions are rounded up; zero stays zero.
pub(super) fn seconds(limit: Limit) -> i64 {
    limit.duration().map(whole_seconds).filter(|seconds| *seconds < LONGEST).unwrap_or(-1)
}

fn whole_seconds(span: Duration) -> i64 {
    let up = u64::from(span.subsec_nanos() > 0);
    i64::try_from(span.as_secs().saturating_add(up)).unwrap_or(i64::MAX)
}

/// The state for RQ's word.
pub(super) fn state(word: &str) -> JobState {
    match word {
        "queued" | "created" => JobState::Queued,
        "started" => JobState::Started,
        "finished" => JobState::Finished,
        "failed" | "stopped" => JobState::Failed,
        "canceled" => JobState::Canceled,
        // Scheduled, deferred, and unknown words of a newer RQ.
        _ => JobState::Scheduled,
    }
}

/// Parses a time in RQ's form; `None` if it is missing or unreadable.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    codec::parse_timestamp(text).ok().flatten()
}

/// A duration in milliseconds.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The time of these milliseconds since the epoch.
pub(super) fn from_millis(millis: i64) -> Option<DateTime<Utc>> {
    Utc.timestamp_millis_opt(millis).single()
}

/// The id and the execution in a member of the registry of running jobs; RQ 1 has only the id.
pub(super) fn split_member(member: &str) -> (&str, Option<&str>) {
    member.rsplit_once(':').map_or((member, None), |(id, execution)| (id, Some(execution)))
}

/// The queues of a worker, in RQ's form.
pub(super) fn queue_list(queues: &[QueueName]) -> String {
    queues.iter().map(QueueName::as_str).collect::<Vec<_>>().join(",")
}

/// The start of our tracebacks, for tools that look for the message in the last line.
const TRACE: &str = "Traceback (most recent call last):\n  run by tikkun\n";
/// RQ's class for a job that took too long.
const TIMED_OUT: &str = "rq.timeouts.JobTimeoutException: ";
/// The class for every other failure.
const FAILED: &str = "tikkun.JobFailed: ";

/// A failure in the form of a Python traceback: its last line has a class and the message.
pub(super) fn trace_of(message: &str) -> String {
    let class = if message.starts_with("Task exceeded maximum timeout value") { TIMED_OUT } else { FAILED };
    format!("{TRACE}{class}{message}")
}

/// The whole error: our own message, or the whole Python traceback.
pub(super) fn whole_error(trace: &str) -> &str {
    if trace.starts_with(TRACE) { message_of(trace) } else { trace.trim_end() }
}

fn message_of(trace: &str) -> &str {
    match trace.strip_prefix(TRACE) {
        Some(ours) => ours.strip_prefix(TIMED_OUT).or_else(|| ours.strip_prefix(FAILED)).unwrap_or(ours),
        None => trace.trim_end().lines().last().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::fuzz;

    #[test]
    fn spans_are_whole_seconds_rounded_up_and_minus_one_has_no_end() {
        assert_eq!(seconds(Limit::Never), -1);
        assert_eq!(seconds(Limit::After(Duration::ZERO)), 0);
        assert_eq!(seconds(Limit::After(Duration::from_millis(1))), 1);
        assert_eq!(seconds(Limit::After(Duration::from_secs(1800))), 1800);
    }

    #[test]
    fn a_failure_ends_with_a_class_and_its_message_and_is_read_back_whole() {
        for message in ["no luck", "two\nlines", "Task exceeded maximum timeout value (5 seconds)"] {
            assert_eq!(message_of(&trace_of(message)), message);
        }
        assert!(trace_of("no luck").ends_with("\ntikkun.JobFailed: no luck"));
        assert_eq!(message_of("Traceback\n  File x\nValueError: bad\n"), "ValueError: bad");
    }

    /// Fields and values in turn, each on a line of its own.
    #[test]
    fn fuzz_hashes() {
        let job = NewJob {
            timeout: Some(Limit::After(Duration::from_secs(180))),
            retries: Some(Retries { left: 3, intervals: vec![Duration::from_secs(10)] }),
            ..NewJob::new("a", "default", "tikkun.echo", crate::job::Args::positional([1.into()]))
        };
        let fields = fields(&job, Serializer::Json).unwrap();
        let written = [
            ("status", "started"),
            ("created_at", "2026-01-01T00:00:00.000000Z"),
            ("enqueued_at", "2026-01-01T00:00:00Z"),
            ("x_attempt", "2"),
            ("x_due", "1767225600000"),
            ("origin", "default"),
            ("result_ttl", "-1"),
            ("number_of_retries", "4"),
            ("webhooks", r#"{"success": {"url": "https://a.example/b", "method": "POST"}}"#),
            ("success_callback_name", "shop.tasks.sent"),
            ("success_callback_timeout", "60"),
        ];
        let written = written.map(|(name, value)| (name, value.as_bytes().to_vec()));
        let lines =
            fields.into_iter().chain(written).map(|(name, value)| [name.as_bytes(), b"\n", &value].concat());
        fuzz("hashes", [lines.collect::<Vec<_>>().join(&b'\n')], |bytes| {
            let mut lines = bytes.split(|byte| *byte == b'\n');
            let pairs = std::iter::from_fn(|| {
                Some((String::from_utf8_lossy(lines.next()?).into(), lines.next()?.to_vec()))
            });
            let (job, _) =
                Hash(pairs.collect::<HashMap<_, _>>().into()).record("a", None, &Limits::default());
            assert!(!job.kind.as_str().is_empty() || job.args.is_ok(), "{job:?}");
        });
    }

    #[test]
    fn the_id_of_a_running_job_is_what_stands_before_the_last_colon() {
        assert_eq!(split_member("a:b:e"), ("a:b", Some("e")));
        assert_eq!(split_member("plain"), ("plain", None));
    }
}
