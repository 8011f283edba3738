//! Where a deletion stands, and what it covers.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::job::{BackgroundJobId, BusinessId};

/// Where a deletion stands, as the JSON text in the column `cursor`. Keys of others are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything up to this id has been looked at.
    #[serde(default, deserialize_with = "or_start")]
    pub last_id: i64,
    /// Nothing above this id belongs to the request; none until the first start of a row that the web
    /// application made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_id: Option<i64>,
    /// Whose receipts the bounds are about; none in what former versions wrote, and where there are no bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds_of: Option<BusinessId>,
    /// For which row they were taken; none in what former versions wrote, and where there are no bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds_for: Option<BackgroundJobId>,
    /// The first look of any process of ours at a row without an upper id, until that is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_look: Option<FirstLook>,
    /// Of the receipts up to the upper id only those made at such times; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Dated>,
    /// What the first look saw and the request leaves alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftAlone>,
    /// The request is only about what this earlier row set aside; none: about everything up to the upper id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside_of: Option<BackgroundJobId>,
    /// Attachments that the database did not let go, although no receipt needs them; none: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments_kept: Option<AttachmentsKept>,
    /// Keys that others wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Attachments of deleted receipts whose rows and objects are still there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentsKept {
    /// How many.
    pub count: i64,
    /// Why the first of them is.
    pub reason: String,
}

impl Cursor {
    /// Reads the column. Null and empty text are the start.
    ///
    /// # Errors
    /// When the text is not such JSON: names the text.
    pub fn parse(text: Option<&str>) -> Result<Self, CursorError> {
        match text.map(str::trim) {
            None | Some("" | "null") => Ok(Self::default()),
            Some(text) => serde_json::from_str(text)
                .map_err(|e| CursorError { text: text.chars().take(200).collect(), reason: e.to_string() }),
        }
    }
}

impl Cursor {
    /// Why the bounds mean nothing for the tenant that the row belongs to; none: they do. They were taken for another when
    /// the application has moved the row since, as it does when it merges two tenants.
    #[must_use]
    pub fn foreign_to(&self, tenant: BusinessId) -> Option<String> {
        let asked = self.bounds_of.filter(|asked| *asked != tenant)?;
        Some(format!(
            "the receipts of business {asked} were to be deleted, but the row belongs to business {tenant} now: nothing of \
             that is deleted; a new request covers what it has"
        ))
    }

    /// As it stands in this row. One that was copied from an earlier row, as by a retry in the web application, only tells
    /// where to go on: what that row covered was there at its own request. A list of receipts that an earlier row set
    /// aside stays what it is.
    #[must_use]
    pub fn in_row(self, row: BackgroundJobId) -> Self {
        if self.set_aside_of.is_some() || self.bounds_for.is_none_or(|bounded| bounded == row) {
            return self;
        }
        Self { last_id: self.last_id, other: self.other, ..Self::default() }
    }
}

/// Python writes `null` for what has not begun.
fn or_start<'de, D: Deserializer<'de>>(value: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// What there was when a row was first looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstLook {
    /// The tenant's highest receipt.
    pub newest_id: i64,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
}

/// A restriction by the receipts' creation times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dated {
    /// None that was made later.
    pub until: DateTime<Utc>,
    /// Whether those without a creation time are among them.
    pub undated: bool,
}

/// Receipts that a request leaves alone, because they came after it or may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// How many.
    pub receipts: i64,
    /// Why, for people: the end of a sentence.
    pub because: String,
}

impl fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.receipts == 1 { "receipt was" } else { "receipts were" };
        write!(f, "{} {what} left alone {}; a new request covers them", self.receipts, self.because)
    }
}

/// A cursor that is not ours to guess at.
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
