//! Database ports that count each call under its own name, and note which writes the database refuses: the check
//! fails as long as such a note stands. Nothing else is changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Store;
use super::background_jobs::{
    BackgroundJobs, Begin, Begun, EndAttempt, NewRequest, Person, Requested, Watched,
};
use super::ended_sessions::{EndedSession, EndedSessions};
use super::outbox::{CleanupOutbox, Condemned, OutboxRow, OutboxSummary, StillThere};
use super::plan::DeletionPlan;
use super::receipts::{BatchOrder, BatchOutcome, Receipts, SetAside};
use super::write_refusals::WriteRefusals;
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, Backoff, BusinessId, JobId};
use crate::measure::BackendCalls;

/// A port with its counters.
struct Measured<P: ?Sized> {
    port: Arc<P>,
    calls: BackendCalls,
    /// The writes that the database refused; all ports of one database share them.
    refusals: Arc<WriteRefusals>,
}

/// Wraps the ports so that calls are counted for this engine.
pub(super) fn measured(store: Store, engine: &'static str) -> Store {
    let calls = BackendCalls::to("database", engine);
    let refusals = Arc::new(WriteRefusals::default());
    Store {
        background_jobs: Measured::around(store.background_jobs, calls, &refusals),
        receipts: Measured::around(store.receipts, calls, &refusals),
        outbox: Measured::around(store.outbox, calls, &refusals),
        ended_sessions: Measured::around(store.ended_sessions, calls, &refusals),
    }
}

impl<P: ?Sized> Measured<P> {
    fn around(port: Arc<P>, calls: BackendCalls, refusals: &Arc<WriteRefusals>) -> Arc<Self> {
        Arc::new(Self { port, calls, refusals: Arc::clone(refusals) })
    }

    /// A call that changes nothing.
    async fn read<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.calls.timed(name, call).await
    }

    /// A call that writes rows.
    async fn write<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let answer = self.calls.timed(name, call).await;
        match &answer {
            Ok(_) => self.refusals.succeeded(name),
            Err(fault) => self.refusals.failed(name, fault, Instant::now()),
        }
        answer
    }

    /// A batch: the largest write. Where one is committed, the others succeed as well; one that found nothing to do
    /// proves nothing.
    async fn batch(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<BatchOutcome, Fault>>,
    ) -> Result<BatchOutcome, Fault> {
        let answer = self.calls.timed(name, call).await;
        match &answer {
            Ok(BatchOutcome::Deleted(_)) => self.refusals.forget(),
            Ok(BatchOutcome::Empty | BatchOutcome::NotOurs(_)) => {}
            Err(fault) => self.refusals.failed(name, fault, Instant::now()),
        }
        answer
    }

    /// The test write, which may fit in where the work does not.
    async fn check(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Fault> {
        self.calls.timed(name, call).await?;
        self.refusals.standing(Instant::now()).map_or(Ok(()), Err)
    }
}

macro_rules! count {
    ($port:ident { $($how:ident $call:ident($($name:ident: $type:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $port for Measured<dyn $port> {
            $(async fn $call(&self, $($name: $type),*) -> Result<$answer, Fault> {
                self.$how(stringify!($call), self.port.$call($($name),*)).await
            })*
        }
    };
}

count! {
    BackgroundJobs {
        write request(request: &NewRequest) -> Requested;
        write fail_unqueued(id: BackgroundJobId, error: &str) -> bool;
        read get(id: BackgroundJobId) -> Option<BackgroundJob>;
        read latest(business_id: BusinessId, job_type: &str) -> Option<BackgroundJob>;
        read active(job_type: &str, max: u32) -> Vec<BackgroundJob>;
        read newest(job_type: &str, max: u32) -> Vec<BackgroundJob>;
        write begin_attempt(begin: &Begin) -> Begun;
        write look(id: BackgroundJobId) -> ();
        write end_attempt(id: BackgroundJobId, attempt: u32, end: &EndAttempt) -> bool;
        write person(person: &Person) -> Option<Result<BackgroundJob, Status>>;
        write revive(id: BackgroundJobId, attempt: u32) -> bool;
        write beat(rows: &[(BackgroundJobId, u32)]) -> Vec<BackgroundJobId>;
        write watch(updates: &[Watched]) -> ();
        write carried_by(id: BackgroundJobId, queue_job: &JobId) -> ();
        read now() -> DateTime<Utc>;
        check check() -> ();
    }
}

count! {
    Receipts {
        batch delete_batch(order: &BatchOrder) -> BatchOutcome;
        read count_live(business_id: BusinessId) -> i64;
        read set_aside(job: BackgroundJobId, max: u32) -> Vec<SetAside>;
        read hindrances() -> Vec<String>;
        read may_be_hidden() -> bool;
        read newest_keys(max: u32) -> Vec<String>;
        read plan(business_id: BusinessId, target: &BlobTarget) -> DeletionPlan;
    }
}

count! {
    CleanupOutbox {
        write claim(target: &BlobTarget, job: Option<BackgroundJobId>, max: u32, hold: Duration) -> Vec<Condemned>;
        write hasten(longest: Duration) -> usize;
        write confirm(ids: &[i64]) -> ();
        write postpone(failed: &[StillThere], backoff: &Backoff) -> ();
        read summary(business_id: Option<BusinessId>) -> OutboxSummary;
        read list(max: u32) -> Vec<OutboxRow>;
        write park(ids: &[i64]) -> Vec<i64>;
        write unpark(ids: Option<&[i64]>) -> Vec<i64>;
    }
}

count! {
    EndedSessions {
        write end_session(session: &EndedSession, now: DateTime<Utc>) -> ();
        read ended(now: DateTime<Utc>, max: u32) -> Vec<EndedSession>;
    }
}
