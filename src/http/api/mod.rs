//! `/api/v1/…`: the API that the page uses, for programs too. Versioned: what is here keeps its shape.
//!
//! Errors are problem details (RFC 9457). Who comes in shows the internal secret in a header, or the
//! cookie that signing in gave; with the cookie every change wants the session's CSRF token, and one that was
//! opened to look changes nothing. Every change
//! is written into the log, and may carry an idempotency key.

mod access;
mod auth;
mod bulk;
mod bulk_request;
mod bulk_step;
mod configuration;
mod confirmation;
mod deletions;
mod details;
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
mod sign_in;
mod signed_out;
mod tenants;

pub use access::PageSecrets;
pub use auth::{Auth, PageRules};
pub(super) use configuration::Configuration;
pub(super) use job_log::JobLogReader;
pub(super) use routes::routes;
