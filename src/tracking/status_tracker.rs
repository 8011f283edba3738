//! The only actor that changes the status of `background_jobs` rows. It also writes heartbeats and progress.
//!
//! It answers after the write. On a fault or a lost answer the sender repeats the message. A restart keeps
//! the [`Journal`]: our rows, and what is not written yet.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, ResponseActFuture, Supervised, WrapFuture};
use tokio::time::Instant;

use super::journal::{Attempt, Journal};
use super::tracker_messages::{
    AskPerson, BeginAttempt, EndedAttempt, FailUnbegun, Progressed, RequestJob, Revive, Waiting,
};
use crate::config::TrackerSettings;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::job::BackgroundJobId;
use crate::job::background::{BackgroundJob, Status};
use crate::store::{BackgroundJobs, Begun, EndAttempt, Requested, cannot_end};
use crate::supervision::Turn;

/// The actor that writes the rows.
#[derive(Clone)]
pub struct StatusTracker {
    /// The database.
    pub jobs: Arc<dyn BackgroundJobs>,
    /// Our rows and unwritten changes; survives a restart.
    pub journal: Arc<Journal>,
    /// `[tracker]`; its deadline limits each database call.
    pub settings: TrackerSettings,
    /// The deadline of calls that count a tenant's receipts.
    pub counting_deadline: Duration,
    /// Its sign of life, in each iteration of the loop that writes progress.
    pub turn: Turn,
}

impl Actor for StatusTracker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        failpoint::reach("status_tracker.started");
        ctx.spawn(self.clone().write_what_people_watch().into_actor(self));
        ctx.spawn(self.clone().keep_hearts_beating().into_actor(self));
    }
}

impl Supervised for StatusTracker {}

impl Handler<BeginAttempt> for StatusTracker {
    type Result = ResponseActFuture<Self, Result<Begun, Fault>>;

    fn handle(&mut self, BeginAttempt(begin): BeginAttempt, _: &mut Self::Context) -> Self::Result {
        failpoint::reach("status_tracker.begin");
        let tracker = self.clone();
        Box::pin(
            async move {
                let begun = tracker.counted("begin an attempt", tracker.jobs.begin_attempt(&begin)).await;
                let begun = tracker.or_waits(begun, (begin.id, 0)).await?;
                failpoint::reach("status_tracker.begun");
                if let Begun::Started(job) = &begun {
                    tracker.journal.adopt(job, Instant::now());
                }
                Ok(begun)
            }
            .into_actor(self),
        )
    }
}

impl Handler<EndedAttempt> for StatusTracker {
    type Result = ResponseActFuture<Self, Result<bool, Fault>>;

    fn handle(&mut self, ended: EndedAttempt, _: &mut Self::Context) -> Self::Result {
        failpoint::reach("status_tracker.end");
        let tracker = self.clone();
        Box::pin(
            async move {
                let EndedAttempt { id, attempt, end } = &ended;
                let ended = tracker.jobs.end_attempt(*id, *attempt, end);
                let ended = tracker.within("end an attempt", ended).await;
                let counted = tracker.or_waits(ended, (*id, *attempt)).await?;
                failpoint::reach("status_tracker.ended");
                // A row that waits for its continuation stays ours, and its heartbeat must continue.
                if *end != EndAttempt::Continuation || !counted {
                    tracker.journal.forget(*id, *attempt);
                }
                Ok(counted)
            }
            .into_actor(self),
        )
    }
}

impl Handler<Revive> for StatusTracker {
    type Result = ResponseActFuture<Self, Result<bool, Fault>>;

    fn handle(&mut self, Revive { id, attempt }: Revive, _: &mut Self::Context) -> Self::Result {
        let tracker = self.clone();
        Box::pin(
            async move {
                let revived = tracker.within("revive a row", tracker.jobs.revive(id, attempt)).await?;
                failpoint::reach("status_tracker.revived");
                if revived {
                    tracker.take_back(id, attempt).await;
                }
                Ok(revived)
            }
            .into_actor(self),
        )
    }
}

impl Handler<RequestJob> for StatusTracker {
    type Result = ResponseActFuture<Self, Result<Requested, Fault>>;

    fn handle(&mut self, RequestJob(request): RequestJob, _: &mut Self::Context) -> Self::Result {
        let tracker = self.clone();
        Box::pin(
            async move { tracker.counted("request a job", tracker.jobs.request(&request)).await }
                .into_actor(self),
        )
    }
}

