//! How a child can end, and the supervisor's reaction.

use std::fmt;
use std::time::Duration;

use super::{Panic, Restart};

/// Why a child must be restarted, or why a supervisor gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It panicked.
    Panicked(Panic),
    /// It answered no heartbeat for this long.
    Hung(Duration),
    /// A permanent child stopped by itself.
    Left,
    /// Its thread ended, or its constructor panicked: nothing is left to restart.
    Lost(Option<Panic>),
    /// A child supervisor used up its restarts.
    Escalated(Box<Escalation>),
}

/// A supervisor that used up its restarts, and the last failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// The supervisor that gave up.
    pub supervisor: String,
    /// The child with the last failure.
    pub child: String,
    /// The failure of that child.
    pub cause: Failure,
}

impl Failure {
    /// The panic that caused it, if any.
    #[must_use]
    pub fn panic(&self) -> Option<&Panic> {
        match self {
            Self::Panicked(panic) => Some(panic),
            Self::Lost(panic) => panic.as_ref(),
            Self::Escalated(escalation) => escalation.cause.panic(),
            Self::Hung(_) | Self::Left => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => panic.fmt(f),
            Self::Hung(deadline) => write!(f, "no heartbeat for {deadline:?}"),
            Self::Left => f.write_str("a permanent child stopped by itself"),
            Self::Lost(Some(panic)) => write!(f, "could not be built: {panic}"),
            Self::Lost(None) => f.write_str("its thread is gone"),
            Self::Escalated(escalation) => escalation.fmt(f),
        }
    }
}

impl fmt::Display for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` gave up after `{}`: {}", self.supervisor, self.child, self.cause)
    }
}

impl std::error::Error for Escalation {}

/// How one life of a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It stopped by itself.
    Normal,
    /// It failed.
    Crash(Failure),
}

/// The supervisor's reaction to an [`End`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Restart the child, if the limit allows.
    Restart(Failure),
    /// The child has ended as intended: remove it.
    Forget,
    /// Nothing can be restarted, so the parent decides.
    Escalate(Failure),
}

impl End {
    /// The reaction when a child of this kind ends in this way.
    pub(super) fn verdict(&self, kind: Restart) -> Verdict {
        match (kind, self) {
            (Restart::Temporary, _) | (Restart::Transient, Self::Normal) => Verdict::Forget,
            (Restart::Permanent, Self::Normal) => Verdict::Restart(Failure::Left),
            (_, Self::Crash(lost @ Failure::Lost(_))) => Verdict::Escalate(lost.clone()),
            (_, Self::Crash(failure)) => Verdict::Restart(failure.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permanent_restarts_always_transient_after_a_crash_temporary_never() {
        let crash = End::Crash(Failure::Hung(Duration::from_secs(1)));
        let again = || Verdict::Restart(Failure::Hung(Duration::from_secs(1)));
        assert_eq!(crash.verdict(Restart::Permanent), again());
        assert_eq!(crash.verdict(Restart::Transient), again());
        assert_eq!(crash.verdict(Restart::Temporary), Verdict::Forget);
        assert_eq!(End::Normal.verdict(Restart::Permanent), Verdict::Restart(Failure::Left));
        assert_eq!(End::Normal.verdict(Restart::Transient), Verdict::Forget);
        assert_eq!(End::Normal.verdict(Restart::Temporary), Verdict::Forget);
    }

    #[test]
    fn lost_child_escalates_unless_temporary() {
        let lost = End::Crash(Failure::Lost(None));
        assert_eq!(lost.verdict(Restart::Transient), Verdict::Escalate(Failure::Lost(None)));
        assert_eq!(lost.verdict(Restart::Temporary), Verdict::Forget);
    }
}
