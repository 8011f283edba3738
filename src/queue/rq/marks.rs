//! How far schedules have come, as text in one hash.

use serde::{Deserialize, Serialize};

use super::wire;
use crate::fault::{Fault, FaultKind};
use crate::queue::upkeep::ScheduleMark;

/// How far a schedule has come, as it is written down.
#[derive(Serialize, Deserialize)]
struct StoredMark {
    rule: String,
    until: i64,
    last: Option<i64>,
}

/// The mark as it is written down; the same mark is always the same text.
pub(super) fn stored(mark: &ScheduleMark) -> Result<String, Fault> {
    let stored = StoredMark {
        rule: mark.rule.clone(),
        until: mark.until.timestamp_millis(),
        last: mark.last.map(|last| last.timestamp_millis()),
    };
    serde_json::to_string(&stored)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write the mark of a schedule").because(error))
}

/// The mark that a text stands for.
pub(super) fn mark(name: &str, text: &str) -> Result<ScheduleMark, Fault> {
    let unreadable =
        || Fault::new(FaultKind::Permanent, format!("read the mark `{text}` of the schedule `{name}`"));
    let stored: StoredMark = serde_json::from_str(text).map_err(|error| unreadable().because(error))?;
    let until = wire::from_millis(stored.until).ok_or_else(unreadable)?;
    Ok(ScheduleMark { rule: stored.rule, until, last: stored.last.and_then(wire::from_millis) })
}
