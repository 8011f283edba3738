//! Database ports that count each call under its own name and change nothing else.

use std::sync::Arc;
use std::time::Duration;

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
use crate::blob::BlobTarget;
use crate::fault::Fault;
use crate::job::background::{BackgroundJob, Status};
use crate::job::{BackgroundJobId, Backoff, BusinessId, JobId};
use crate::measure::BackendCalls;

/// A port with its counters.
struct Measured<P: ?Sized> {
    port: Arc<P>,
    calls: BackendCalls,
}

/// Wraps the ports so that calls are counted for this engine.
pub(super) fn measured(store: Store, engine: &'static str) -> Store {
    let calls = BackendCalls::to("database", engine);
    Store {
        background_jobs: Arc::new(Measured { port: store.background_jobs, calls }),
        receipts: Arc::new(Measured { port: store.receipts, calls }),
        outbox: Arc::new(Measured { port: store.outbox, calls }),
        ended_sessions: Arc::new(Measured { port: store.ended_sessions, calls }),
    }
}

macro_rules! count {
    ($port:ident { $($call:ident($($name:ident: $type:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $port for Measured<dyn $port> {
            $(async fn $call(&self, $($name: $type),*) -> Result<$answer, Fault> {
                self.calls.timed(stringify!($call), self.port.$call($($name),*)).await
            })*
        }
    };
}

count! {
    BackgroundJobs {
        request(request: &NewRequest) -> Requested;
        fail_unqueued(id: BackgroundJobId, error: &str) -> bool;
        get(id: BackgroundJobId) -> Option<BackgroundJob>;
        latest(business_id: BusinessId, job_type: &str) -> Option<BackgroundJob>;
        active(job_type: &str, max: u32) -> Vec<BackgroundJob>;
        newest(job_type: &str, max: u32) -> Vec<BackgroundJob>;
        begin_attempt(begin: &Begin) -> Begun;
        look(id: BackgroundJobId) -> ();
        end_attempt(id: BackgroundJobId, attempt: u32, end: &EndAttempt) -> bool;
        person(person: &Person) -> Option<Result<BackgroundJob, Status>>;
        revive(id: BackgroundJobId, attempt: u32) -> bool;
        beat(rows: &[(BackgroundJobId, u32)]) -> Vec<BackgroundJobId>;
        watch(updates: &[Watched]) -> ();
        carried_by(id: BackgroundJobId, queue_job: &JobId) -> ();
        now() -> DateTime<Utc>;
        check() -> ();
    }
}

count! {
    Receipts {
        delete_batch(order: &BatchOrder) -> BatchOutcome;
        count_live(business_id: BusinessId) -> i64;
        set_aside(job: BackgroundJobId, max: u32) -> Vec<SetAside>;
        hindrances() -> Vec<String>;
        may_be_hidden() -> bool;
        plan(business_id: BusinessId, target: &BlobTarget) -> DeletionPlan;
    }
}

count! {
    CleanupOutbox {
        claim(target: &BlobTarget, job: Option<BackgroundJobId>, max: u32, hold: Duration) -> Vec<Condemned>;
        confirm(ids: &[i64]) -> ();
        postpone(failed: &[StillThere], backoff: &Backoff) -> ();
        summary(business_id: Option<BusinessId>) -> OutboxSummary;
        list(max: u32) -> Vec<OutboxRow>;
        park(ids: &[i64]) -> Vec<i64>;
        unpark(ids: Option<&[i64]>) -> Vec<i64>;
    }
}

count! {
    EndedSessions {
        end_session(session: &EndedSession, now: DateTime<Utc>) -> ();
        ended(now: DateTime<Utc>, max: u32) -> Vec<EndedSession>;
    }
}
