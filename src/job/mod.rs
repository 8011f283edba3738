//! What a job is: pure values and rules, without clock, network or runtime.
//!
//! Read in this order: [`Job`] (what you write), [`NewJob`] (what is enqueued), [`JobRecord`] (what a
//! queue keeps of it), [`JobContext`] (what a running job may ask), [`Completion`] and [`JobError`] (how
//! it ends), [`RetryPolicy`] (what happens then), [`Schedule`] (what comes again by itself). [`Rehearsal`] runs
//! a job in a test. [`background`] holds the rules of the row in `background_jobs` that people watch.

mod args;
pub mod background;
mod callback;
mod context;
mod cron;
pub mod exact;
mod id;
mod kind;
mod limit;
mod outcome;
mod progress;
mod record;
mod registry;
mod rehearsal;
mod retry;
mod schedule;
mod state;
mod trace;

pub use crate::backoff::Backoff;
pub use args::{Args, ArgsError};
pub use callback::{Callback, Callbacks};
pub use context::{Control, JobContext, StopReason};
pub use cron::CronRule;
pub use id::{BackgroundJobId, BusinessId, ExecutionId, JobId, KindName, ProcessId, QueueName, ReceiptId};
pub use kind::{Job, JobSettings, OrphanPolicy, Retention};
pub use limit::Limit;
pub use outcome::{Completion, JobError, JobErrorKind, JobResult, QueueEnd};
pub use progress::{Estimate, Progress, RateMeter};
pub use record::{JobRecord, LIGHT, NewJob, Retries, Unique};
pub use registry::{BoxedJob, KindClash, Registry, UnknownFunction};
pub use rehearsal::Rehearsal;
pub use retry::RetryPolicy;
pub use schedule::{Missed, Schedule};
pub use state::JobState;
pub use trace::{BadTrace, TraceContext, TraceId};
