//! Takes one delivery to the runner of its slot, and to that runner's successor when it is lost.

use std::sync::Arc;

use actix::MailboxError;
use tracing::Span;

use super::attempt::{EndLost, Loss, RunJob, attempt_span};
use super::runner_place::Post;
use super::slots::Slot;
use crate::queue::{Delivery, Disposition, Settlement};

/// What a runner is asked to do with the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dispatch {
    /// Run the job.
    Run,
    /// It lost the last runner: end it.
    End {
        /// How.
        loss: Loss,
        /// Whether its kind and its enqueuer still have to be called.
        tell: bool,
    },
}

impl Dispatch {
    /// The dispatch to the next runner after a thread was lost; none: the job goes back unharmed.
    fn after_thread(self, blamed: bool) -> Option<Self> {
        match (self, blamed) {
            (Self::Run, false) => None,
            (Self::Run, true) => Some(Self::End { loss: Loss::Thread, tell: true }),
            (Self::End { .. }, false) => Some(self),
            // What was called for its failure held the thread: it is not called again.
            (Self::End { loss, .. }, true) => Some(Self::End { loss, tell: false }),
        }
    }

    /// The dispatch to the runner after it broke; none: this job breaks each of them.
    fn after_break(self) -> Option<Self> {
        match self {
            Self::Run => Some(Self::End { loss: Loss::Runner, tell: true }),
            Self::End { loss, tell: true } => Some(Self::End { loss, tell: false }),
            Self::End { tell: false, .. } => None,
        }
    }
}

/// Carries a delivery to its end, through the loss of its runner or of the runner's thread.
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

/// A question dropped unanswered is void: what still waits in the mailbox is not begun.
async fn ask(post: &Post, dispatch: Dispatch, delivery: &Arc<Delivery>) -> Result<Settlement, MailboxError> {
    let shared = Arc::clone(delivery);
    match dispatch {
        Dispatch::Run => post.runner.send(RunJob { delivery: shared, span: Span::current() }).await,
        Dispatch::End { loss, tell } => {
            // A lost thread may hold the first span for ever.
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
