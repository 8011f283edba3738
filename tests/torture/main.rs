//! Three processes on one data folder, killed, frozen and drained at moments nobody chose, while jobs and
//! deletions come in. Afterwards everything is counted by other means than the service's own.
//!
//! `TORTURE=full` is the size of a release, on the settings that ship; without it the run is short and its
//! leases are. `TORTURE_SEED=…` repeats a run's dice (not its races), `TORTURE_REPORT=1` writes `TORTURE.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a failed expectation is how a test speaks"
)]

mod accounts;
#[path = "../service/client.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod client;
mod fleet;
#[path = "../service/ground.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod ground;
mod load;
mod plan;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "the other tests of the whole service need more of it")]
mod process;
mod report;
mod rescues;
#[path = "../servers/s3.rs"]
#[allow(dead_code, reason = "each test program needs a part of it")]
mod s3;

use std::time::Instant;

use crate::accounts::Accounts;
use crate::fleet::Fleet;
use crate::ground::Ground;
use crate::load::Load;
use crate::plan::Plan;
use crate::report::Report;
use crate::rescues::Rescues;

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
    let report = Report::new(&plan, &fleet, &rescues, &accounts, aftermath);
    println!("{}", report.table());
    accounts.must_balance();
    for (tenant, job) in load.deletions(&ground).await {
        ground.is_deleted(tenant, &ground.row(job).await).await;
    }
    if plan.write_report {
        report.write();
    }
}
