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

/// What is left in the outbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutboxSummary {
    /// Objects.
    pub pending: u64,
    /// When the oldest was condemned.
    pub oldest: Option<DateTime<Utc>>,
    /// The newest error among them.
    pub last_error: Option<String>,
}

/// The port. Each call is one transaction and safe to repeat.
#[async_trait]
pub trait CleanupOutbox: Send + Sync + 'static {
    /// Takes up to `max` due objects of one store, and pushes their next try out by `hold`, so that
    /// nobody else takes them meanwhile. With `job`, only that job's.
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
    async fn postpone(&self, failed: &[(i64, String)], backoff: &Backoff) -> Result<(), Fault>;

    /// What is left, of one tenant or of all.
    async fn summary(&self, business_id: Option<BusinessId>) -> Result<OutboxSummary, Fault>;
}
