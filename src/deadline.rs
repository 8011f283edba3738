//! Every await has a deadline: an answer that does not come in time is an outage.

use std::time::Duration;

use crate::fault::{Fault, FaultKind};

/// Waits so long and no longer. Cancel safe if `answer` is.
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
