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

use std::time::Instant;

use self::accounts::Accounts;
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
    accounts::watch_effects(&ground).await;

    let rescues = Rescues::new(&ground).await;
    let fleet = Fleet::new(&plan, &ground, &rescues);
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
        () = accounts::all_has_ended(&ground, &fleet, &load) => {}
        () = rescues.watch() => {}
    }
    let aftermath = cease_fire.elapsed();
    fleet.leave().await;

    let accounts = Accounts::take(&ground, &load).await;
    let figures = report::figures(&plan, &fleet, &rescues, &accounts, aftermath);
    println!("{}", figures.table());
    accounts.must_balance();
    for (tenant, job) in load.deletions(&ground).await {
        ground.is_deleted(tenant, &ground.row(job).await).await;
    }
    if plan.write_report {
        figures.write(report::HEADING, report::TEXT);
    }
}
