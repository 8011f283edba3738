//! Runs code that speaks for dead jobs apart from everything else: each call has a thread to itself, for code that
//! never yields keeps its thread, and nobody can take it back. Such a thread counts as stuck until it comes back.
//!
//! Threads that come back are used again, and stay: connections that were made on one live no longer than it does.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::supervision::{HealthTable, catch_panic};

/// Calls at a time: more dead jobs than these wait for their turn.
pub(crate) const AT_ONCE: usize = 16;

/// How long after its time a thread has to come back.
pub(crate) const COMES_BACK: Duration = Duration::from_secs(1);

/// The threads. Clones are the same ones, and the last ends them.
#[derive(Clone, Default)]
pub(crate) struct Asides {
    idle: Arc<Idle>,
    /// Where a thread is counted that does not come back.
    table: HealthTable,
}

/// Threads without a call.
#[derive(Default)]
struct Idle(Mutex<Vec<ArbiterHandle>>);

impl Drop for Idle {
    fn drop(&mut self) {
        for thread in self.0.get_mut() {
            thread.stop();
        }
    }
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Aside<T> {
    /// It ended.
    Ended(T),
    /// It panicked, with this text.
    Panicked(String),
    /// It did not end in its time, and was dropped.
    TooLong,
    /// It never yielded: its thread is left to it.
    NeverYields,
}

impl Asides {
    /// None yet; what does not come back shows in `table`.
    pub(crate) fn new(table: HealthTable) -> Self {
        Self { idle: Arc::default(), table }
    }

    /// Runs the call for as long as `time`, also for a caller who does not wait any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        time: Duration,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Aside<T> {
        let idle = self.idle.0.lock().pop();
        let thread = idle.unwrap_or_else(|| Arbiter::new().handle());
        let (answer, answered) = oneshot::channel();
        let (asides, work) = (self.clone(), self.table.watch_work("aside"));
        let begun = work.clone();
        thread.spawn(async move {
            begun.begin();
            let ended = match tokio::time::timeout(time, catch_panic(call)).await {
                Ok(Ok(ended)) => Aside::Ended(ended),
                Ok(Err(panic)) => Aside::Panicked(panic.to_string()),
                Err(_) => Aside::TooLong,
            };
            begun.end();
            asides.idle.0.lock().push(Arbiter::current());
            // Nobody may wait for it any more.
            let _ = answer.send(ended);
        });
        match tokio::time::timeout(time + COMES_BACK, answered).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Aside::TooLong,
            Err(_) => {
                work.give_up();
                Aside::NeverYields
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[actix_rt::test]
    async fn a_call_ends_panics_takes_too_long_or_never_yields() {
        let asides = Asides::default();
        assert_eq!(asides.run(LONG, async { 7 }).await, Aside::Ended(7));
        assert!(matches!(asides.run(LONG, async { panic!("no") }).await, Aside::<()>::Panicked(_)));
        assert_eq!(asides.run(TIME, std::future::pending::<()>()).await, Aside::TooLong);
        assert_eq!(asides.idle.0.lock().len(), 1, "one thread served them all");
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        assert_eq!(asides.run(TIME, async move { held.recv().is_ok() }).await, Aside::NeverYields);
        assert_eq!(asides.idle.0.lock().len(), 0, "nobody gets a thread that is held");
        let mut stuck = asides.table.stuck_threads();
        let counted = tokio::time::timeout(LONG, stuck.wait_for(|stuck| stuck.threads == 1)).await;
        counted.expect("waited for the thread to count as stuck").unwrap();
        assert_eq!(asides.run(LONG, async { 8 }).await, Aside::Ended(8));
        let_go.send(()).expect("its thread still waits");
        let back = tokio::time::timeout(LONG, stuck.wait_for(|stuck| stuck.threads == 0)).await;
        back.expect("waited for the thread to count no more").unwrap();
    }
}
