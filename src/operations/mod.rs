//! The operations of users and programs: who may do what, what is refused and why, and what is audited. And
//! how the status of the service and of a deletion is judged.
//!
//! The calls of the web application, `/api/v1` and the command line are only interfaces to this.

mod audit;
mod deletions;
mod elsewhere;
mod jobs;
mod judge;
mod limiter;
mod principal;
mod processes;
mod queues;
mod refusal;
mod stuck;

pub use audit::{AuditLine, audit_bulk};
pub use deletions::Deletions;
pub use elsewhere::Elsewhere;
pub use jobs::Jobs;
pub use judge::{
    CleanupAlarm, Hindered, QueueFacts, Reason, ServiceFacts, Severity, Thresholds, cleanup_alarm, judge,
};
pub use limiter::Limiter;
pub use principal::{Principal, Scope};
pub use processes::present;
pub use queues::Queues;
pub use refusal::{DeletionAction, JobAction, ReadOnly, Refusal};
pub use stuck::{Stuck, StuckAfter, stuck};
