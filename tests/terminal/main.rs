//! The command line as people meet it: in a real terminal, with tables that fit it, and with a next step in every
//! error.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is what a test is for"
)]

mod desk;
mod errors;
mod pty;
mod tables;
mod top;
mod watch;
