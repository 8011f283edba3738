//! Retries when a store answers that it receives too many requests.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::refusal::{is_throttled, retry_after};

/// The pauses after the SDK has given up, unless the store names one itself.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// The longest pause, whatever the store says: the objects stay in the outbox, where waiting costs nothing.
const LONGEST: Duration = Duration::from_secs(5);

/// Repeats a call while the store answers that it is throttled, a few times at most.
pub(super) async fn patiently<T, E, F>(ask: impl Fn() -> F) -> Result<T, SdkError<E>>
where
    E: ProvideErrorMetadata,
    F: Future<Output = Result<T, SdkError<E>>>,
{
    for pause in PAUSES {
        match ask().await {
            Err(error) if is_throttled(&error) => {
                let pause = retry_after(&error).unwrap_or_else(|| pause.mul_f64(0.5 + fastrand::f64()));
                tokio::time::sleep(pause.min(LONGEST)).await;
            }
            done => return done,
        }
    }
    ask().await
}
