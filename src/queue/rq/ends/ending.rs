//! The end of a delivery in the form for the server's script.

use serde::Serialize;

use crate::job::{JobChanges, Limit, QueueEnd, QueueName, RetryAsked};
use crate::queue::delivery::{Disposition, Settlement};
use crate::queue::rq::codec::{self, Serializer};
use crate::queue::rq::wire;

/// How a delivery ends, for the script; the text is equal for all deliveries that end in the same way.
#[derive(Serialize)]
pub(in crate::queue::rq) struct Ending<'a> {
    queue: &'a QueueName,
    verdict: &'static str,
    keep: i64,
    delay_ms: u64,
    to_head: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a QueueName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
    /// Fields of the job's hash, each with its new value behind it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    /// More of them, each with the length of its new value, which may be any bytes and stands behind the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_bytes: Vec<(&'a str, usize)>,
    /// A failure that leaves its status alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unlisted: bool,
    /// Where the end is told again and deletes the job: when that was created. Its id may stand for another by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::queue::rq) created_at: Option<String>,
}

/// How a delivery ends, and the text of its outcome with the values of [`Ending::changed_bytes`] behind it.
pub(in crate::queue::rq) fn ending(one: &Settlement, serializer: Serializer) -> (Ending<'_>, Vec<u8>) {
    let fields = one.verbatim.as_ref().map(|words| &*words.changes.fields).unwrap_or_default();
    let mut ending = Ending {
        queue: &one.queue,
        verdict: "back",
        keep: 0,
        delay_ms: 0,
        to_head: false,
        to: None,
        remark: one.remark.as_deref(),
        changed: one.verbatim.as_ref().map(|words| changed(&words.changes)).unwrap_or_default(),
        changed_bytes: fields.iter().map(|(name, value)| (&**name, value.len())).collect(),
        unlisted: one.verbatim.as_ref().is_some_and(|words| words.unlisted),
        created_at: None,
    };
    let text = match &one.verdict {
        Disposition::Ack { result, keep } => {
            (ending.verdict, ending.keep) = ("ack", wire::seconds(*keep));
            match &one.verbatim {
                Some(words) => words.payload.as_deref().map(codec::encode_payload).unwrap_or_default(),
                None => codec::encode_result(result, serializer).unwrap_or_default(),
            }
        }
        Disposition::Discard { error, keep } => {
            (ending.verdict, ending.keep) = ("bury", wire::seconds(*keep));
            trace(one, error)
        }
        Disposition::Stop { error, keep } => {
            (ending.verdict, ending.keep) = ("stop", wire::seconds(*keep));
            told(one).unwrap_or_else(|| codec::encode_exc(error))
        }
        Disposition::RetryAt { delay, error } => {
            (ending.verdict, ending.delay_ms) = ("retry", wire::millis(*delay));
            trace(one, error)
        }
        Disposition::RunAgain { delay, asked, keep } => {
            (ending.verdict, ending.keep) = ("again", wire::seconds(*keep));
            (ending.delay_ms, ending.to_head) = (wire::millis(*delay), asked.at_front);
            returned(one, asked, serializer)
        }
        Disposition::Exhaust { asked, keep } => {
            (ending.verdict, ending.keep) = ("exhaust", wire::seconds(*keep));
            returned(one, asked, serializer)
        }
        Disposition::Forward { queue } => {
            (ending.verdict, ending.to) = ("forward", Some(queue));
            String::new()
        }
        Disposition::Release { end } => {
            ending.to_head = *end == QueueEnd::Head;
            String::new()
        }
        Disposition::Rescue => {
            ending.verdict = "rescue";
            String::new()
        }
    };
    let mut bytes = text.into_bytes();
    fields.iter().for_each(|(_, value)| bytes.extend(value));
    (ending, bytes)
}

/// A failure as readers in Python find it.
fn trace(one: &Settlement, error: &str) -> String {
    told(one).unwrap_or_else(|| codec::encode_exc(&wire::trace_of(error)))
}

/// The failure as the job's own language tells it.
fn told(one: &Settlement) -> Option<String> {
    one.verbatim.as_ref()?.traceback.as_deref().map(codec::encode_exc)
}

/// What it returned to be run again.
fn returned(one: &Settlement, asked: &RetryAsked, serializer: Serializer) -> String {
    let payload = one.verbatim.as_ref().and_then(|words| words.payload.as_deref());
    payload.map_or_else(|| codec::encode_retry(asked, serializer), codec::encode_payload)
}

/// What the job's code has changed, as fields of its hash.
fn changed(changes: &JobChanges) -> Vec<String> {
    let ttl = |limit: Limit| wire::seconds(limit).to_string();
    let fields = [
        ("result_ttl", changes.result_ttl.map(ttl)),
        ("failure_ttl", changes.failure_ttl.map(ttl)),
        ("retries_left", changes.retries_left.map(|left| left.to_string())),
        ("retry_intervals", changes.retry_intervals.as_deref().map(codec::write_intervals)),
        ("enqueue_at_front_on_retry", changes.at_front_on_retry.map(|front| u8::from(front).to_string())),
        ("repeats_left", changes.repeats_left.map(|left| left.to_string())),
        ("repeat_intervals", changes.repeat_intervals.as_deref().map(codec::write_intervals)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten().collect()
}
