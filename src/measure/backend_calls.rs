//! Measures calls to a back end: their durations and faults.

use std::time::Instant;

use super::list::{CALLS, FAULTS};
use crate::fault::{Fault, FaultKind};
use crate::supervision::catch_panic;

/// Measures the calls to one back end.
#[derive(Clone, Copy, Debug)]
pub struct BackendCalls {
    backend: &'static str,
    engine: &'static str,
}

impl BackendCalls {
    /// Calls to `backend` (`queue`, `database` or `storage`) of this `engine`.
    #[must_use]
    pub const fn to(backend: &'static str, engine: &'static str) -> Self {
        Self { backend, engine }
    }

    /// Makes a call, and records its duration and its fault. Cancel safe if the call is; a dropped call
    /// counts as unanswered.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn timed<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut open = Open { calls: *self, operation, answered: false };
        let began = Instant::now();
        let answer = self.unpanicked(operation, call).await;
        open.answered = true;
        CALLS.histogram(&[self.backend, self.engine, operation]).record(began.elapsed());
        self.note(operation, &answer);
        answer
    }

    /// The same for a call that waits for work, and may be dropped at any time: only faults are counted.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn patient<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let answer = self.unpanicked(operation, call).await;
        self.note(operation, &answer);
        answer
    }

    /// Turns a panic in the back end's library into a permanent fault, so that the calling actor does not
    /// crash.
    async fn unpanicked<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let panicked = |panic| {
            let text = format!(
                "{operation} ({} on {}): the library that asks it gave up",
                self.backend, self.engine
            );
            Err(Fault::new(FaultKind::Permanent, text).because(panic))
        };
        catch_panic(call).await.unwrap_or_else(panicked)
    }

    /// Counts a fault in a part of a response.
    pub fn fault(&self, operation: &str, fault: &Fault) {
        self.count(operation, kind_word(fault.kind()));
    }

    fn note<T>(&self, operation: &str, answer: &Result<T, Fault>) {
        if let Err(fault) = answer {
            self.fault(operation, fault);
        }
    }

    fn count(&self, operation: &str, kind: &str) {
        FAULTS.counter(&[self.backend, self.engine, operation, kind]).increment(1);
    }
}

/// The label for a kind of fault.
#[must_use]
pub fn kind_word(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Unavailable => "unavailable",
        FaultKind::Retryable => "retryable",
        FaultKind::Permanent => "permanent",
    }
}

/// A call without a response yet.
struct Open {
    calls: BackendCalls,
    operation: &'static str,
    answered: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.answered {
            self.calls.count(self.operation, "unanswered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_a_library_is_a_refusal_with_its_text_that_counts_as_one() {
        let calls = BackendCalls::to("storage", "s3");
        let broken = async || -> Result<(), Fault> { panic!("no such header value") };
        for fault in [calls.timed("put", broken()).await, calls.patient("put", broken()).await] {
            let fault = fault.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Permanent);
            let told = fault.chain();
            assert!(
                told.starts_with("put (storage on s3)") && told.contains("no such header value"),
                "{told}"
            );
        }
    }
}
