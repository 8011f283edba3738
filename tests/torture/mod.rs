//! Three processes on one data folder are killed, frozen and drained at random moments while jobs and
//! deletions arrive. Afterwards everything is counted without the service's own code.
//!
//! `TORTURE=full` is the size for a release, with the default settings; without it the run and its leases are
//! short. `TORTURE_SEED=…` repeats a run's random choices (not its races), `TORTURE_REPORT=1` writes its part of
//! `TORTURE.md`.

use crate::service::client;
use crate::service::ground;
use crate::service::process;
mod accounts;
pub mod figures;
mod fleet;
pub mod load;
mod plan;
mod report;
mod rescues;

use std::time::{Duration, Instant};

use self::accounts::Accounts;
use self::figures::Figures;
use self::fleet::Fleet;
use self::ground::Ground;
use self::load::Load;
use self::plan::Plan;
use self::rescues::Rescues;

#[tokio::test]
async fn three_processes_under_fire_lose_nothing_and_do_nothing_twice() {
    let plan = Plan::from_environment();
    println!("the dice of this run: TORTURE_SEED={}", plan.seed);
    let ground = Ground::new().await;
    let load = Load::new(&plan, &ground).await;
    let (figures, violations) = under_fire(&plan, &ground, &load).await;
    println!("{}", figures.table());
    assert_eq!(violations, Vec::<String>::new());
    for (tenant, job) in load.deletions(&ground).await {
        ground.is_deleted(tenant, &ground.row(job).await).await;
    }
    if plan.write_report {
        figures.write(report::HEADING, report::TEXT);
    }
}

/// What the dice of the runs below are thrown with.
const SEED: u64 = 20_261_130;

/// A run in which this check of the service is switched off. The harness must notice it: one that never finds anything
/// would prove nothing.
async fn found_without(check: &'static str, plan: Plan) -> String {
    let plan = Plan { off: check, ..plan };
    let ground = Ground::new().await;
    let load = Load::new(&plan, &ground).await;
    let (figures, violations) = under_fire(&plan, &ground, &load).await;
    println!("{}", figures.table());
    violations.join("\n")
}

#[tokio::test]
async fn torture_notices_ends_that_count_although_the_job_was_taken() {
    // An end is late when a process was frozen. It comes only where a job ends before its process has noticed that its
    // lease is gone, so that one run may have none.
    let mut found = String::new();
    for seed in SEED..SEED + 4 {
        let plan =
            Plan { kills_a_freeze: 1, fire: Duration::from_secs(32), plain_jobs: 4_500, ..Plan::short(seed) };
        found = found_without("check.settlement=return", plan).await;
        if found.contains("more than once: job ended") {
            return;
        }
    }
    panic!("no run had an end that counted twice; the last one found: {found}");
}

#[tokio::test]
async fn torture_notices_objects_that_are_not_in_the_outbox() {
    let found = found_without("check.outbox=return", Plan::short(SEED)).await;
    assert!(found.contains("objects condemned"), "{found}");
}

/// What is found after the fire.
async fn under_fire(plan: &Plan, ground: &Ground, load: &Load) -> (Figures, Vec<String>) {
    accounts::watch_effects(ground).await;
    let rescues = Rescues::new(ground).await;
    let fleet = Fleet::new(plan, ground, &rescues);
    let fire = async {
        tokio::join!(load.come_in(&fleet), fleet.under_fire());
    };
    tokio::select! {
        () = fire => {}
        () = rescues.watch() => {}
    }
    let cease_fire = Instant::now();
    fleet.calm_down();
    tokio::select! {
        () = accounts::all_has_ended(ground, &fleet, load) => {}
        () = rescues.watch() => {}
    }
    let aftermath = cease_fire.elapsed();
    fleet.leave().await;

    let accounts = Accounts::take(ground, load).await;
    (report::figures(plan, &fleet, &rescues, &accounts, aftermath), accounts.violations())
}
