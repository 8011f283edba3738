//! Checks regularly that an actor is still being polled.
//!
//! The check is a future in the actor's own context, not a message: actors need no code for it, a full
//! mailbox does not delay it, and an actor that waits for ever in `ctx.wait` cannot answer it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The heartbeat of one actor, with one check per deadline.
pub(super) struct Heart {
    deadline: Duration,
    next: Pin<Box<Sleep>>,
    /// The flag of the latest check; `false` until it is answered.
    answered: Option<Rc<Cell<bool>>>,
}

/// The next step of the heartbeat.
pub(super) enum Beat {
    /// Set this flag from within the actor's context.
    Ask(Rc<Cell<bool>>),
    /// The latest check was not answered within this time.
    Missed(Duration),
}

impl Heart {
    /// A heart whose first check is after one `deadline`.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, next: Box::pin(sleep(deadline)), answered: None }
    }

    /// Forgets the pending check, for a new life.
    pub(super) fn reset(&mut self) {
        self.answered = None;
        self.next.as_mut().reset(Instant::now() + self.deadline);
    }

    /// Ready when a check is due, or when an answer is late. Poll it after the actor, so that a thread that
    /// was busy elsewhere is not taken for a hanging actor.
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
