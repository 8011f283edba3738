//! What a supervisor is told: about a child, and about itself.

use std::time::Duration;

use super::RestartLimit;
use crate::backoff::Backoff;

/// When a child that ended begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always, even when it stopped by itself.
    Permanent,
    /// After a crash only; when it stops by itself it is done.
    Transient,
    /// Never.
    Temporary,
}

/// Whom a restart takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Only the child that crashed.
    OneForOne,
    /// The child that crashed and those started after it, in order: for children that depend on earlier ones.
    RestForOne,
}

/// A supervised actor, as its supervisor sees it.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Its name in logs and in the table, unique within the supervisor. What comes before the first `/`
    /// is its role.
    pub name: String,
    /// When it begins again.
    pub restart: Restart,
    /// How long it may take to stop before it is dropped.
    pub shutdown: Duration,
    /// Messages its mailbox holds before senders wait.
    pub mailbox: usize,
    /// Longest silence before it counts as hung; none: it is not watched. Keep it longer than anything the
    /// actor awaits with `ctx.wait`.
    pub heartbeat: Option<Duration>,
    /// Its turns may be of any length, and its thread counts as stuck only once it is abandoned: somebody else judges
    /// how long a turn may take.
    pub judged_elsewhere: bool,
}

impl ChildSpec {
    /// Time to stop, as OTP gives its workers.
    pub const SHUTDOWN: Duration = Duration::from_secs(5);
    /// Mailbox capacity, as actix has it.
    pub const MAILBOX: usize = 16;

    /// A child that always begins again.
    pub fn permanent(name: impl Into<String>) -> Self {
        Self::new(name.into(), Restart::Permanent)
    }

    /// A child that begins again after a crash.
    pub fn transient(name: impl Into<String>) -> Self {
        Self::new(name.into(), Restart::Transient)
    }

    /// A child with one life.
    pub fn temporary(name: impl Into<String>) -> Self {
        Self::new(name.into(), Restart::Temporary)
    }

    fn new(name: String, restart: Restart) -> Self {
        Self {
            name,
            restart,
            shutdown: Self::SHUTDOWN,
            mailbox: Self::MAILBOX,
            heartbeat: None,
            judged_elsewhere: false,
        }
    }

    /// Sets how long it may take to stop.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Duration) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets how many messages its mailbox holds; 0 means no bound.
    #[must_use]
    pub fn mailbox(mut self, mailbox: usize) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// Sets the longest silence.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Lets its turns take any time, until it is abandoned.
    #[must_use]
    pub fn judged_elsewhere(mut self) -> Self {
        self.judged_elsewhere = true;
        self
    }
}

/// A supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    /// Its name in logs and in the table, unique within its parent.
    pub name: String,
    /// Whom a restart takes along.
    pub strategy: Strategy,
    /// Restarts it may spend before it gives up and its parent decides.
    pub limit: RestartLimit,
    /// Delay before each restart.
    pub backoff: Backoff,
}

impl SupervisorSpec {
    /// A supervisor with the usual limit and backoff.
    pub fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        Self { name: name.into(), strategy, limit: RestartLimit::default(), backoff: Backoff::RESTART }
    }

    /// Sets the restart limit.
    #[must_use]
    pub fn limit(mut self, limit: RestartLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the delays.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}
