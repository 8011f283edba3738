//! The port for the clean-up outbox: objects to delete because their attachments are deleted.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::{BackgroundJobId, Backoff, BusinessId};

/// An object that must be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condemned {
    /// The outbox row.
    pub id: i64,
    /// The object's key.
    pub key: String,
}

/// An object that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillThere {
    /// The outbox row.
    pub id: i64,
    /// Why.
    pub error: String,
    /// The store refused it; it will do so again until someone intervenes.
    pub refused: bool,
}

/// A summary of the outbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutboxSummary {
    /// Objects that are to be deleted.
    pub pending: u64,
    /// When the oldest of them was condemned.
    pub oldest: Option<DateTime<Utc>>,
    /// The newest error among them.
    pub last_error: Option<String>,
    /// How many of them the store refused at the last attempt.
    pub refused: u64,
    /// Objects that a user has set aside; not counted above.
    pub parked: u64,
}

impl OutboxSummary {
    /// How long the oldest object has waited.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        (now - self.oldest?).to_std().ok()
    }
}

/// An object in the outbox, with all that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The row.
    pub id: i64,
    /// The deletion that condemned it.
    pub job: BackgroundJobId,
    /// The tenant.
    pub business_id: BusinessId,
    /// The store that holds it.
    pub target: BlobTarget,
    /// Its key.
    pub key: String,
    /// Its size in bytes, if the attachment had it.
    pub bytes: Option<i64>,
    /// When it was condemned.
    pub condemned_at: DateTime<Utc>,
    /// The number of failed attempts.
    pub attempts: u32,
    /// The time of the next attempt.
    pub next_try_at: DateTime<Utc>,
    /// When it was set aside.
    pub parked_at: Option<DateTime<Utc>>,
    /// The last error.
    pub last_error: Option<String>,
}

/// The port for the outbox. Each call is one transaction and safe to repeat.
#[async_trait]
pub trait CleanupOutbox: Send + Sync + 'static {
    /// Claims up to `max` due objects of one store, and postpones their next attempt by `hold`, so that no
    /// other process claims them meanwhile. With `job`, only that job's objects. Parked ones are never
    /// claimed. One whose path a row of attachments has again, as after a restore, is not to be deleted any
    /// more: it is forgotten.
    async fn claim(
        &self,
        target: &BlobTarget,
        job: Option<BackgroundJobId>,
        max: u32,
        hold: Duration,
    ) -> Result<Vec<Condemned>, Fault>;

    /// Makes objects due whose next attempt lies further ahead than `longest`, the longest that anybody postpones one:
    /// theirs was set before the clock was set back. Returns how many.
    async fn hasten(&self, longest: Duration) -> Result<usize, Fault>;

    /// Deletes the rows of objects that are gone.
    async fn confirm(&self, ids: &[i64]) -> Result<(), Fault>;

    /// Records a failed attempt for these objects: keeps the error, and sets the next attempt by `backoff`.
    async fn postpone(&self, failed: &[StillThere], backoff: &Backoff) -> Result<(), Fault>;

    /// A summary for one tenant or for all.
    async fn summary(&self, business_id: Option<BusinessId>) -> Result<OutboxSummary, Fault>;

    /// Objects of all stores, oldest first, at most `max`.
    async fn list(&self, max: u32) -> Result<Vec<OutboxRow>, Fault>;

    /// Sets these objects aside, and returns those that are set aside now. One whose deletion is under way
    /// may still be deleted.
    async fn park(&self, ids: &[i64]) -> Result<Vec<i64>, Fault>;

    /// Puts these objects back, or all; they are due at once. Returns those that are in the outbox.
    async fn unpark(&self, ids: Option<&[i64]>) -> Result<Vec<i64>, Fault>;
}
