//! The statuses of a row, and the allowed changes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The six words that `chk_job_status` allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker executes it.
    Running,
    /// Paused; see [`PauseReason`].
    Paused,
    /// Done.
    Completed,
    /// Failed for good; `last_error` has the reason.
    Failed,
    /// Cancelled by a user.
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

    /// The status with the name `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether the row blocks another request of its tenant: the condition of the unique index.
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

/// Why a row is paused; the status does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PauseReason {
    /// The runtime limit or a drain; the same queue job continues by itself.
    Continuation,
    /// A user, or a limit that requires a user's decision; continues when a user resumes it.
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

    /// The reason with the name `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Continuation, Self::Person].into_iter().find(|reason| reason.as_str() == word)
    }
}

/// What a background job does when the runtime limit of one run is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRuntimeLimit {
    /// It goes to the end of its queue and continues by itself.
    Continue,
    /// It waits until a user resumes it.
    Pause,
}

/// A change of status that Tikkun may make. Stores apply each as a compare-and-set on [`Move::from`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// An attempt begins, also after a crash.
    Start,
    /// The runtime limit or a drain pauses the row for continuation.
    Continue,
    /// The work is done.
    Complete,
    /// The job fails for good.
    Fail,
    /// No attempt can begin; the row fails, so that it does not block the next request.
    FailUnbegun,
    /// A user cancels.
    Cancel,
    /// A user pauses, or a limit that requires a user's decision does.
    Pause,
    /// A user resumes.
    Resume,
    /// Undoes a failure by the web application's stale rule of a job that is alive.
    Revive,
}

impl Move {
    /// The statuses from which it is allowed. For `Paused` see also [`Move::from_pause`].
    #[must_use]
    pub fn from(self) -> &'static [Status] {
        match self {
            Self::Start => &[Status::Queued, Status::Paused, Status::Running],
            Self::Continue | Self::Complete | Self::Fail => &[Status::Running],
            Self::FailUnbegun => &[Status::Queued, Status::Paused],
            Self::Cancel => &[Status::Queued, Status::Running, Status::Paused],
            Self::Pause => &[Status::Queued, Status::Running],
            Self::Resume => &[Status::Paused],
            Self::Revive => &[Status::Failed],
        }
    }

    /// The only pause reason that this change may end; `None`: any.
    #[must_use]
    pub fn from_pause(self) -> Option<PauseReason> {
        match self {
            Self::Start | Self::FailUnbegun => Some(PauseReason::Continuation),
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
            Self::Fail | Self::FailUnbegun => Status::Failed,
            Self::Cancel => Status::Cancelled,
            Self::Resume => Status::Queued,
        }
    }

    /// Whether the change is allowed from this status.
    #[must_use]
    pub fn allowed(self, from: Status, paused: Option<PauseReason>) -> bool {
        self.from().contains(&from)
            && (from != Status::Paused
                || self.from_pause().is_none_or(|only| paused.unwrap_or(PauseReason::Person) == only))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_those_of_the_table_and_no_others() {
        use {PauseReason as P, Status as S};
        let all_moves = [
            Move::Start,
            Move::Continue,
            Move::Complete,
            Move::Fail,
            Move::FailUnbegun,
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
            (S::Queued, None, Move::FailUnbegun),
            (S::Queued, None, Move::Cancel),
            (S::Queued, None, Move::Pause),
            (S::Running, None, Move::Start),
            (S::Running, None, Move::Continue),
            (S::Running, None, Move::Complete),
            (S::Running, None, Move::Fail),
            (S::Running, None, Move::Cancel),
            (S::Running, None, Move::Pause),
            (S::Paused, Some(P::Continuation), Move::Start),
            (S::Paused, Some(P::Continuation), Move::FailUnbegun),
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
