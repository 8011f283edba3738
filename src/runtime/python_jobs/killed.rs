//! Why a process is killed under its job.

use tokio::sync::watch;

use crate::job::StopReason;
use crate::python::MemoryWatch;

/// Why a process was killed under its job.
#[derive(Clone, Copy)]
pub(super) enum Killed {
    /// Its time was up, and its code did not yield.
    Overdue,
    /// It had so many bytes for itself, which is beyond the limit.
    TooLarge(u64),
    /// A person asked for it.
    ByPerson(StopReason),
    /// All of this process is to end at once.
    AtOnce,
}

/// Completes when a process has more memory than it may, with how many bytes; never without a limit.
pub(super) async fn exceeded(memory: Option<&MemoryWatch>) -> u64 {
    match memory {
        Some(memory) => memory.exceeded().await,
        None => std::future::pending().await,
    }
}

/// Completes once this is true.
pub(super) async fn told(end: &watch::Receiver<bool>) {
    if end.clone().wait_for(|end| *end).await.is_err() {
        std::future::pending().await
    }
}
