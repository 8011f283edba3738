//! A change of one row's status, as values; adapters hold the one statement that makes it.

use chrono::{DateTime, Utc};

use super::deletion::LEFT_AS_IT_WAS;
use crate::fault::{Fault, FaultKind};
use crate::job::BackgroundJobId;
use crate::job::background::{BackgroundJob, Move, Status};

/// A change of one row.
pub(super) struct RowMove<'a> {
    /// The row.
    pub(super) id: BackgroundJobId,
    /// The change.
    pub(super) step: Move,
    /// Where the row must stand.
    pub(super) from: Status,
    /// Goes into `last_error`; none leaves it, unless the row is completed: then nothing is wrong any more.
    pub(super) error: Option<&'a str>,
    /// When.
    pub(super) now: DateTime<Utc>,
}

impl RowMove<'_> {
    /// What is tried, in words.
    pub(super) fn what(&self) -> String {
        format!("move background job {} from {} to {}", self.id, self.from, self.step.to())
    }

    /// Whether the row stands where it was moved to: a trigger may give it another status than the statement does.
    pub(super) fn is_made(&self, row: &BackgroundJob) -> bool {
        row.status == self.step.to()
    }

    /// Whether `last_error` becomes what the change says, null included.
    pub(super) fn replaces_error(&self) -> bool {
        self.error.is_some() || self.step == Move::Complete
    }

    /// The fault of a row that stands as it stood, although it is locked and its status was read under the lock.
    pub(super) fn left_as_it_was(&self) -> Fault {
        Fault::new(FaultKind::Permanent, format!("{}: {LEFT_AS_IT_WAS}", self.what()))
    }

    /// What `finished_at` is afterwards.
    pub(super) fn finished_at(&self) -> Option<DateTime<Utc>> {
        (!self.step.to().is_active()).then_some(self.now)
    }

    /// What `started_at` is afterwards, if it has no value yet.
    pub(super) fn started_at(&self) -> Option<DateTime<Utc>> {
        (self.step == Move::Start).then_some(self.now)
    }

    /// The heartbeat; none leaves it. A resumed row gets a fresh one, lest the web application's stale
    /// rule fail it while it waits.
    pub(super) fn heartbeat_at(&self) -> Option<DateTime<Utc>> {
        let shows_life =
            matches!(self.step, Move::Start | Move::Continue | Move::Complete | Move::Revive | Move::Resume);
        shows_life.then_some(self.now)
    }
}
