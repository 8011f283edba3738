//! Three processes on Redis, PostgreSQL and S3, while their lines break, the servers fail and processes die: one trouble
//! after the other, in an order that the dice choose. Afterwards everything is counted without the service's own code.
//!
//! `STORM_SECONDS=…` sets how long it lasts, `STORM_SEED=…` repeats a run's random choices (not its races),
//! `TORTURE_REPORT=1` writes its part of `TORTURE.md`.

use crate::postgres::ground;
use crate::servers::{line, postgres as postgres_server, redis as redis_server, s3};
use crate::service::{client, process};
mod accounts;
mod away;
mod controls;
mod fleet;
mod load;
mod place;
mod python;
mod related;
mod report;
mod schedules;
mod soak;
mod trouble;

use std::time::{Duration, Instant};

use serde_json::json;

use self::accounts::Accounts;
use self::fleet::{Fleet, Footprint};
use self::load::Load;
use self::place::Place;
use self::python::Python;
use self::related::Related;
use self::schedules::Schedules;
use self::trouble::Trouble;
use crate::lost_redis::place::size;
use crate::torture::figures::{Figures, writes_report};

/// What the dice of a run are thrown with, unless it says otherwise.
const SEED: u64 = 20_261_129;

/// Only a failing test waits so long for the end of all jobs.
const PATIENCE: Duration = Duration::from_secs(240);

/// One run.
struct Plan {
    seed: u64,
    span: Duration,
    troubles: Vec<Trouble>,
    /// They come once, in this order; else again and again, each time in another.
    once: bool,
    /// Between two troubles, in milliseconds.
    pause: std::ops::Range<u64>,
    /// Plain jobs that come in each second.
    jobs_a_second: u64,
    /// One deletion is asked for in so many seconds.
    seconds_a_deletion: u64,
    /// Receipts of a batch, of which there is one in half a second.
    batch: u32,
    /// Jobs that a process runs at once.
    slots: u32,
    /// How long jobs may take to end after it.
    patience: Duration,
    /// What is switched off in the processes, as `FAILPOINTS` says it.
    off: &'static str,
    /// Their configuration file, if they have one.
    file: Option<String>,
}

impl Plan {
    /// A short run with these troubles.
    fn of(troubles: Vec<Trouble>) -> Self {
        Self {
            seed: size("STORM_SEED", SEED),
            span: Duration::from_secs(40),
            troubles,
            once: false,
            pause: 100..1200,
            jobs_a_second: 25,
            seconds_a_deletion: 4,
            batch: 20,
            slots: 8,
            patience: PATIENCE,
            off: "",
            file: None,
        }
    }
}

#[tokio::test]
async fn three_processes_in_a_storm_lose_nothing_and_do_nothing_twice() {
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let schedules = Schedules::new(&place).await;
    let plan = Plan {
        span: Duration::from_secs(size("STORM_SECONDS", 120)),
        file: Some(schedules.file()),
        ..Plan::of(trouble::all(&place))
    };
    let load = Load::new(&place, &plan).await;
    let (fleet, python) = (Fleet::new(&place, &plan), Python::new(&place, &plan));
    let related = Related::new(&place, &plan);
    let come_in = async { tokio::join!(python.comes_in(), related.pairs_come_in()) };
    let (_, mut figures) = tokio::join!(come_in, survives(&plan, &place, &load, &fleet));
    assert_eq!(python.violations().await, Vec::<String>::new());
    assert_eq!(related.violations().await, Vec::<String>::new());
    figures.0.push(("chains", "chains of dependent jobs, each in its order", json!(related.count)));
    figures.0.push(("pairs", "pairs under one key, never both at once", json!(related.count)));
    figures.0.push((
        "due_times",
        "due times of schedules, each with one job",
        json!(schedules.have_run().await),
    ));
    figures.0.push((
        "python_jobs",
        "Python jobs, each with the mark that it left outside",
        json!(python.jobs.len()),
    ));
    assert_eq!(fleet.restarts(), 0, "actors that were restarted");
    if writes_report() {
        figures.write(report::HEADING, &report::text(&fleet));
    }
}

/// What waits in Redis is lost with it. What is tracked in the database comes back, and what comes in later is as safe as ever.
#[tokio::test]
async fn redis_that_forgets_everything_costs_only_what_nothing_else_knows() {
    use Trouble::{Killed, RedisWiped, Stopped};
    let plan = Plan { once: true, ..Plan::of(vec![Killed, RedisWiped, Killed, RedisWiped, Stopped, Killed]) };
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let load = Load::new(&place, &plan).await;
    survives(&plan, &place, &load, &Fleet::new(&place, &plan)).await;
}

/// As after a failover to a server whose clock is wrong, and back to the first.
#[tokio::test]
async fn redis_whose_clock_jumps_costs_only_the_time() {
    let plan = Plan::of(vec![Trouble::RedisAhead, Trouble::Killed]);
    let server = postgres_server::Server::start();
    let place = Place::with(&server, redis_server::Redis::start_oldest_keeping()).await;
    let load = Load::new(&place, &plan).await;
    survives(&plan, &place, &load, &Fleet::new(&place, &plan)).await;
}

/// Every actor panics now and then, in the middle of its work.
#[tokio::test]
async fn actors_that_panic_again_and_again_lose_nothing_and_do_nothing_twice() {
    let plan = Plan { off: PANICS, ..Plan::of(vec![Trouble::PostgresDisconnects]) };
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let load = Load::new(&place, &plan).await;
    let fleet = Fleet::new(&place, &plan);
    survives(&plan, &place, &load, &fleet).await;
    let restarts = fleet.restarts.lock();
    for actor in [
        "queue_listener",
        "job_runner",
        "deletion_batch",
        "status_tracker",
        "lease_keeper",
        "rescuer",
        "scheduler",
        "runner_watch",
    ] {
        assert!(restarts[actor] > 0, "{actor} has not panicked: {restarts:?}");
    }
}

/// Seldom enough that a supervisor does not give up.
const PANICS: &str = "\
    queue_listener.fetched=50*off->1*panic->80*off->1*panic;\
    job_runner.run=40*off->1*panic->90*off->1*panic;\
    deletion_batch.run=4*off->1*panic->9*off->1*panic->14*off->1*panic;\
    status_tracker.begin=1*off->1*panic->2*off->1*panic;\
    status_tracker.progressed=5*off->1*panic->30*off->1*panic;\
    status_tracker.end=1*off->1*panic;\
    lease_keeper.renew=1*off->1*panic->2*off->1*panic;\
    rescuer.tick=1*off->1*panic->2*off->1*panic;\
    scheduler.tick=2*off->1*panic->5*off->1*panic;\
    runner_watch.look=8*off->1*panic->12*off->1*panic";

/// Nothing is lost, nothing is done twice, and all is well again soon after each trouble.
async fn survives(plan: &Plan, place: &Place<'_>, load: &Load<'_>, fleet: &Fleet<'_>) -> Figures {
    let run = rages(plan, place, load, fleet).await;
    fleet.leave().await;
    let figures = report::figures(plan, fleet, &run);
    println!("{}", figures.table());
    assert_eq!(run.violations, Vec::<String>::new());
    load.deletions_are_whole(place).await;
    fleet.must_have_recovered();
    figures
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
