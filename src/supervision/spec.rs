//! The settings of a child and of a supervisor.

use std::time::Duration;

use super::RestartLimit;
use crate::backoff::Backoff;

/// When a child is restarted after it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always, even when it stopped by itself.
    Permanent,
    /// Only after a crash; if it stops by itself, it is done.
    Transient,
    /// Never.
    Temporary,
}

/// Which children are restarted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Only the child that crashed.
    OneForOne,
    /// The child that crashed and those started after it, in order: for children that depend on earlier ones.
    RestForOne,
}

/// The settings of a supervised actor.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Its name in logs and in the table, unique within the supervisor. The part before the first `/` is its
    /// role.
    pub name: String,
    /// When it is restarted.
    pub restart: Restart,
    /// The time it has to stop before it is dropped.
    pub shutdown: Duration,
    /// The number of messages that its mailbox holds before senders wait.
    pub mailbox: usize,
    /// The longest time without an answer before it counts as hung; `None`: it is not watched. It must be
    /// longer than anything the actor awaits with `ctx.wait`.
    pub heartbeat: Option<Duration>,
    /// Whether polls may have any length, because other code limits them. Its thread then counts as stuck
    /// only after it is abandoned.
    pub judged_elsewhere: bool,
}

impl ChildSpec {
    /// The shutdown time of workers in OTP.
    pub const SHUTDOWN: Duration = Duration::from_secs(5);
    /// The default mailbox capacity of actix.
    pub const MAILBOX: usize = 16;

    /// A child that is always restarted.
    pub fn permanent(name: impl Into<String>) -> Self {
        Self::new(name.into(), Restart::Permanent)
    }

    /// A child that is restarted after a crash.
    pub fn transient(name: impl Into<String>) -> Self {
        Self::new(name.into(), Restart::Transient)
    }

    /// A child that is never restarted.
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

    /// Sets the time it has to stop.
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

    /// Sets the longest time without an answer.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Allows polls of any length, until it is abandoned.
    #[must_use]
    pub fn judged_elsewhere(mut self) -> Self {
        self.judged_elsewhere = true;
        self
    }
}

/// The settings of a supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    /// Its name in logs and in the table, unique within its parent.
    pub name: String,
    /// Which children are restarted together.
    pub strategy: Strategy,
    /// The restarts before it gives up and its parent decides.
    pub limit: RestartLimit,
    /// The delay before each restart.
    pub backoff: Backoff,
}

impl SupervisorSpec {
    /// A supervisor with the default limit and backoff.
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
