//! Three processes on Redis, PostgreSQL and S3, while their lines break, the servers fail and processes die: one trouble
//! after the other, in an order that the dice choose. Afterwards everything is counted without the service's own code.
//!
//! `STORM_SECONDS=…` sets how long it lasts, `STORM_SEED=…` repeats a run's random choices (not its races),
//! `TORTURE_REPORT=1` writes its part of `TORTURE.md`.

use crate::postgres::ground;
use crate::servers::{line, postgres as postgres_server, redis as redis_server, s3};
use crate::service::{client, process};
mod accounts;
mod fleet;
mod load;
mod place;
mod report;
mod trouble;

use std::time::{Duration, Instant};

use self::accounts::Accounts;
use self::fleet::Fleet;
use self::load::Load;
use self::place::Place;
use crate::lost_redis::place::size;

/// What the dice of a run are thrown with, unless it says otherwise.
const SEED: u64 = 20_261_129;

#[tokio::test]
async fn three_processes_in_a_storm_lose_nothing_and_do_nothing_twice() {
    let (seed, span) = (size("STORM_SEED", SEED), Duration::from_secs(size("STORM_SECONDS", 120)));
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    accounts::watch_effects(&place.ground).await;
    let load = Load::new(&place, seed, span).await;
    let fleet = Fleet::start(&place, seed).await;
    let before = fleet.footprint();
    tokio::join!(load.comes_in(), fleet.goes_through(span));
    let over = Instant::now();
    accounts::all_has_ended(&place, &fleet, &load).await;
    let aftermath = over.elapsed();
    let after = fleet.footprint();
    let accounts = Accounts::take(&place, &load).await;
    fleet.leave().await;

    let figures = report::figures((seed, span), &fleet, &accounts, (&before, &after), aftermath);
    println!("{}", figures.table());
    accounts.must_balance();
    load.deletions_are_whole(&place).await;
    fleet.must_have_recovered();
    if writes_report() {
        figures.write(report::HEADING, &report::text(&fleet));
    }
}

#[expect(clippy::disallowed_methods, reason = "where a test's report goes is no setting of the service")]
fn writes_report() -> bool {
    std::env::var_os("TORTURE_REPORT").is_some()
}
