//! Deletes a tenant's receipts, one batch at a time; their objects are deleted while the next batch runs.
//!
//! No state is kept across restarts: the position is in the row's cursor, and objects still to be deleted are
//! in the outbox, including those in the lane.

use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, SpawnHandle,
    Supervised, WrapFuture,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::batch_ports::{BatchDone, BatchPorts, CleanUpMode};
use super::clean_up::{CleanedUp, delete_in_one_call, give_back};
use super::clean_up_lane::{CleanUpLane, Next};
use crate::failpoint;
use crate::fault::Fault;
use crate::job::BackgroundJobId;
use crate::store::{BatchOrder, Condemned, Pass, StillThere};
use crate::user_log::USER_LOG;

/// How long a batch waits for the storage to keep up. After that the storage counts as unreachable: batches
/// go on, and the outbox keeps the objects.
const ROOM: Duration = Duration::from_secs(5);

/// The actor that runs batches, one for each running deletion.
pub struct DeletionBatch {
    ports: BatchPorts,
    job: BackgroundJobId,
    attempt: u32,
    /// The span of the attempt.
    span: Span,
    lane: CleanUpLane,
    /// Publishes the lane's state to those who wait for it.
    state: watch::Sender<LaneState>,
    /// The timer for objects that have waited long enough.
    alarm: Option<SpawnHandle>,
}

#[derive(Clone, Copy, Debug)]
struct LaneState {
    has_room: bool,
    is_empty: bool,
}

/// Runs the next batch.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<BatchDone, Fault>")]
pub struct RunBatch {
    /// The pass.
    pub pass: Pass,
    /// The most receipts.
    pub limit: u32,
}

/// Deletes the objects of all batches so far. It answers when each is deleted or back in the outbox with its
/// error, or when the storage's time is over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct FinishCleanUp;

impl DeletionBatch {
    /// An actor for one attempt at one row.
    #[must_use]
    pub fn new(ports: BatchPorts, job: BackgroundJobId, attempt: u32) -> Self {
        let lane = CleanUpLane::new(ports.clean_up == CleanUpMode::Gathered);
        let (state, _) = watch::channel(LaneState { has_room: true, is_empty: true });
        Self { ports, job, attempt, span: Span::none(), lane, state, alarm: None }
    }

    /// Sets the span for its log lines.
    #[must_use]
    pub fn within(mut self, span: Span) -> Self {
        self.span = span;
        self
    }
}

impl Actor for DeletionBatch {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        failpoint::reach("deletion_batch.started");
    }
}

impl Supervised for DeletionBatch {
    /// Running calls were cancelled, so the lane is empty.
    fn restarting(&mut self, _: &mut Self::Context) {
        self.lane = CleanUpLane::new(self.ports.clean_up == CleanUpMode::Gathered);
        self.alarm = None;
        self.tell();
    }
}

impl Handler<RunBatch> for DeletionBatch {
    type Result = ResponseActFuture<Self, Result<BatchDone, Fault>>;

    fn handle(&mut self, RunBatch { pass, limit }: RunBatch, _: &mut Self::Context) -> Self::Result {
        failpoint::reach("deletion_batch.run");
        let order = BatchOrder {
            job: self.job,
            attempt: self.attempt,
            limit,
            pass,
            target: self.ports.blobs.target().clone(),
        };
        let ports = self.ports.clone();
        let span = tracing::info_span!(parent: &self.span, "batch", limit = i64::from(limit));
        let room = self.when(ROOM, |state| state.has_room).into_actor(self);
        let batch = room.then(move |has_room, this, ctx| {
            if !has_room {
                this.lane.out_of_reach("the storage does not keep up".to_owned(), Instant::now());
                this.advance(ctx);
            }
            async move { ports.run(&order).await }.instrument(span).into_actor(this)
        });
        Box::pin(batch.map(|mut done, this, ctx| {
            if let Ok(BatchDone::Deleted { batch, .. }) = &mut done {
                this.take_in(std::mem::take(&mut batch.condemned), ctx);
            }
            done
        }))
    }
}

impl Handler<FinishCleanUp> for DeletionBatch {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: FinishCleanUp, ctx: &mut Self::Context) -> Self::Result {
        self.lane.hurry();
        self.advance(ctx);
        let job = self.job;
        let finished = self.when(self.ports.storage_deadline, |state| state.is_empty);
        let finished = async move {
            if !finished.await {
                tracing::warn!(background_job = %job, "the storage takes too long; the outbox keeps its objects");
            }
        };
        Box::pin(finished.instrument(self.span.clone()).into_actor(self))
    }
}

