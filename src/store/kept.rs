//! Our own copy of a row's cursor and counters, written in the transactions that change them.
//!
//! An ORM of the application may save a row with all columns as it once loaded them, such as to change a label. That
//! takes cursor and counters back; the copy restores them. A program that has advanced the row meanwhile keeps its
//! advance.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultKind};
use crate::job::Progress;
use crate::job::background::{Cursor, Status};

/// Cursor and counters as last committed by the newest attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    cursor: Cursor,
    progress: Progress,
}

/// The copy as text.
pub(super) fn text(cursor: &Cursor, progress: Progress) -> Result<String, Fault> {
    let kept = Kept { cursor: cursor.clone(), progress };
    serde_json::to_string(&kept)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write the state of a deletion").because(error))
}

/// The copy in a text; `None` if there is none that can be read.
pub(super) fn parse(text: Option<&str>) -> Option<Kept> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

impl Kept {
    /// Whether the copy is of the request that a row with these values is now. One that has ended, and one that was made
    /// anew, have no copy. A row that is running after our end of it was put back by a save of its old columns.
    pub(super) fn is_of(&self, status: Status, ended: Option<Status>, made: Option<DateTime<Utc>>) -> bool {
        let goes_on = status == Status::Running
            || (status.is_active() && ended.is_none_or(|ended| ended == Status::Paused));
        goes_on && self.cursor.made.is_none_or(|noted| made == Some(noted))
    }

    /// Cursor and counters of the row, where those that it has may have been overwritten. Keys of other programs are
    /// those that the row has now.
    pub(super) fn over(self, row: Cursor, counted: Progress) -> (Cursor, Progress) {
        let is_ahead = counted.processed >= self.progress.processed && row.last_id >= self.cursor.last_id;
        if is_ahead && row.upper_id == self.cursor.upper_id {
            return (row, Progress { total: counted.total.max(self.progress.total), ..counted });
        }
        let last_id = self.cursor.last_id.max(row.last_id);
        let cursor = Cursor { last_id, other: row.other, ..self.cursor };
        let furthest = if counted.processed < self.progress.processed { self.progress } else { counted };
        (cursor, Progress { total: counted.total.max(self.progress.total), ..furthest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(made: Option<DateTime<Utc>>) -> Kept {
        let cursor = Cursor { last_id: 40, upper_id: Some(99), made, ..Cursor::default() };
        Kept { cursor, progress: Progress { total: 90, processed: 40, succeeded: 39, failed: 1 } }
    }

    #[test]
    fn what_was_taken_back_is_restored_and_an_advance_stays() {
        let row = Cursor::parse(Some(r#"{"last_id": 20, "label": 1}"#)).unwrap();
        let stale = Progress { total: 0, processed: 20, succeeded: 20, failed: 0 };
        let (cursor, progress) = kept(None).over(row.clone(), stale);
        assert_eq!((cursor.last_id, cursor.upper_id, progress), (40, Some(99), kept(None).progress));
        assert_eq!(cursor.other, row.other);
        let ahead = Progress { total: 90, processed: 60, succeeded: 60, failed: 0 };
        let (cursor, progress) = kept(None).over(Cursor { last_id: 60, ..row }, ahead);
        assert_eq!((cursor.last_id, cursor.upper_id, progress), (60, Some(99), ahead));
    }

    #[test]
    fn copy_counts_for_the_same_request_until_it_has_ended() {
        let noon = DateTime::UNIX_EPOCH;
        let is_of = |status, ended, made| kept(Some(noon)).is_of(status, ended, made);
        for status in [Status::Queued, Status::Running, Status::Paused] {
            assert!(is_of(status, None, Some(noon)), "{status}");
            assert!(!is_of(status, None, None), "{status}");
        }
        assert!(is_of(Status::Paused, Some(Status::Paused), Some(noon)));
        assert!(is_of(Status::Running, Some(Status::Completed), Some(noon)), "a save after the end");
        assert!(!is_of(Status::Queued, Some(Status::Failed), Some(noon)), "it was requested again");
        assert!(!is_of(Status::Cancelled, None, Some(noon)));
    }

    #[test]
    fn copy_survives_a_round_trip_and_one_that_cannot_be_read_is_none() {
        let Kept { cursor, progress } = kept(None);
        assert_eq!(parse(Some(&text(&cursor, progress).unwrap())), Some(kept(None)));
        assert_eq!((parse(None), parse(Some("?"))), (None, None));
    }
}
