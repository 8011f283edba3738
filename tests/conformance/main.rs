//! Compares the queue on Redis with the real RQ: a test for each line of a checklist and each RQ version,
//! with functions in Rust and with functions in Python.
//!
//! The result is the table in docs/testing.md. A test compares the two; a whole run with `CONFORMANCE=write`
//! writes the table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a failed expectation is how a test speaks"
)]

mod asked_again;
mod claims;
#[path = "../service/client.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod client;
mod control;
mod deletion;
mod failures;
mod forwarded;
mod given_up;
mod ground;
#[path = "../servers/http.rs"]
mod http_server;
mod leftovers;
mod lines;
mod one_id;
mod own_words;
#[path = "../postgres/ground.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod postgres;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod process;
mod python;
mod queues;
#[path = "../servers/redis.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod redis_server;
mod results;
mod running;
#[path = "../servers/s3.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod s3;
#[path = "../servers/postgres.rs"]
#[allow(dead_code, reason = "other test binaries use the rest")]
mod server;
mod table;
mod webhooks;
mod workers;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use crate::lines::LINES;
use crate::table::GROUNDS;

/// Tests that wait at the same time; few of them compute.
const THREADS: usize = 24;

/// What takes longest begins first, so that nothing waits for it in the end.
const LONG: &[&str] = &["line_23_", "line_29_", "line_30_", "line_37_", "line_40_"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials = deletion::trials();
    for claims in [
        leftovers::CLAIMS,
        forwarded::CLAIMS,
        one_id::CLAIMS,
        given_up::CLAIMS,
        asked_again::CLAIMS,
        own_words::CLAIMS,
        webhooks::CLAIMS,
    ] {
        trials.extend(claims::trials(claims));
    }
    trials.push(table::trial());
    for line in LINES {
        for ground in GROUNDS.into_iter().filter(|ground| line.on.contains(&ground.version)) {
            let name = format!("line_{:02}_{}::{}", line.number, line.name, ground.name());
            let check = line.check;
            trials.push(Trial::test(name, move || {
                check(ground);
                Ok(())
            }));
        }
    }
    trials.sort_by_key(|trial| !LONG.iter().any(|long| trial.name().starts_with(long)));
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    ground::end_shared();
    if conclusion.has_failed() {
        return ExitCode::FAILURE;
    }
    if whole {
        table::write();
    }
    ExitCode::SUCCESS
}
