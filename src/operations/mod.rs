//! What a person or a program may do, each decided once: who may, what is refused and why, what the log says of it.
//!
//! The calls of the web application, `/api/v1` and the command line present it, and decide nothing.

mod audit;
mod deletions;
mod jobs;
mod limiter;
mod principal;
mod queues;
mod refusal;

pub use audit::{AuditLine, audit_bulk};
pub use deletions::Deletions;
pub use jobs::Jobs;
pub use limiter::Limiter;
pub use principal::{Principal, Scope};
pub use queues::Queues;
pub use refusal::{DeletionAction, JobAction, ReadOnly, Refusal};
