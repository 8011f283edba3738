//! Deadlines for calls: an answer that is not in time is a fault of kind `Unavailable`.

use std::time::Duration;

use crate::fault::{Fault, FaultKind};

/// Awaits `answer`, for at most `deadline`; `what` names the call in the fault. Cancel safe if `answer` is.
pub(crate) async fn answer_in<T>(
    deadline: Duration,
    what: &str,
    answer: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Fault::new(
            FaultKind::Unavailable,
            format!("{what}: no answer within {}", humantime::format_duration(deadline)),
        )),
    }
}
