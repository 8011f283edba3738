//! What machines watch: the figures of a whole service by a real Prometheus' tools, and what is shipped beside them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a failed expectation is how a test speaks"
)]
#![cfg_attr(
    not(feature = "failpoints"),
    allow(dead_code, unused_imports, reason = "half of the claims need fail points")
)]

#[path = "../service/client.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod client;
mod exposition;
#[path = "../service/ground.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod ground;
mod outage;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod process;
mod promtool;
#[path = "../servers/redis.rs"]
#[allow(dead_code, reason = "each test program needs a part of it")]
mod redis;
#[path = "../servers/s3.rs"]
#[allow(dead_code, reason = "each test program needs a part of it")]
mod s3;
mod scrape;
mod shipped;
