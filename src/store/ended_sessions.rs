//! The port onto sessions of the page that ended before their time: every process knows them, also after its next start.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::fault::Fault;

/// A session that somebody signed out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// What tells it from every other one.
    pub mark: String,
    /// Until when it would have held.
    pub until: DateTime<Utc>,
}

/// The port. Each call is one transaction and safe to repeat.
#[async_trait]
pub trait EndedSessions: Send + Sync + 'static {
    /// Keeps a session, and drops those whose time has passed at `now`.
    async fn end_session(&self, session: &EndedSession, now: DateTime<Utc>) -> Result<(), Fault>;

    /// Those whose time has not passed at `now`, at most `max`, the longest first.
    async fn ended(&self, now: DateTime<Utc>, max: u32) -> Result<Vec<EndedSession>, Fault>;
}
