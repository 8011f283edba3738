//! The position of a deletion, and its coverage.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::status::Status;
use crate::job::{BackgroundJobId, BusinessId};

/// A program that reads a time and writes it back may round it by less than this.
const ROUNDING: TimeDelta = TimeDelta::seconds(1);

/// The position and coverage of a deletion, as JSON text in the column `cursor`. Unknown keys are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// All receipts up to this id are done.
    #[serde(default, deserialize_with = "or_start")]
    pub last_id: i64,
    /// The highest id of the request; `None` until the first attempt at a row that the web application made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_id: Option<i64>,
    /// The tenant for which the bounds were taken; `None` without bounds and in rows of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds_of: Option<BusinessId>,
    /// The row for which the bounds were taken; `None` without bounds and in rows of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds_for: Option<BackgroundJobId>,
    /// The creation time of that row, by which a new request in the same row is known; `None` if the row has none, or if the
    /// database dates rows anew by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<DateTime<Utc>>,
    /// A Tikkun process's first look at a row without an upper id, kept until the upper id is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_look: Option<FirstLook>,
    /// Only receipts with such creation times are covered; `None`: all up to the upper id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Dated>,
    /// The newest ids that were there at the request, as ascending ranges: the first id of each and the first one behind it,
    /// in turn. No other receipt is covered; empty: all up to the upper id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub there: Vec<i64>,
    /// The receipts that existed at the first look and that the request leaves alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftAlone>,
    /// Only receipts that this earlier row set aside are covered; `None`: all up to the upper id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside_of: Option<BackgroundJobId>,
    /// How many more receipts were found than were counted at the start; `None` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<i64>,
    /// Unneeded attachments that the database refused to delete; `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments_kept: Option<AttachmentsKept>,
    /// Keys of other programs.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Attachments of deleted receipts that still exist, with their objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentsKept {
    /// The number of attachments.
    pub count: i64,
    /// The reason for the first of them.
    pub reason: String,
}

impl Cursor {
    /// Reads the column. Null and empty text mean the start.
    ///
    /// # Errors
    /// When the text is no such JSON; the error contains the text.
    pub fn parse(text: Option<&str>) -> Result<Self, CursorError> {
        match text.map(str::trim) {
            None | Some("" | "null") => Ok(Self::default()),
            Some(text) => serde_json::from_str(text)
                .map_err(|e| CursorError { text: text.chars().take(200).collect(), reason: e.to_string() }),
        }
    }
}

impl Cursor {
    /// The reason why the bounds are invalid for the row's tenant; `None` if they are valid. They are invalid
    /// if the application has moved the row to another tenant since, as when it merges two tenants.
    #[must_use]
    pub fn foreign_to(&self, tenant: BusinessId) -> Option<String> {
        let asked = self.bounds_of.filter(|asked| *asked != tenant)?;
        Some(format!(
            "the receipts of business {asked} were to be deleted, but the row belongs to business {tenant} now: nothing of \
             that is deleted; a new request covers what it has"
        ))
    }

    /// The cursor as valid for this row. A cursor copied from an earlier row, as by a retry in the web
    /// application, keeps only its position, because its coverage belongs to the earlier request. The list of
    /// receipts that an earlier row set aside stays valid.
    #[must_use]
    pub fn in_row(self, row: BackgroundJobId) -> Self {
        if self.set_aside_of.is_some() || self.bounds_for.is_none_or(|bounded| bounded == row) {
            return self;
        }
        Self { last_id: self.last_id, other: self.other, ..Self::default() }
    }
}

impl Cursor {
    /// Whether the coverage is that of an earlier request in the same row: the application has queued the row once more
    /// and dated it anew. Only a queued row can be a new request.
    #[must_use]
    pub fn is_of_earlier_request(&self, status: Status, made: Option<DateTime<Utc>>) -> bool {
        let dated_anew = self.made.zip(made).is_some_and(|(before, made)| made - before > ROUNDING);
        status == Status::Queued && dated_anew
    }
}

/// Python writes `null` for a deletion that has not begun.
fn or_start<'de, D: Deserializer<'de>>(value: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// The state at the first look at a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstLook {
    /// The tenant's highest receipt id.
    pub newest_id: i64,
    /// The time, by the database's clock.
    pub at: DateTime<Utc>,
    /// The highest id below the first receipt that was newer than the request by its time, 0 if there was none below;
    /// `None`: none was newer, or times do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_id: Option<i64>,
}

/// A restriction by the receipts' creation times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dated {
    /// The latest creation time.
    pub until: DateTime<Utc>,
    /// Whether receipts without a creation time are included.
    pub undated: bool,
    /// Whether receipts are included that are dated later than this: further ahead than any that come after the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<DateTime<Utc>>,
}

/// Receipts that a request leaves alone because they are, or may be, newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// The number of receipts.
    pub receipts: i64,
    /// The reason, for users: the end of a sentence.
    pub because: String,
}

impl fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.receipts == 1 { "receipt was" } else { "receipts were" };
        write!(f, "{} {what} left alone {}; a new request covers them", self.receipts, self.because)
    }
}

/// A cursor that cannot be read; nothing is guessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the cursor `{text}`: {reason}; expected JSON such as {{\"last_id\": 12345}}")]
pub struct CursorError {
    text: String,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_survives_a_round_trip_with_the_keys_of_others() {
        let cursor = Cursor::parse(Some(r#"{"last_id": 12345, "batch": 7}"#)).unwrap();
        assert_eq!((cursor.last_id, cursor.upper_id), (12345, None));
        assert_eq!(Cursor::parse(Some(&cursor.to_string())).unwrap(), cursor);
        assert_eq!(cursor.other["batch"], 7);
    }

    #[test]
    fn only_a_queued_row_that_is_dated_anew_is_a_new_request() {
        let made = DateTime::UNIX_EPOCH;
        let cursor = Cursor { made: Some(made), ..Cursor::default() };
        let later = Some(made + TimeDelta::seconds(2));
        assert!(cursor.is_of_earlier_request(Status::Queued, later));
        for status in [Status::Running, Status::Paused, Status::Failed] {
            assert!(!cursor.is_of_earlier_request(status, later), "{status}");
        }
        for same in [None, Some(made), Some(made + TimeDelta::milliseconds(500))] {
            assert!(!cursor.is_of_earlier_request(Status::Queued, same), "{same:?}");
        }
        assert!(!Cursor::default().is_of_earlier_request(Status::Queued, later));
    }

    #[test]
    fn an_empty_cursor_is_the_start() {
        for text in [None, Some(""), Some("null"), Some("{}"), Some(r#"{"last_id": null}"#)] {
            assert_eq!(Cursor::parse(text).unwrap(), Cursor::default());
        }
    }

    #[test]
    fn a_broken_cursor_is_named_and_not_guessed() {
        let error = Cursor::parse(Some("12345")).unwrap_err().to_string();
        assert!(error.contains("`12345`") && error.contains("last_id"), "{error}");
    }
}
