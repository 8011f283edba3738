//! Runs calls that may hang for ever, as on a network disk whose server is gone, on threads of their own.
//!
//! Not on tokio's threads: their number is limited for the whole process, and a process that leaves waits for them.

use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use crate::fault::{Fault, FaultKind};

/// The most calls at a time. While so many hang, further ones wait without a thread.
const AT_A_TIME: usize = 16;

/// The threads of one store.
pub(super) struct OwnThreads(Arc<Semaphore>);

impl OwnThreads {
    /// No thread yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }

    /// Runs a call on a thread. If this is dropped, a call that has begun goes on, and one that waits never begins.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let failed =
            |what: &str| Fault::new(FaultKind::Retryable, format!("the thread of a file operation {what}"));
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(|error| failed("has no turn").because(error))?;
        let (tell, told) = oneshot::channel();
        let work = move || {
            let answer = call();
            drop(turn);
            // Nobody may wait for it any more.
            let _ = tell.send(answer);
        };
        let begun = thread::Builder::new().name("attachments".to_owned()).spawn(work);
        begun.map_err(|error| failed("cannot begin").because(error))?;
        told.await.unwrap_or_else(|error| Err(failed("ended early").because(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_that_hang_take_few_threads_and_hold_up_no_process_that_leaves() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let (end, until) = mpsc::channel::<()>();
        let until = Arc::new(parking_lot::Mutex::new(until));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let threads = OwnThreads::new();
        let hang = || {
            let until = Arc::clone(&until);
            threads.run(move || {
                BEGUN.fetch_add(1, Ordering::SeqCst);
                let _ = until.lock().recv();
                Ok(())
            })
        };
        runtime.block_on(async {
            let calls = futures::future::join_all((0..AT_A_TIME * 2).map(|_| hang()));
            tokio::time::timeout(Duration::from_millis(50), calls).await.unwrap_err();
        });
        // It would wait here for tokio's own threads.
        drop(runtime);
        drop(end);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(threads.run(|| Ok(7))).unwrap(), 7, "those that hung have ended");
        assert!(BEGUN.load(Ordering::SeqCst) <= AT_A_TIME);
    }

    #[tokio::test]
    async fn a_panic_is_a_fault() {
        let fault = OwnThreads::new().run(|| -> Result<(), Fault> { panic!("broken") }).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Retryable);
    }
}
