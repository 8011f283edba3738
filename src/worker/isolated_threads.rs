//! Runs code for dead jobs apart from everything else. Each call has its own thread, because code that never
//! yields keeps its thread and cannot be interrupted. Such a thread counts as stuck until it returns.
//!
//! Returned threads are reused and kept, because connections made on a thread end with it.

use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::supervision::{HealthTable, catch_panic};

/// The number of concurrent calls; further calls wait.
pub(crate) const AT_ONCE: usize = 16;

/// How long after its time limit a thread may take to return.
pub(crate) const COMES_BACK: Duration = Duration::from_secs(1);

/// The threads. Clones share them, and dropping the last ends them.
#[derive(Clone, Default)]
pub(crate) struct IsolatedThreads {
    idle: Arc<Idle>,
    /// The table that counts stuck threads.
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

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Isolated<T> {
    /// It ended.
    Ended(T),
    /// It panicked, with this text.
    Panicked(String),
    /// It exceeded its time limit, and was dropped.
    TooLong,
    /// It never yielded, and its thread was given up.
    NeverYields,
}

impl IsolatedThreads {
    /// Starts without threads; stuck threads are counted in `table`.
    pub(crate) fn new(table: HealthTable) -> Self {
        Self { idle: Arc::default(), table }
    }

    /// Runs the call for at most `time`, even if the caller stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        time: Duration,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Isolated<T> {
        let idle = self.idle.0.lock().pop();
        let thread = idle.unwrap_or_else(|| Arbiter::new().handle());
        let (answer, answered) = oneshot::channel();
        let (isolated_threads, work) = (self.clone(), self.table.watch_work("aside"));
        let begun = work.clone();
        thread.spawn(async move {
            begun.begin();
            let ended = match tokio::time::timeout(time, catch_panic(call)).await {
                Ok(Ok(ended)) => Isolated::Ended(ended),
                Ok(Err(panic)) => Isolated::Panicked(panic.to_string()),
                Err(_) => Isolated::TooLong,
            };
            begun.end();
            isolated_threads.idle.0.lock().push(Arbiter::current());
            // The caller may have stopped waiting.
            let _ = answer.send(ended);
        });
        match tokio::time::timeout(time + COMES_BACK, answered).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Isolated::TooLong,
            Err(_) => {
                work.give_up();
                Isolated::NeverYields
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
        let isolated_threads = IsolatedThreads::default();
        assert_eq!(isolated_threads.run(LONG, async { 7 }).await, Isolated::Ended(7));
        assert!(matches!(
            isolated_threads.run(LONG, async { panic!("no") }).await,
            Isolated::<()>::Panicked(_)
        ));
        assert_eq!(isolated_threads.run(TIME, std::future::pending::<()>()).await, Isolated::TooLong);
        assert_eq!(isolated_threads.idle.0.lock().len(), 1, "one thread served them all");
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        assert_eq!(
            isolated_threads.run(TIME, async move { held.recv().is_ok() }).await,
            Isolated::NeverYields
        );
        assert_eq!(isolated_threads.idle.0.lock().len(), 0, "nobody gets a thread that is held");
        let mut stuck = isolated_threads.table.stuck_threads();
        let counted = tokio::time::timeout(LONG, stuck.wait_for(|stuck| stuck.threads == 1)).await;
        counted.expect("waited for the thread to count as stuck").unwrap();
        assert_eq!(isolated_threads.run(LONG, async { 8 }).await, Isolated::Ended(8));
        let_go.send(()).expect("its thread still waits");
        let back = tokio::time::timeout(LONG, stuck.wait_for(|stuck| stuck.threads == 0)).await;
        back.expect("waited for the thread to count no more").unwrap();
    }
}
