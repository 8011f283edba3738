//! What came of asking a child.

use super::ending::Death;
use super::job_result::JobResult;

/// How a run of a job ended.
#[derive(Debug)]
pub enum Ran {
    /// The child answered. All that it wrote until then has been handed to the sink.
    Answered(Box<JobResult>),
    /// The child left by itself before it began with the job, which can be given to another; why it left.
    Declined(String),
    /// The child died. All that it wrote has been handed to the sink.
    Died(Death),
}

/// How a callback ended.
#[derive(Debug)]
pub enum Called {
    /// It has run; the traceback if it failed.
    Answered(Option<String>),
    /// The child died.
    Died(Death),
}
