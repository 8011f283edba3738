//! How something is meant, before anybody says in which colour.

use crate::job::JobState;

/// How something is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// As everything else.
    #[default]
    Plain,
    /// Beside the point.
    Quiet,
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Unusual.
    Warn,
    /// Wrong.
    Bad,
}

impl Tone {
    /// Of a job in its queue.
    pub(super) fn of_job(state: JobState) -> Self {
        match state {
            JobState::Queued | JobState::Scheduled => Self::Plain,
            JobState::Started => Self::Busy,
            JobState::Finished => Self::Good,
            JobState::Failed => Self::Bad,
            JobState::Canceled => Self::Quiet,
        }
    }

    /// Of a number: none of something is beside the point.
    pub(super) fn of_count(self, count: u64) -> Self {
        if count == 0 { Self::Quiet } else { self }
    }
}