impl Handler<FailUnbegun> for StatusTracker {
    type Result = ResponseActFuture<Self, Result<bool, Fault>>;

    fn handle(&mut self, FailUnbegun { id, error }: FailUnbegun, _: &mut Self::Context) -> Self::Result {
        let tracker = self.clone();
        Box::pin(
            async move {
                tracker.within("fail a row that cannot begin", tracker.jobs.fail_unbegun(id, &error)).await
            }
            .into_actor(self),
        )
    }
}

impl Handler<AskPerson> for StatusTracker {
    type Result = ResponseActFuture<Self, Result<Option<Result<BackgroundJob, Status>>, Fault>>;

    fn handle(&mut self, AskPerson(person): AskPerson, _: &mut Self::Context) -> Self::Result {
        let tracker = self.clone();
        Box::pin(
            async move {
                let answer = tracker.within("carry out a wish", tracker.jobs.person(&person)).await;
                failpoint::reach("status_tracker.wished");
                answer
            }
            .into_actor(self),
        )
    }
}

impl Handler<Progressed> for StatusTracker {
    type Result = ();

    fn handle(&mut self, told: Progressed, _: &mut Self::Context) {
        failpoint::reach("status_tracker.progressed");
        self.journal.progressed((told.id, told.attempt), told.progress, Instant::now());
    }
}

impl Handler<Waiting> for StatusTracker {
    type Result = ();

    fn handle(&mut self, told: Waiting, _: &mut Self::Context) {
        self.journal.waiting((told.id, told.attempt), told.waiting_for);
    }
}

impl StatusTracker {
    async fn within<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        answer_in(self.settings.deadline, what, answer).await
    }

    /// Runs a call that counts receipts, with the longer deadline: if cut off, it would start over each time.
    async fn counted<T>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        answer_in(self.counting_deadline, what, answer).await
    }

    /// Says why a row waits that cannot end; in the log only once, as far as the row itself says it.
    async fn or_waits<T>(&self, step: Result<T, Fault>, of: Attempt) -> Result<T, Fault> {
        let Some(fault) = step.as_ref().err().filter(|fault| cannot_end(fault)) else { return step };
        let why = fault.chain();
        let row = self.within("read a row that cannot end", self.jobs.get(of.0)).await.ok().flatten();
        if !row.and_then(|row| row.last_error).is_some_and(|told| !told.is_empty() && why.starts_with(&told))
        {
            tracing::error!(background_job = %of.0, error = why, "a row cannot end; it waits until the database lets it");
        }
        self.journal.waiting(of, Some(why));
        step
    }

    /// A heartbeat may have found the row failed and forgotten it; it is ours again.
    async fn take_back(&self, id: BackgroundJobId, attempt: u32) {
        match self.within("read a revived row", self.jobs.get(id)).await {
            Ok(Some(job)) if job.note.attempt == attempt => self.journal.adopt(&job, Instant::now()),
            Ok(_) => {}
            Err(fault) => tracing::warn!(background_job = %id, error = fault.chain(),
                "a revived row cannot be read; its heart beats with its batches only"),
        }
    }

    async fn write_what_people_watch(self) {
        loop {
            self.turn.beat();
            tokio::time::sleep(self.settings.progress_interval).await;
            let updates = self.journal.unsent();
            if updates.is_empty() {
                continue;
            }
            if let Err(fault) = self.within("write progress", self.jobs.watch(&updates)).await {
                // Changes stay in the journal, unless the row can never accept them: it must not block
                // others.
                if fault.kind() != FaultKind::Permanent {
                    self.journal.not_sent(&updates);
                }
                tracing::debug!(error = fault.chain(), "progress is not written yet");
            }
        }
    }

    async fn keep_hearts_beating(self) {
        let mut failing = false;
        loop {
            tokio::time::sleep(self.settings.heartbeat_interval).await;
            let rows = self.journal.rows();
            if rows.is_empty() {
                continue;
            }
            match self.within("beat", self.jobs.beat(&rows)).await {
                Ok(lost) => {
                    self.journal.forget_lost(&rows, &lost);
                    failing = false;
                }
                Err(fault) if !failing => {
                    failing = true;
                    tracing::warn!(error = fault.chain(), "heartbeats of background jobs are not written");
                }
                Err(_) => {}
            }
        }
    }
}
