//! The port for sessions that ended early, by a sign-out. All processes refuse them, also after a restart.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::fault::Fault;

/// A session that somebody signed out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// Its unique mark.
    pub mark: String,
    /// When it would have expired.
    pub until: DateTime<Utc>,
}

/// The port for ended sessions. Each call is one transaction and safe to repeat.
#[async_trait]
pub trait EndedSessions: Send + Sync + 'static {
    /// Stores an ended session, and deletes those that have expired at `now`.
    async fn end_session(&self, session: &EndedSession, now: DateTime<Utc>) -> Result<(), Fault>;

    /// Those that have not expired at `now`, at most `max`, the longest first.
    async fn ended(&self, now: DateTime<Utc>, max: u32) -> Result<Vec<EndedSession>, Fault>;
}
