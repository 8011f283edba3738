//! The end of a delivery in the form for the server's script.

use serde::Serialize;

use super::codec::{self, Serializer};
use super::wire;
use crate::job::{QueueEnd, QueueName};
use crate::queue::delivery::{Disposition, Settlement};

/// How a delivery ends, for the script; the text is equal for all deliveries that end in the same way.
#[derive(Serialize)]
pub(super) struct Ending<'a> {
    queue: &'a QueueName,
    verdict: &'static str,
    keep: i64,
    delay_ms: u64,
    to_head: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a QueueName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
}

/// How a delivery ends, and the text of its outcome.
pub(super) fn ending(one: &Settlement, serializer: Serializer) -> (Ending<'_>, String) {
    let mut ending = Ending {
        queue: &one.queue,
        verdict: "back",
        keep: 0,
        delay_ms: 0,
        to_head: false,
        to: None,
        remark: one.remark.as_deref(),
    };
    let text = match &one.verdict {
        Disposition::Ack { result, keep } => {
            (ending.verdict, ending.keep) = ("ack", wire::seconds(*keep));
            codec::encode_result(result, serializer).unwrap_or_default()
        }
        Disposition::Discard { error, keep } => {
            (ending.verdict, ending.keep) = ("bury", wire::seconds(*keep));
            trace(error)
        }
        Disposition::Stop { error, keep } => {
            (ending.verdict, ending.keep) = ("stop", wire::seconds(*keep));
            codec::encode_exc(error)
        }
        Disposition::RetryAt { delay, error } => {
            (ending.verdict, ending.delay_ms) = ("retry", wire::millis(*delay));
            trace(error)
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
    (ending, text)
}

fn trace(error: &str) -> String {
    codec::encode_exc(&wire::trace_of(error))
}
