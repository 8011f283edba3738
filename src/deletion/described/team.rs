//! The ports and limits of described deletions.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::ArbiterHandle;

use super::descriptions::Descriptions;
use crate::blob::BlobStore;
use crate::deletion::CleanUpLimits;
use crate::store::{CleanupOutbox, DescribedDeletions};

/// The ports and limits of described deletions.
pub struct DescribedTeam {
    /// The descriptions.
    pub descriptions: Arc<Descriptions>,
    /// The database.
    pub described: Arc<dyn DescribedDeletions>,
    /// Objects that are still to be deleted.
    pub outbox: Arc<dyn CleanupOutbox>,
    /// The storage.
    pub blobs: Arc<dyn BlobStore>,
    /// The limits of a clean-up.
    pub clean_up: CleanUpLimits,
    /// The time limit of a short call to the database.
    pub deadline: Duration,
    /// The time limit of a batch, and of a count.
    pub transaction_deadline: Duration,
    /// The thread of the batches. No job may block it, because a batch keeps a database transaction open.
    pub thread: ArbiterHandle,
}
