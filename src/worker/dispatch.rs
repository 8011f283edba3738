//! Takes one delivery to the runner of its slot, and to that runner's successor if it is lost.

use std::sync::Arc;

use actix::MailboxError;
use tracing::Span;

use super::attempt::{EndLost, Loss, RunJob, attempt_span};
use super::runner_place::Post;
use super::slots::Slot;
use crate::queue::{Delivery, Disposition, Settlement};

/// What a runner is asked to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dispatch {
    /// Run the job.
    Run,
    /// End the job, because it lost its last runner.
    End {
        /// How it was lost.
        loss: Loss,
        /// Whether its kind and callbacks must still be called.
        tell: bool,
    },
}

impl Dispatch {
    /// The dispatch to the next runner after a lost thread; `None`: the job goes back to its queue.
    fn after_thread(self, blamed: bool) -> Option<Self> {
        match (self, blamed) {
            (Self::Run, false) => None,
            (Self::Run, true) => Some(Self::End { loss: Loss::Thread, tell: true }),
            (Self::End { .. }, false) => Some(self),
            // The code called for its failure blocked the thread, so it is not called again.
            (Self::End { loss, .. }, true) => Some(Self::End { loss, tell: false }),
        }
    }

    /// The dispatch after the runner failed; `None`: this job makes every runner fail.
    fn after_break(self) -> Option<Self> {
        match self {
            Self::Run => Some(Self::End { loss: Loss::Runner, tell: true }),
            Self::End { loss, tell: true } => Some(Self::End { loss, tell: false }),
            Self::End { tell: false, .. } => None,
        }
    }
}

/// Runs a delivery to its end, even if its runner or the runner's thread is lost.
pub(super) async fn carry_out(slot: &Slot, delivery: Arc<Delivery>) -> Settlement {
    let mut dispatch = Dispatch::Run;
    loop {
        let post = slot.post();
        let blamed = tokio::select! {
            biased;
            answer = ask(&post, dispatch, &delivery) => match answer {
                Ok(ended) => return ended,
                Err(_) if post.fence.has_fallen() => post.fence.fallen().await,
                Err(error) => {
                    tracing::warn!(%error, "the runner of a job broke");
                    let Some(next) = dispatch.after_break() else {
                        return Settlement::new(&delivery, Disposition::Rescue);
                    };
                    dispatch = next;
                    continue;
                }
            },
            blamed = post.fence.fallen() => blamed,
        };
        match dispatch.after_thread(blamed.contains(&delivery.execution)) {
            Some(next) => dispatch = next,
            None => {
                tracing::warn!("the thread of the job's runner was lost; the job goes back to its queue");
                return Settlement::given_back(&delivery);
            }
        }
    }
}

/// If the future is dropped, the message in the mailbox is void and not started.
async fn ask(post: &Post, dispatch: Dispatch, delivery: &Arc<Delivery>) -> Result<Settlement, MailboxError> {
    let shared = Arc::clone(delivery);
    match dispatch {
        Dispatch::Run => post.runner.send(RunJob { delivery: shared, span: Span::current() }).await,
        Dispatch::End { loss, tell } => {
            // A lost thread may keep the first span for ever.
            let span = attempt_span(&delivery.job);
            post.runner.send(EndLost { delivery: shared, loss, tell, span }).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Dispatch = Dispatch::End { loss: Loss::Thread, tell: true };
    const UNTOLD: Dispatch = Dispatch::End { loss: Loss::Thread, tell: false };

    #[test]
    fn only_the_job_that_held_the_thread_fails_and_it_is_told_at_most_once() {
        assert_eq!(Dispatch::Run.after_thread(false), None, "a neighbour goes back unharmed");
        assert_eq!(Dispatch::Run.after_thread(true), Some(TOLD));
        assert_eq!(
            TOLD.after_thread(false),
            Some(TOLD),
            "a neighbour of another culprit is failed all the same"
        );
        assert_eq!(TOLD.after_thread(true), Some(UNTOLD));
        assert_eq!(UNTOLD.after_thread(true), Some(UNTOLD));
    }

    #[test]
    fn a_job_whose_runners_break_is_not_run_again_and_again() {
        let broke = |tell| Dispatch::End { loss: Loss::Runner, tell };
        assert_eq!(Dispatch::Run.after_break(), Some(broke(true)));
        assert_eq!(broke(true).after_break(), Some(broke(false)));
        assert_eq!(broke(false).after_break(), None);
        assert_eq!(TOLD.after_break(), Some(UNTOLD), "it is still the thread that it lost first");
    }
}
