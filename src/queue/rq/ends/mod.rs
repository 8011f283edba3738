//! What the end of a job looks like outside: its delivery's settlement for the server's script, and the requests of its
//! webhooks.

mod ending;
mod webhooks;

pub(super) use ending::ending;
pub use webhooks::webhook_requests;
pub(super) use webhooks::{End, requests};
