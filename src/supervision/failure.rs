//! How a child can end, and what follows from it.

use std::fmt;
use std::time::Duration;

use super::{Panic, Restart};

/// Why a child has to begin again, or a supervisor gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It panicked.
    Panicked(Panic),
    /// It answered no heartbeat for this long.
    Hung(Duration),
    /// A permanent child stopped by itself.
    Left,
    /// Its thread ended under it, or its constructor panicked: there is nothing to restart.
    Lost(Option<Panic>),
    /// A supervisor below spent its restarts.
    Escalated(Box<Escalation>),
}

/// A supervisor that spent its restarts, and the last straw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// The supervisor that gave up.
    pub supervisor: String,
    /// The child whose failure was one too many.
    pub child: String,
    /// How that child failed.
    pub cause: Failure,
}

impl Failure {
    /// The panic at the bottom, if there is one.
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
    /// It chose to stop.
    Normal,
    /// It did not choose.
    Crash(Failure),
}

/// What a supervisor does about an [`End`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Begin again, if the limit allows.
    Restart(Failure),
    /// The child is gone and should be.
    Forget,
    /// Nothing can be restarted: the parent decides.
    Escalate(Failure),
}

impl End {
    /// What follows when a child of this kind ends so.
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
