//! Runs one job at a time and returns how it ended. No state is kept across restarts: if the runner itself
//! fails, its job is treated as one whose process died.

use std::sync::Arc;
use std::time::Duration;

use actix::ActorFutureExt as _;
use actix::{Actor, Context, Handler, ResponseActFuture, Supervised, WrapFuture};
use tracing::{Instrument as _, Span};

use super::attempt::{
    Attempt, AttemptControl, EndLost, Fence, Found, InHand, NotFound, RunJob, Running, StopForDrain, look_up,
    run_foreign,
};
use crate::failpoint;
use crate::job::{Limit, Registry, StopReason};
use crate::queue::{Delivery, Settlement};

/// The actor that runs jobs.
pub struct JobRunner {
    /// The registered kinds of jobs.
    registry: Arc<Registry>,
    /// How long a job that was asked to stop may take.
    grace: Duration,
    /// The current attempt.
    current: Option<Arc<AttemptControl>>,
    /// The list of running jobs.
    running: Running,
    /// Set for good by [`StopForDrain`].
    draining: bool,
    /// Falls when the thread is given up.
    fence: Fence,
}

impl JobRunner {
    /// A runner for the kinds of `registry`; a job that was asked to stop has `grace` to end.
    #[must_use]
    pub fn new(registry: Arc<Registry>, grace: Duration, running: Running) -> Self {
        Self { registry, grace, current: None, running, draining: false, fence: Fence::default() }
    }

    /// Sets the fence of its thread.
    #[must_use]
    pub fn behind(mut self, fence: Fence) -> Self {
        self.fence = fence;
        self
    }

    /// Creates the attempt and adds it to the list.
    fn take(&mut self, delivery: Arc<Delivery>) -> (Attempt, Result<Found, NotFound>, InHand) {
        let (found, settings) = look_up(&self.registry, &delivery.job);
        let limit = match &found {
            // That program keeps the time itself.
            Err(NotFound::Foreign(_)) => Limit::Never,
            _ => delivery.job.time_limit(&settings),
        };
        let control = Arc::new(AttemptControl::new(limit));
        if self.draining {
            control.request_stop(StopReason::Draining);
        }
        self.current = Some(Arc::clone(&control));
        let in_hand = self.running.take_in_hand(&delivery, &control, &self.fence);
        let (grace, fence) = (self.grace, self.fence.clone());
        let registry = Arc::clone(&self.registry);
        (Attempt { delivery, settings, control, grace, fence, registry }, found, in_hand)
    }

    /// Returns the end of an attempt.
    fn answer(
        &self,
        ended: impl Future<Output = Settlement> + 'static,
        span: Span,
    ) -> ResponseActFuture<Self, Settlement> {
        Box::pin(ended.instrument(span).into_actor(self).map(|ended, runner, _| {
            runner.current = None;
            ended
        }))
    }
}

impl Actor for JobRunner {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        failpoint::reach("job_runner.started");
    }
}

impl Supervised for JobRunner {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.current = None;
    }
}

impl Handler<RunJob> for JobRunner {
    type Result = ResponseActFuture<Self, Settlement>;

    fn handle(&mut self, RunJob { delivery, span }: RunJob, _: &mut Self::Context) -> Self::Result {
        let (attempt, found, in_hand) = self.take(delivery);
        failpoint::reach("job_runner.run");
        let ended = async move {
            let _in_hand = in_hand;
            let settlement = async {
                match found {
                    Err(NotFound::Foreign(jobs)) => run_foreign(&attempt, &*jobs).await,
                    found => attempt.run(found).await,
                }
            };
            attempt.in_turns(settlement).await
        };
        self.answer(ended, span)
    }
}

impl Handler<EndLost> for JobRunner {
    type Result = ResponseActFuture<Self, Settlement>;

    fn handle(
        &mut self,
        EndLost { delivery, loss, tell, span }: EndLost,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (attempt, found, in_hand) = self.take(delivery);
        attempt.control.request_stop(StopReason::TimedOut);
        let ended = async move {
            let _in_hand = in_hand;
            attempt.in_turns(attempt.end_lost(found, loss, tell)).await
        };
        self.answer(ended, span)
    }
}

impl Handler<StopForDrain> for JobRunner {
    type Result = ();

    fn handle(&mut self, _: StopForDrain, _: &mut Self::Context) {
        self.draining = true;
        if let Some(control) = &self.current {
            control.request_stop(StopReason::Draining);
        }
    }
}
