//! The model of a job: pure values and rules, without clock, network or runtime.
//!
//! Read in this order: [`Job`] (the trait to implement), [`NewJob`] (a job to enqueue), [`JobRecord`] (a job
//! in its queue), [`JobContext`] (services for a running job), [`Completion`] and [`JobError`] (its end),
//! [`RetryPolicy`] (what follows), [`Schedule`] (recurring jobs). [`Rehearsal`] runs a job in a test.
//! [`background`] has the rules for rows of `background_jobs`.

mod args;
pub mod background;
mod callback;
mod context;
mod cron;
mod described;
mod end_signal;
pub mod exact;
mod foreign;
mod id;
mod kind;
mod limit;
mod outcome;
mod progress;
mod record;
mod registries;
mod registry;
mod rehearsal;
mod retry;
mod schedule;
mod state;
mod trace;
mod verbatim;
mod webhook;

pub use crate::backoff::Backoff;
pub(crate) use args::weight;
pub use args::{Args, ArgsError};
pub use callback::{Callback, Callbacks};
pub use context::{Control, JobContext, StopReason};
pub use cron::CronRule;
pub use described::{ChildRows, DescribedDeletion, ObjectKey, PointedRows, RowsEnd};
pub use end_signal::{EndGiven, EndSignal};
pub use foreign::{AbandonedJob, ForeignJob, ForeignJobs};
pub use id::{BackgroundJobId, BusinessId, ExecutionId, JobId, KindName, ProcessId, QueueName, ReceiptId};
pub use kind::{Job, JobSettings, OrphanPolicy, Retention};
pub use limit::Limit;
pub use outcome::{
    Completion, JobError, JobErrorKind, JobResult, QueueEnd, RETRIES_EXHAUSTED, RetryAsked, own_words,
};
pub use progress::{Estimate, Progress, RateMeter};
pub use record::{JobRecord, LIGHT, NewJob, Retries, Unique};
pub use registries::Registries;
pub use registry::{BoxedJob, KindClash, Registry, UnknownFunction};
pub use rehearsal::Rehearsal;
pub use retry::RetryPolicy;
pub use schedule::{Missed, Schedule};
pub use state::JobState;
pub use trace::{BadTrace, TraceContext, TraceId};
pub use verbatim::{JobChanges, Verbatim};
pub use webhook::{WebhookJob, WebhookRequest, Webhooks};
