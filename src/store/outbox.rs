//! The port onto the clean-up outbox: objects whose attachments are gone and that must go too.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::{BackgroundJobId, Backoff, BusinessId};

/// An object that must go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condemned {
    /// The outbox row.
    pub id: i64,
    /// The object's key.
    pub key: String,
}

/// An object that is still there after a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillThere {
    /// The outbox row.
    pub id: i64,
    /// Why.
    pub error: String,
    /// The store refused it: without a person's hand the same will happen again.
    pub refused: bool,
}

/// What is left in the outbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutboxSummary {
    /// Objects that are to be tried.
    pub pending: u64,
    /// When the oldest of them was condemned.
    pub oldest: Option<DateTime<Utc>>,
    /// The newest error among them.
    pub last_error: Option<String>,
    /// Those that the store refused at their last try.
    pub refused: u64,
    /// Objects that a person has set aside; none of the above.
    pub parked: u64,
}

impl OutboxSummary {
    /// How long the oldest object has waited.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        (now - self.oldest?).to_std().ok()
    }
}

/// An object in the outbox, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The row.
    pub id: i64,
    /// The deletion that condemned it.
    pub job: BackgroundJobId,
    /// The tenant.
    pub business_id: BusinessId,
    /// Where it lies.
    pub target: BlobTarget,
    /// Its key.
    pub key: String,
    /// Its size, where the attachment told it.
    pub bytes: Option<i64>,
    /// Since when it is to go.
    pub condemned_at: DateTime<Utc>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it may be tried next.
    pub next_try_at: DateTime<Utc>,
    /// Since when it is set aside.
    pub parked_at: Option<DateTime<Utc>>,
    /// Why it is still there.
    pub last_error: Option<String>,
}

/// The port. Each call is one transaction and safe to repeat.
#[async_trait]
pub trait CleanupOutbox: Send + Sync + 'static {
    /// Takes up to `max` due objects of one store, and pushes their next try out by `hold`, so that
    /// nobody else takes them meanwhile. With `job`, only that job's. Parked ones are never taken.
    async fn claim(
        &self,
        target: &BlobTarget,
        job: Option<BackgroundJobId>,
        max: u32,
        hold: Duration,
    ) -> Result<Vec<Condemned>, Fault>;

    /// These objects are gone: drops their rows.
    async fn confirm(&self, ids: &[i64]) -> Result<(), Fault>;

    /// These objects are still there: counts the attempt, keeps the error, sets the next try by `backoff`.
    async fn postpone(&self, failed: &[StillThere], backoff: &Backoff) -> Result<(), Fault>;

    /// What is left, of one tenant or of all.
    async fn summary(&self, business_id: Option<BusinessId>) -> Result<OutboxSummary, Fault>;

    /// Objects of all stores, oldest first, at most `max`.
    async fn list(&self, max: u32) -> Result<Vec<OutboxRow>, Fault>;

    /// Sets these objects aside, and answers which of them are now. One that is being tried at this
    /// moment may still go.
    async fn park(&self, ids: &[i64]) -> Result<Vec<i64>, Fault>;

    /// Puts these objects back, or all, due at once; answers which of them are in the outbox.
    async fn unpark(&self, ids: Option<&[i64]>) -> Result<Vec<i64>, Fault>;
}
