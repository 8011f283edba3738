//! `/api/v1/…`: the API of the page, also for programs. It is versioned: its shape does not change.
//!
//! Errors are problem details (RFC 9457). A request must have the internal secret in a header, or a session
//! cookie. With the cookie, a change also needs the session's CSRF token, and a viewer's session allows no
//! change. Every change is audited, and may have an idempotency key.

mod access;
mod auth;
mod bulk;
mod bulk_request;
mod bulk_step;
mod certificates;
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
