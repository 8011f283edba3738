//! A loop without messages, supervised like an actor.

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, Supervised, WrapFuture as _,
};

/// Runs the function's future. Each restart calls the function again, so what it holds survives.
pub(super) struct Loop<F>(pub(super) F);

impl<F, L> Actor for Loop<F>
where
    F: Fn() -> L + Unpin + 'static,
    L: Future<Output = ()> + 'static,
{
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let ended = (self.0)().into_actor(self).map(|(), _, ctx: &mut Self::Context| ctx.stop());
        ctx.spawn(ended);
    }
}

impl<F, L> Supervised for Loop<F>
where
    F: Fn() -> L + Unpin + 'static,
    L: Future<Output = ()> + 'static,
{
}
