//! `/api/v1/…`: the API that the page uses, for programs too. Versioned: what is here keeps its shape.
//!
//! Errors are problem details (RFC 9457). Who comes in shows the internal secret in a header, or the
//! cookie that signing in gave; with the cookie every change wants the session's CSRF token. Every change
//! is written into the log, and may carry an idempotency key.

mod bulk;
mod carrying;
mod configuration;
mod deletions;
mod details;
mod entrance;
mod events;
mod job;
mod job_log;
mod jobs;
mod once;
mod openapi;
mod overview;
mod queues;
mod routes;
mod seal;
mod session;
mod signed_out;
mod tenants;

pub(super) use configuration::Configuration;
pub use entrance::Entrance;
pub(super) use job_log::JobLogDesk;
pub(super) use routes::routes;
