//! The page and its API: the API by plain calls, the page in a real Chromium.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a failed expectation is how a test speaks; no actor lives on its thread, and it may be told to keep pictures"
)]

mod addresses;
mod api;
mod browser;
mod bulk;
#[path = "../service/client.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod client;
mod drawing;
mod eyes;
#[path = "../service/ground.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod ground;
mod keyboard;
mod long_lists;
mod looks;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod process;
#[path = "../servers/s3.rs"]
#[allow(dead_code, reason = "each test program needs a part of it")]
mod s3;
mod secrets;
mod wire;
mod words;
