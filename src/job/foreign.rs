//! Jobs whose functions are in another program, such as an application in Python.

use futures::future::BoxFuture;

use super::{Callback, ExecutionId, JobContext, JobId, JobRecord, JobResult, JobSettings, QueueName};

/// Runs jobs whose functions are in another program.
///
/// It keeps their time itself, calls what their enqueuers named for their end, and ends them when the context asks for
/// that: all of this is code of the other program.
pub trait ForeignJobs: Send + Sync {
    /// How the runtime treats jobs that say nothing else.
    fn settings(&self) -> JobSettings;
    /// Whether what fails for good is listed, with its failure.
    fn lists_failures(&self) -> bool {
        true
    }
    /// Whether nothing is logged of a job that ends well.
    fn is_quiet(&self) -> bool {
        false
    }
    /// One attempt. When the process drains, it may go on: only its caller ends it then.
    fn run<'a>(&'a self, job: ForeignJob<'a>, ctx: &'a JobContext) -> BoxFuture<'a, JobResult>;
    /// Calls what is to be called of a job whose worker died under it, after its end is written. That a call fails is
    /// logged and changes nothing.
    fn abandoned<'a>(&'a self, job: AbandonedJob<'a>) -> BoxFuture<'a, ()>;
}

/// A job on its way to another program.
#[derive(Clone, Copy, Debug)]
pub struct ForeignJob<'a> {
    /// The job as far as it can be read here.
    pub record: &'a JobRecord,
    /// This attempt at it.
    pub execution: &'a ExecutionId,
    /// The name under which the broker's readers see who runs it.
    pub worker: &'a str,
    /// All fields of its hash in the broker, as they were before the fetch.
    pub fields: &'a [(Vec<u8>, Vec<u8>)],
}

/// A job whose worker died under it.
#[derive(Clone, Copy, Debug)]
pub struct AbandonedJob<'a> {
    /// Its id.
    pub id: &'a JobId,
    /// Its queue.
    pub queue: &'a QueueName,
    /// What its enqueuer wants to be called after a failure.
    pub on_failure: Option<&'a Callback>,
}