impl DeletionBatch {
    /// Adds the objects of a committed batch. They are in the outbox already, from where the Rescuer tries
    /// again if this fails.
    fn take_in(&mut self, condemned: Vec<Condemned>, ctx: &mut Context<Self>) {
        if self.ports.clean_up != CleanUpMode::Off {
            self.lane.take_in(condemned, Instant::now());
            self.advance(ctx);
        } else if !condemned.is_empty() {
            let _attempt = self.span.enter();
            let stay = condemned.len();
            tracing::info!(
                target: USER_LOG, { job.id = %self.job, stay },
                "→ [RECEIPTS_DELETE] R2 cleanup: off, {stay} objects stay in the outbox"
            );
        }
    }

    /// Starts everything that the lane allows now.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        let wake = loop {
            match self.lane.next(self.ports.blobs.max_keys(), Instant::now()) {
                Next::Call(objects) => self.call(objects, ctx),
                Next::GiveBack(objects, error) => self.give_back(objects, error, ctx),
                Next::Wait(wake) => break wake,
            }
        };
        if let Some(wake) = wake.filter(|_| self.alarm.is_none()) {
            let delay = wake.saturating_duration_since(Instant::now());
            self.alarm = Some(ctx.run_later(delay, |this, ctx| {
                this.alarm = None;
                this.advance(ctx);
            }));
        }
        self.tell();
    }

    fn call(&self, objects: Vec<Condemned>, ctx: &mut Context<Self>) {
        let (ports, job) = (self.ports.clone(), self.job);
        let count = i64::try_from(objects.len()).unwrap_or(i64::MAX);
        let span = tracing::info_span!(parent: &self.span, "clean_up", objects = count);
        let called = async move {
            let limits = ports.limits();
            let called = delete_in_one_call(&*ports.blobs, &*ports.outbox, &objects, &limits).await;
            let refused = match called {
                Ok(called) => {
                    log_clean_up(job, called.cleaned);
                    called.refused.map(|fault| fault.chain())
                }
                Err(fault) => {
                    log_outbox(job, &fault);
                    None
                }
            };
            (objects.len(), refused)
        };
        ctx.spawn(called.instrument(span).into_actor(self).map(|(objects, refused), this, ctx| {
            this.lane.ended(objects, refused, Instant::now());
            this.advance(ctx);
        }));
    }

    fn give_back(&self, objects: Vec<Condemned>, error: String, ctx: &mut Context<Self>) {
        let (ports, job) = (self.ports.clone(), self.job);
        let given_back = async move {
            // An outage says nothing about single objects.
            let kept =
                |object: &Condemned| StillThere { id: object.id, error: error.clone(), refused: false };
            let left: Vec<_> = objects.iter().map(kept).collect();
            match give_back(&*ports.outbox, &left, &ports.limits()).await {
                Ok(()) => {
                    let failed = u32::try_from(left.len()).unwrap_or(u32::MAX);
                    log_clean_up(job, CleanedUp { deleted: 0, failed });
                }
                Err(fault) => log_outbox(job, &fault),
            }
            left.len()
        };
        ctx.spawn(given_back.instrument(self.span.clone()).into_actor(self).map(|objects, this, ctx| {
            this.lane.given_back(objects);
            this.advance(ctx);
        }));
    }

    fn tell(&self) {
        let state = LaneState { has_room: self.lane.has_room(), is_empty: self.lane.is_empty() };
        self.state.send_replace(state);
    }

    /// Waits until the lane's state matches; `false` after the time limit.
    fn when(
        &self,
        within: Duration,
        is_so: impl FnMut(&LaneState) -> bool + 'static,
    ) -> impl Future<Output = bool> + 'static {
        let mut state = self.state.subscribe();
        async move {
            let waited = tokio::time::timeout(within, state.wait_for(is_so)).await;
            // The sender belongs to this actor; if it ends, this wait ends too.
            waited.is_ok()
        }
    }
}

fn log_clean_up(job: BackgroundJobId, CleanedUp { deleted, failed }: CleanedUp) {
    tracing::info!(
        target: USER_LOG, { job.id = %job, deleted, failed },
        "→ [RECEIPTS_DELETE] R2 cleanup: {deleted} deleted, {failed} failed"
    );
}

fn log_outbox(job: BackgroundJobId, fault: &Fault) {
    tracing::warn!(background_job = %job, error = fault.chain(),
        "the clean-up outbox cannot be brought up to date; its objects are tried again later");
}
