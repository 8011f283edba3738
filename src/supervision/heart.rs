//! Asks an actor, at regular times, for a sign that it still takes turns.
//!
//! The question is a future among the actor's own, not a message: no actor has to know it, a full mailbox
//! does not delay it, and an actor that waits for ever in `ctx.wait` cannot answer it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A heart asks once per deadline.
pub(super) struct Heart {
    deadline: Duration,
    next: Pin<Box<Sleep>>,
    /// The latest question; false until it is answered.
    answered: Option<Rc<Cell<bool>>>,
}

/// What a beat of the heart asks for.
pub(super) enum Beat {
    /// Set this within the actor's turn.
    Ask(Rc<Cell<bool>>),
    /// The latest question was not answered in time.
    Missed(Duration),
}

impl Heart {
    /// A heart that first asks after one `deadline`.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, next: Box::pin(sleep(deadline)), answered: None }
    }

    /// Forgets what was asked: another life begins.
    pub(super) fn reset(&mut self) {
        self.answered = None;
        self.next.as_mut().reset(Instant::now() + self.deadline);
    }

    /// Ready when it is time for a question, or too late for an answer. Ask it after the actor's turn, so
    /// that a thread that was held up elsewhere is not taken for an actor that hangs.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        if self.next.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if self.answered.as_ref().is_some_and(|answered| !answered.get()) {
            return Poll::Ready(Beat::Missed(self.deadline));
        }
        let question = Rc::new(Cell::new(false));
        self.answered = Some(Rc::clone(&question));
        self.next.as_mut().reset(Instant::now() + self.deadline);
        Poll::Ready(Beat::Ask(question))
    }
}
