//! The meaning of a text, from which its colour is chosen.

use crate::job::JobState;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Ordinary text.
    #[default]
    Plain,
    /// Less important.
    Quiet,
    /// Good.
    Good,
    /// In progress.
    Busy,
    /// Unusual.
    Warn,
    /// Wrong.
    Bad,
}

impl Tone {
    /// The tone of a job's state.
    pub(super) fn of_job(state: JobState) -> Self {
        match state {
            JobState::Queued | JobState::Scheduled => Self::Plain,
            JobState::Started => Self::Busy,
            JobState::Finished => Self::Good,
            JobState::Failed => Self::Bad,
            JobState::Canceled => Self::Quiet,
        }
    }

    /// The tone of a number: zero is quiet.
    pub(super) fn of_count(self, count: u64) -> Self {
        if count == 0 { Self::Quiet } else { self }
    }
}
