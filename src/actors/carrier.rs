//! Takes one delivery to the runner of its slot, and to that runner's successor when the thread is lost.

use tracing::Span;

use super::attempt_span::attempt_span;
use super::job_runner::{FailStuck, JobEnded, RunJob};
use super::{Post, Slot};
use crate::queue::Delivery;

/// What a runner is asked to do with the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// Run the job.
    Run,
    /// Its code held the last thread: fail it.
    Fail {
        /// Its kind and its enqueuer still have to hear of it.
        tell: bool,
    },
}

impl Errand {
    /// The errand to the next runner after a thread was lost; none: the job goes back unharmed.
    fn after_loss(self, blamed: bool) -> Option<Self> {
        match (self, blamed) {
            (Self::Run, false) => None,
            (Self::Run, true) => Some(Self::Fail { tell: true }),
            (Self::Fail { tell }, false) => Some(Self::Fail { tell }),
            // What was called for its failure held the thread: they have heard enough.
            (Self::Fail { .. }, true) => Some(Self::Fail { tell: false }),
        }
    }
}

/// Carries a delivery to its end, through the loss of its runner or of the runner's thread.
pub(super) async fn carry_out(slot: &Slot, delivery: Delivery) -> JobEnded {
    let mut errand = Errand::Run;
    loop {
        let post = slot.post();
        let blamed = tokio::select! {
            biased;
            ended = ask(&post, errand, &delivery) => return ended,
            blamed = post.fence.fallen() => blamed.contains(&delivery.execution),
        };
        match errand.after_loss(blamed) {
            Some(next) => errand = next,
            None => {
                tracing::warn!("the thread of the job's runner was lost; the job goes back to its queue");
                return JobEnded::given_back(&delivery);
            }
        }
    }
}

/// A question dropped unanswered is void: what still waits in the mailbox is not begun.
async fn ask(post: &Post, errand: Errand, delivery: &Delivery) -> JobEnded {
    let boxed = Box::new(delivery.clone());
    let ended = match errand {
        Errand::Run => post.runner.send(RunJob { delivery: boxed, span: Span::current() }).await,
        Errand::Fail { tell } => {
            // The lost thread may hold the first span for ever.
            let span = attempt_span(&delivery.job);
            post.runner.send(FailStuck { delivery: boxed, tell, span }).await
        }
    };
    ended.unwrap_or_else(|error| {
        tracing::warn!(%error, "the runner was lost; the job goes back to its queue");
        JobEnded::given_back(delivery)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_job_that_held_the_thread_fails_and_it_is_told_at_most_once() {
        let (told, untold) = (Errand::Fail { tell: true }, Errand::Fail { tell: false });
        assert_eq!(Errand::Run.after_loss(false), None, "a neighbour goes back unharmed");
        assert_eq!(Errand::Run.after_loss(true), Some(told));
        assert_eq!(
            told.after_loss(false),
            Some(told),
            "a neighbour of another culprit is failed all the same"
        );
        assert_eq!(told.after_loss(true), Some(untold));
        assert_eq!(untold.after_loss(true), Some(untold));
    }
}
