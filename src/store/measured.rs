//! Database ports that count each call under its own name, and note which batches the database refuses: the check
//! fails as long as such a note stands. Nothing else is changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Store;
use super::background_jobs::{
    BackgroundJobs, Begin, Begun, EndAttempt, NewRequest, Person, Requested, Watched,
};
use super::batch_refusals::BatchRefusals;
use super::certificates::Certificates;
use super::described::{
    BeginDescribed, BegunDescribed, CoveredRows, DescribedDeletions, DescribedOrder, DescribedOutcome,
    DescribedRow, EndDescribed, ExaminedDeletion, FittedDeletion,
};
use super::ended_sessions::{EndedSession, EndedSessions};
use super::outbox::{CleanupOutbox, Condemned, OutboxRow, OutboxSummary, StillThere};
use super::plan::DeletionPlan;
use super::receipts::{BatchOrder, BatchOutcome, Receipts, SetAside};
use crate::blob::BlobTarget;
use crate::certificate::{Issuer, Sealed};
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, Backoff, BusinessId, DescribedDeletion, JobId};
use crate::measure::BackendCalls;

/// A port with its counters.
struct Measured<P: ?Sized> {
    port: Arc<P>,
    calls: BackendCalls,
    /// The batches that the database refused; all ports of one database share them.
    refusals: Arc<BatchRefusals>,
}

/// Wraps the ports so that calls are counted for this engine.
pub(super) fn measured(store: Store, engine: &'static str) -> Store {
    let calls = BackendCalls::to("database", engine);
    let refusals = Arc::new(BatchRefusals::default());
    Store {
        background_jobs: Measured::around(store.background_jobs, calls, &refusals),
        receipts: Measured::around(store.receipts, calls, &refusals),
        described: Measured::around(store.described, calls, &refusals),
        outbox: Measured::around(store.outbox, calls, &refusals),
        certificates: Measured::around(store.certificates, calls, &refusals),
        ended_sessions: Measured::around(store.ended_sessions, calls, &refusals),
    }
}

impl<P: ?Sized> Measured<P> {
    fn around(port: Arc<P>, calls: BackendCalls, refusals: &Arc<BatchRefusals>) -> Arc<Self> {
        Arc::new(Self { port, calls, refusals: Arc::clone(refusals) })
    }

    async fn counted<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.calls.timed(name, call).await
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
    ($port:ident { $($how:ident $call:ident($($name:ident: $type:ty),*) -> $answer:ty;)* } $($other:tt)*) => {
        #[async_trait]
        impl $port for Measured<dyn $port> {
            $(async fn $call(&self, $($name: $type),*) -> Result<$answer, Fault> {
                self.$how(stringify!($call), self.port.$call($($name),*)).await
            })*
            $($other)*
        }
    };
}

count! {
    BackgroundJobs {
        counted request(request: &NewRequest) -> Requested;
        counted fail_unbegun(id: BackgroundJobId, error: &str) -> bool;
        counted get(id: BackgroundJobId) -> Option<BackgroundJob>;
        counted latest(business_id: BusinessId, job_type: &str) -> Option<BackgroundJob>;
        counted active(job_type: &str, max: u32) -> Vec<BackgroundJob>;
        counted newest(job_type: &str, max: u32) -> Vec<BackgroundJob>;
        counted begin_attempt(begin: &Begin) -> Begun;
        counted look(id: BackgroundJobId) -> ();
        counted end_attempt(id: BackgroundJobId, attempt: u32, end: &EndAttempt) -> bool;
        counted person(person: &Person) -> Option<Result<BackgroundJob, Status>>;
        counted revive(id: BackgroundJobId, attempt: u32) -> bool;
        counted beat(rows: &[(BackgroundJobId, u32)]) -> Vec<BackgroundJobId>;
        counted watch(updates: &[Watched]) -> ();
        counted carried_by(id: BackgroundJobId, queue_job: &JobId) -> ();
        counted now() -> DateTime<Utc>;
        check check() -> ();
    }
}

count! {
    Receipts {
        counted count_live(business_id: BusinessId) -> i64;
        counted set_aside(job: BackgroundJobId, max: u32) -> Vec<SetAside>;
        counted hindrances() -> Vec<String>;
        counted may_be_hidden() -> bool;
        counted newest_keys(max: u32) -> Vec<String>;
        counted plan(business_id: BusinessId, target: &BlobTarget) -> DeletionPlan;
    }

    // The largest write. Where one is committed, the others succeed as well; one that found nothing to do proves nothing.
    async fn delete_batch(&self, order: &BatchOrder) -> Result<BatchOutcome, Fault> {
        let answer = self.calls.timed("delete_batch", self.port.delete_batch(order)).await;
        match &answer {
            Ok(BatchOutcome::Deleted(_)) => self.refusals.forget(),
            Ok(BatchOutcome::Empty | BatchOutcome::NotOurs(_)) => {}
            Err(fault) => self.refusals.failed(order.job, fault, Instant::now()),
        }
        answer
    }

    fn leave_off(&self, job: BackgroundJobId) {
        self.refusals.left_off(job);
    }
}

count! {
    DescribedDeletions {
        counted examine(all: &[DescribedDeletion]) -> Vec<ExaminedDeletion>;
        counted begin(begin: &BeginDescribed) -> BegunDescribed;
        counted count(deletion: &FittedDeletion, row: &DescribedRow) -> CoveredRows;
        counted delete(order: &DescribedOrder) -> DescribedOutcome;
        counted beat(id: i64, attempt: u32) -> Option<DescribedRow>;
        counted end(id: i64, attempt: u32, end: &EndDescribed) -> bool;
        counted fail(queue_job: &JobId, error: &str) -> ();
        counted note(id: i64, total: Option<i64>, kept: Option<i64>) -> ();
        counted first_set_aside(id: i64) -> Option<(String, String)>;
    }
}

count! {
    CleanupOutbox {
        counted claim(target: &BlobTarget, job: Option<BackgroundJobId>, max: u32, hold: Duration) -> Vec<Condemned>;
        counted hasten(longest: Duration) -> usize;
        counted confirm(ids: &[i64]) -> ();
        counted postpone(failed: &[StillThere], backoff: &Backoff) -> ();
        counted summary(business_id: Option<BusinessId>) -> OutboxSummary;
        counted list(max: u32) -> Vec<OutboxRow>;
        counted park(ids: &[i64]) -> Vec<i64>;
        counted unpark(ids: Option<&[i64]>) -> Vec<i64>;
    }
}

count! {
    Certificates {
        counted due(max: u32) -> Vec<BackgroundJobId>;
        counted issue(id: BackgroundJobId, issuer: &Issuer) -> Option<Sealed>;
        counted newest_of(id: BackgroundJobId) -> Option<Sealed>;
        counted chain(after: u64, max: u32) -> Vec<Sealed>;
    }
}

count! {
    EndedSessions {
        counted end_session(session: &EndedSession, now: DateTime<Utc>) -> ();
        counted ended(now: DateTime<Utc>, max: u32) -> Vec<EndedSession>;
    }
}
