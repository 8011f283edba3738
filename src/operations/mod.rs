//! What a person or a program may do, each decided once: who may, what is refused and why, what the log says of it; and
//! how the service and a deletion are, each judged once.
//!
//! The calls of the web application, `/api/v1` and the command line present it, and decide nothing.

mod audit;
mod deletions;
mod jobs;
mod judge;
mod limiter;
mod principal;
mod queues;
mod refusal;
mod stuck;

pub use audit::{AuditLine, audit_bulk};
pub use deletions::Deletions;
pub use jobs::Jobs;
pub use judge::{CleanupAlarm, QueueFacts, Reason, ServiceFacts, Severity, Thresholds, cleanup_alarm, judge};
pub use limiter::Limiter;
pub use principal::{Principal, Scope};
pub use queues::Queues;
pub use refusal::{DeletionAction, JobAction, ReadOnly, Refusal};
pub use stuck::{Stuck, StuckAfter, stuck};
