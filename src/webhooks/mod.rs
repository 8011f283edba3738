//! Makes the HTTP requests that jobs asked for at their end: each once, and without holding up any job.
//!
//! [`WebhookSender`] bounds how many are made at once and logs what fails; `client` makes one request and follows its
//! redirections; `route` is the way to a host, through a proxy and TLS where they are needed.

mod client;
mod route;
mod sender;

pub use sender::WebhookSender;
