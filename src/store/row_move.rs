//! A change of one row's status as a value; adapters hold the one statement for it.

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
    /// The status that the row must have.
    pub(super) from: Status,
    /// The new `last_error`; `None` keeps the old one, except that a completed row has none.
    pub(super) error: Option<&'a str>,
    /// The time of the change.
    pub(super) now: DateTime<Utc>,
}

impl RowMove<'_> {
    /// The change in words, for errors.
    pub(super) fn what(&self) -> String {
        format!("move background job {} from {} to {}", self.id, self.from, self.step.to())
    }

    /// Whether the row has the new status: a trigger may have set another one.
    pub(super) fn is_made(&self, row: &BackgroundJob) -> bool {
        row.status == self.step.to()
    }

    /// Whether `last_error` is replaced, possibly by null.
    pub(super) fn replaces_error(&self) -> bool {
        self.error.is_some() || self.step == Move::Complete
    }

    /// The fault for a row that is unchanged although it was locked and had the expected status.
    pub(super) fn left_as_it_was(&self) -> Fault {
        Fault::new(FaultKind::Permanent, format!("{}: {LEFT_AS_IT_WAS}", self.what()))
    }

    /// The new `finished_at`.
    pub(super) fn finished_at(&self) -> Option<DateTime<Utc>> {
        (!self.step.to().is_active()).then_some(self.now)
    }

    /// The new `started_at`, if it has no value yet.
    pub(super) fn started_at(&self) -> Option<DateTime<Utc>> {
        (self.step == Move::Start).then_some(self.now)
    }

    /// The new heartbeat; `None` keeps the old one. A resumed row gets a new one, so that the web
    /// application's stale rule does not fail it while it waits.
    pub(super) fn heartbeat_at(&self) -> Option<DateTime<Utc>> {
        let shows_life =
            matches!(self.step, Move::Start | Move::Continue | Move::Complete | Move::Revive | Move::Resume);
        shows_life.then_some(self.now)
    }
}
