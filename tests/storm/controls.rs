//! Runs in which one check of the service is switched off. The storm must notice it in each: a harness that never finds
//! anything would prove nothing.

use std::time::Duration;

use super::fleet::Fleet;
use super::load::Load;
use super::place::Place;
use super::trouble::Trouble;
use super::{Plan, postgres_server, rages, report};

/// What a run finds with this check switched off.
async fn found_without(check: &'static str, plan: Plan) -> String {
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let plan = Plan { off: check, ..plan };
    let load = Load::new(&place, &plan).await;
    let fleet = Fleet::new(&place, &plan);
    let run = rages(&plan, &place, &load, &fleet).await;
    println!("{}", report::figures(&plan, &fleet, &run).table());
    run.violations.join("\n")
}

/// Many deletions that take long, so that whatever happens meets some of them.
fn plan(seconds: u64, troubles: Vec<Trouble>) -> Plan {
    let span = Duration::from_secs(seconds);
    Plan { span, seconds_a_deletion: 1, batch: 4, ..Plan::of(troubles) }
}

#[tokio::test]
async fn storm_notices_an_attempt_that_is_not_kept_from_writing_beside_the_next_one() {
    let found = found_without("check.fence=return", plan(60, vec![Trouble::Stopped])).await;
    assert!(found.contains("attempts of deletions with two writers"), "{found}");
}

#[tokio::test]
async fn storm_notices_that_a_cancellation_is_overwritten() {
    let found = found_without("check.cancel=return", plan(24, Vec::new())).await;
    assert!(found.contains("was canceled, and is completed"), "{found}");
}

#[tokio::test]
async fn storm_notices_leases_that_nobody_renews() {
    let plan = Plan { patience: Duration::from_secs(10), ..plan(24, Vec::new()) };
    let found = found_without("check.lease=return", plan).await;
    assert!(found.contains("not all has ended"), "{found}");
}
