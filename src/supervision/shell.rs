//! An actor's context that catches all panics of the actor, even those of its destructor.

use std::task::{Context, Poll};

use actix::dev::ContextFut;
use actix::dev::channel::AddressReceiver;
use actix::fut::wrap_future;
use actix::{Actor, ActorContext, AsyncContext, Supervised};

use super::panic::{Panic, catch};

/// The distance between the handle numbers of two lives. A cancellation that was interrupted by a panic stays
/// in the context and would cancel the future with the same number in the next life, possibly the timer set
/// in `started`.
const LIVES_APART: usize = 1_000;

/// A supervised actor with its mailbox.
pub(super) struct Shell<A: Actor<Context = actix::Context<A>>> {
    context: Option<ContextFut<A, actix::Context<A>>>,
    /// Polled since it was built or restarted, and not ended.
    alive: bool,
    /// Whether this life's handles begin at `LIVES_APART` instead of zero; this alternates.
    apart: bool,
}

impl<A: Supervised + Actor<Context = actix::Context<A>>> Shell<A> {
    /// Builds the actor with its mailbox; the mailbox closes if `make` panics.
    pub(super) fn new(mailbox: AddressReceiver<A>, make: impl FnOnce() -> A) -> Result<Self, Panic> {
        let context = catch(|| actix::Context::with_receiver(mailbox).into_future(make()))?;
        Ok(Self { context: Some(context), alive: false, apart: false })
    }

    /// Polls the actor once; ready when it stopped by itself or panicked.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Panic>> {
        let Some(context) = &mut self.context else { return Poll::Ready(Ok(())) };
        self.alive = true;
        let turn = match catch(|| std::pin::Pin::new(context).poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        };
        self.alive = turn.is_pending();
        turn
    }

    /// Cancels the actor's futures and prepares it for another life at the same address.
    pub(super) fn restart(&mut self) -> Result<(), Panic> {
        self.alive = false;
        let Some(context) = &mut self.context else { return Ok(()) };
        // It refuses only if there is no address, and the minder holds one.
        catch(|| context.restart())?;
        self.apart = !self.apart;
        for _ in 0..if self.apart { LIVES_APART } else { 0 } {
            self.spawn(async {});
        }
        Ok(())
    }

    /// Runs `future` in the actor's context; it is not polled while the actor waits in `ctx.wait`.
    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        if let Some(context) = &mut self.context {
            context.ctx().spawn(wrap_future::<_, A>(future));
        }
    }

    /// Whether the actor must be asked to stop; one that was not polled yet, or has ended, need not.
    pub(super) fn is_alive(&self) -> bool {
        self.alive
    }

    /// Asks the actor to stop; in `stopping` it may refuse or take its time.
    pub(super) fn ask_to_stop(&mut self) {
        if let Some(context) = &mut self.context {
            context.ctx().stop();
        }
    }

    /// Stops waiting for an actor that does not stop.
    pub(super) fn give_up(&mut self) {
        self.alive = false;
    }

    /// Drops the actor and its mailbox without another poll; messages in the mailbox get `Closed`.
    pub(super) fn discard(&mut self) -> Result<(), Panic> {
        self.alive = false;
        let Some(mut context) = self.context.take() else { return Ok(()) };
        context.ctx().terminate();
        catch(move || drop(context))
    }
}

impl<A: Actor<Context = actix::Context<A>>> Drop for Shell<A> {
    /// If the thread ends before its actors: stops a running actor as actix does, drops any other.
    fn drop(&mut self) {
        let mut context = self.context.take();
        if let Some(idle) = context.as_mut().filter(|_| !self.alive) {
            idle.ctx().terminate();
        }
        if let Err(panic) = catch(move || drop(context)) {
            tracing::error!(%panic, "an actor panicked while it was dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix::dev::channel::channel;
    use actix::{Addr, Handler, Message, SpawnHandle};

    use super::*;

    /// Sets a timer when it starts.
    struct Clock {
        tick: SpawnHandle,
        ticking: Arc<()>,
    }

    impl Actor for Clock {
        type Context = actix::Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            let ticking = Arc::clone(&self.ticking);
            let tick = async move {
                let _ticking = ticking;
                std::future::pending().await
            };
            self.tick = ctx.spawn(wrap_future::<_, Self>(tick));
        }
    }

    impl Supervised for Clock {}

    #[derive(Message)]
    #[rtype(result = "()")]
    struct CancelAndBoom;

    impl Handler<CancelAndBoom> for Clock {
        type Result = ();

        fn handle(&mut self, _: CancelAndBoom, ctx: &mut Self::Context) {
            ctx.cancel_future(self.tick);
            panic!("boom");
        }
    }

    #[actix_rt::test]
    async fn cancellation_overtaken_by_a_panic_does_not_cancel_in_the_next_life() {
        let (sender, mailbox) = channel(4);
        let (address, ticking) = (Addr::new(sender), Arc::new(()));
        let clock = Clock { tick: SpawnHandle::default(), ticking: Arc::clone(&ticking) };
        let mut shell = Shell::new(mailbox, || clock).unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for life in 0..5 {
            assert!(shell.poll(&mut cx).is_pending());
            assert_eq!(Arc::strong_count(&ticking), 3, "the tick of life {life} is alive");
            address.try_send(CancelAndBoom).unwrap();
            assert!(matches!(shell.poll(&mut cx), Poll::Ready(Err(_))));
            shell.restart().unwrap();
        }
    }
}
