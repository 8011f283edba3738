//! The row in `background_jobs` that people watch: its states, who may move them, its cursor.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BackgroundJobId, BusinessId, JobId, Progress};

/// The deletion job's `job_type`.
pub const DELETE_RECEIPTS_ALL: &str = "delete_receipts_all";

/// The six words of `chk_job_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Rests; see [`PauseReason`].
    Paused,
    /// All done.
    Completed,
    /// Given up; `last_error` says why.
    Failed,
    /// A person stopped it.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    /// The word in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status that `word` names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether the row blocks another request of its tenant: the unique index's condition.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Paused)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a row is paused; the six words cannot carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseReason {
    /// The runtime limit or a drain; the same queue job goes on by itself.
    Continuation,
    /// A person, or a limit that waits for one; goes on when a person says so.
    Person,
}

impl PauseReason {
    /// The word in our own table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Person => "person",
        }
    }

    /// The reason that `word` names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Continuation, Self::Person].into_iter().find(|reason| reason.as_str() == word)
    }
}

/// What a background job does when it has used up the time of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRuntimeLimit {
    /// It goes back to the end of its queue, and on by itself.
    Continue,
    /// It waits until a person resumes it.
    Pause,
}

/// A change of status that ours may make. Stores turn each into a compare-and-set on [`Move::from`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// An attempt begins, also after a crash.
    Start,
    /// The runtime limit or a drain.
    Continue,
    /// All done.
    Complete,
    /// Given up.
    Fail,
    /// The enqueueing failed, so nothing may block the next request.
    FailUnqueued,
    /// A person cancels.
    Cancel,
    /// A person pauses, or what speaks for one: a limit after which a person is to decide.
    Pause,
    /// A person resumes.
    Resume,
    /// The web application's stale rule failed a job that is alive.
    Revive,
}

impl Move {
    /// The statuses it may start from. For `Paused` see [`Move::from_pause`].
    #[must_use]
    pub fn from(self) -> &'static [Status] {
        match self {
            Self::Start => &[Status::Queued, Status::Paused, Status::Running],
            Self::Continue | Self::Complete | Self::Fail => &[Status::Running],
            Self::FailUnqueued => &[Status::Queued],
            Self::Cancel => &[Status::Queued, Status::Running, Status::Paused],
            Self::Pause => &[Status::Queued, Status::Running],
            Self::Resume => &[Status::Paused],
            Self::Revive => &[Status::Failed],
        }
    }

    /// The only reason for a pause that this move may end; none: any.
    #[must_use]
    pub fn from_pause(self) -> Option<PauseReason> {
        match self {
            Self::Start => Some(PauseReason::Continuation),
            Self::Resume => Some(PauseReason::Person),
            _ => None,
        }
    }

    /// The status it leads to.
    #[must_use]
    pub fn to(self) -> Status {
        match self {
            Self::Start | Self::Revive => Status::Running,
            Self::Continue | Self::Pause => Status::Paused,
            Self::Complete => Status::Completed,
            Self::Fail | Self::FailUnqueued => Status::Failed,
            Self::Cancel => Status::Cancelled,
            Self::Resume => Status::Queued,
        }
    }

    /// Whether the move is allowed from where the row stands.
    #[must_use]
    pub fn allowed(self, from: Status, paused: Option<PauseReason>) -> bool {
        self.from().contains(&from)
            && (from != Status::Paused
                || self.from_pause().is_none_or(|only| paused.unwrap_or(PauseReason::Person) == only))
    }
}

/// Where a deletion stands, as the JSON text in the column `cursor`. Keys of others are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// Everything up to this id has been looked at.
    #[serde(default)]
    pub last_id: i64,
    /// Nothing above this id belongs to the request; none until the first start of a row that the web
    /// application made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_id: Option<i64>,
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

/// A row of `background_jobs` with what our own table knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackgroundJob {
    /// The row's id.
    pub id: BackgroundJobId,
    /// The tenant.
    pub business_id: BusinessId,
    /// Who asked.
    pub requested_by_user_id: Option<i64>,
    /// The type, for example [`DELETE_RECEIPTS_ALL`].
    pub job_type: String,
    /// Where it stands.
    pub status: Status,
    /// Its counters.
    pub progress: Progress,
    /// Why it failed, or what went wrong last.
    pub last_error: Option<String>,
    /// Where the deletion stands.
    pub cursor: Cursor,
    /// When it was asked for.
    pub created_at: Option<DateTime<Utc>>,
    /// When the row last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it last showed life.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// What six words cannot carry.
    pub note: Note,
}

/// Our own record of a background job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// The newest attempt: the fence. 0 before the first.
    pub attempt: u32,
    /// The queue job that carries it.
    pub queue_job: Option<JobId>,
    /// Why it is paused.
    pub pause_reason: Option<PauseReason>,
    /// What it waits for, while it waits.
    pub waiting_for: Option<String>,
    /// Receipts per second.
    pub rate: Option<f64>,
    /// Seconds left.
    pub eta_seconds: Option<f64>,
    /// Attempts in a row that died without moving the cursor.
    pub barren_attempts: u32,
    /// Who or what cancelled, paused or resumed it last, through us.
    pub changed_by: Option<String>,
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
        for text in [None, Some(""), Some("null"), Some("{}")] {
            assert_eq!(Cursor::parse(text).unwrap(), Cursor::default());
        }
    }

    #[test]
    fn a_broken_cursor_is_named_and_not_guessed() {
        let error = Cursor::parse(Some("12345")).unwrap_err().to_string();
        assert!(error.contains("`12345`") && error.contains("last_id"), "{error}");
    }

    #[test]
    fn moves_are_those_of_the_table_and_no_others() {
        use {PauseReason as P, Status as S};
        let all_moves = [
            Move::Start,
            Move::Continue,
            Move::Complete,
            Move::Fail,
            Move::FailUnqueued,
            Move::Cancel,
            Move::Pause,
            Move::Resume,
            Move::Revive,
        ];
        let states = [
            (S::Queued, None),
            (S::Running, None),
            (S::Paused, Some(P::Continuation)),
            (S::Paused, Some(P::Person)),
        ];
        let finals = [(S::Completed, None), (S::Failed, None), (S::Cancelled, None)];
        let mut seen = Vec::new();
        for (from, paused) in states.into_iter().chain(finals) {
            for step in all_moves {
                if step.allowed(from, paused) {
                    seen.push((from, paused, step));
                }
            }
        }
        let expected = [
            (S::Queued, None, Move::Start),
            (S::Queued, None, Move::FailUnqueued),
            (S::Queued, None, Move::Cancel),
            (S::Queued, None, Move::Pause),
            (S::Running, None, Move::Start),
            (S::Running, None, Move::Continue),
            (S::Running, None, Move::Complete),
            (S::Running, None, Move::Fail),
            (S::Running, None, Move::Cancel),
            (S::Running, None, Move::Pause),
            (S::Paused, Some(P::Continuation), Move::Start),
            (S::Paused, Some(P::Continuation), Move::Cancel),
            (S::Paused, Some(P::Person), Move::Cancel),
            (S::Paused, Some(P::Person), Move::Resume),
            (S::Failed, None, Move::Revive),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_pause_nobody_explained_is_a_persons() {
        assert!(!Move::Start.allowed(Status::Paused, None));
        assert!(Move::Resume.allowed(Status::Paused, None));
    }
}
