//! Three processes on Redis, PostgreSQL and S3, while their lines break, the servers fail and processes die: one trouble
//! after the other, in an order that the dice choose. Afterwards everything is counted without the service's own code.
//!
//! `STORM_SECONDS=…` sets how long it lasts, `STORM_SEED=…` repeats a run's random choices (not its races),
//! `TORTURE_REPORT=1` writes its part of `TORTURE.md`.

use crate::postgres::ground;
use crate::servers::{line, postgres as postgres_server, redis as redis_server, s3};
use crate::service::{client, process};
mod accounts;
mod controls;
mod fleet;
mod load;
mod place;
mod report;
mod trouble;

use std::time::{Duration, Instant};

use self::accounts::Accounts;
use self::fleet::{Fleet, Footprint};
use self::load::Load;
use self::place::Place;
use self::trouble::Trouble;
use crate::lost_redis::place::size;
use crate::torture::figures::writes_report;

/// What the dice of a run are thrown with, unless it says otherwise.
const SEED: u64 = 20_261_129;

/// Only a failing test waits so long for the end of all jobs.
const PATIENCE: Duration = Duration::from_secs(240);

/// One run.
struct Plan {
    seed: u64,
    span: Duration,
    troubles: Vec<Trouble>,
    /// One deletion is asked for in so many seconds.
    seconds_a_deletion: u64,
    /// Receipts of a batch, of which there is one in half a second.
    batch: u32,
    /// How long jobs may take to end after it.
    patience: Duration,
    /// What is switched off in the processes, as `FAILPOINTS` says it.
    off: &'static str,
}

#[tokio::test]
async fn three_processes_in_a_storm_lose_nothing_and_do_nothing_twice() {
    let plan = Plan {
        seed: size("STORM_SEED", SEED),
        span: Duration::from_secs(size("STORM_SECONDS", 120)),
        troubles: trouble::all(),
        seconds_a_deletion: 4,
        batch: 20,
        patience: PATIENCE,
        off: "",
    };
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let load = Load::new(&place, &plan).await;
    let fleet = Fleet::new(&place, &plan);
    let run = rages(&plan, &place, &load, &fleet).await;
    fleet.leave().await;

    let figures = report::figures(&plan, &fleet, &run);
    println!("{}", figures.table());
    assert_eq!(run.violations, Vec::<String>::new());
    load.deletions_are_whole(&place).await;
    fleet.must_have_recovered();
    if writes_report() {
        figures.write(report::HEADING, &report::text(&fleet));
    }
}

/// What was found in a run.
struct Run {
    accounts: Accounts,
    violations: Vec<String>,
    before: Vec<Footprint>,
    after: Vec<Footprint>,
    aftermath: Duration,
}

/// The load comes in, the troubles befall the processes, and when all has ended it is counted.
async fn rages(plan: &Plan, place: &Place<'_>, load: &Load<'_>, fleet: &Fleet<'_>) -> Run {
    accounts::watch_effects(&place.ground).await;
    fleet.is_well().await;
    let before = fleet.footprint();
    tokio::join!(load.comes_in(), fleet.goes_through(plan));
    let over = Instant::now();
    let ended = accounts::all_has_ended(place, fleet, plan.patience).await;
    let aftermath = over.elapsed();
    let after = fleet.footprint();
    let accounts = Accounts::take(place, load).await;
    let mut violations = accounts.violations();
    violations.extend(load.canceled_in_vain(place).await);
    violations.extend(ended.err());
    Run { accounts, violations, before, after, aftermath }
}
