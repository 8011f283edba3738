//! Deadlines for calls: an answer that is not in time is a fault of kind `Unavailable`.

use std::time::Duration;

use crate::fault::{Fault, FaultKind};

/// The slowest line over which long requests and answers are waited for, in bytes per millisecond.
const THIN_LINE: u64 = 64;

/// The time that so many bytes take over a thin line; next to nothing for a short call.
pub(crate) fn time_for(bytes: usize) -> Duration {
    Duration::from_millis(u64::try_from(bytes).unwrap_or(u64::MAX) / THIN_LINE)
}

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
