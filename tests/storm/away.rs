//! A database that is away for minutes, or locked, in the middle of deletions, which the web application then takes for stuck.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Connection as _;
use tikkun::job::{Args, JobState, NewJob};

use super::accounts::{self, Accounts};
use super::fleet::Fleet;
use super::line::Condition;
use super::load::Load;
use super::place::Place;
use super::trouble::locks;
use super::{Plan, postgres_server, report};
use crate::lost_redis::place::size;
use crate::torture::figures::{Figures, seconds, writes_report};

const HEADING: &str = "A database that is away for minutes";
const TEXT: &str = "\
PostgreSQL is away in the middle of deletions. Meanwhile every process must answer that it lives, and jobs that need no database
must end. When it is back, the web application is faster than the service, and marks what has had no heartbeat as failed.
Made by `AWAY_SECONDS=300 TORTURE_REPORT=1 cargo test --locked --features failpoints --test suite storm::away` (a debug build).
";

/// For how long it is away; `AWAY_SECONDS=…` sets it.
fn away() -> Duration {
    Duration::from_secs(size("AWAY_SECONDS", 10))
}

/// A lock is no outage: after ten batches in a row that waited for it in vain a deletion ends, which takes four minutes.
const LONGEST_LOCK: Duration = Duration::from_secs(200);

#[tokio::test]
async fn database_that_is_away_for_minutes_costs_only_the_time() {
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let plan = plan();
    let (load, fleet) = (Load::new(&place, &plan).await, Fleet::new(&place, &plan));
    with_deletions_under_way(&place, &load, &fleet).await;

    server.stop();
    fleet_lives_on(&place, &fleet, away()).await;
    place.lines.postgres.becomes(Condition::Cut);
    server.start_again();
    let marked = marked_as_stuck(&place).await;
    assert!(marked > 0, "no deletion was under way");
    place.lines.postgres.becomes(Condition::Well);
    let (recovery, accounts) = recovers(&plan, &place, &load, &fleet).await;
    fleet.leave().await;
    let mut figures = report::engines();
    figures.extend([
        ("away_seconds", "seconds without the database", json!(away().as_secs())),
        ("recovery_s", "seconds from its return until every process was well", json!(seconds(recovery))),
        ("marked_failed", "deletions that the web application marked as failed meanwhile", json!(marked)),
        ("completed", "deletions completed", json!(accounts.deletions["completed"])),
        ("cancelled", "… cancelled by the web application before", json!(accounts.deletions["cancelled"])),
        ("failed", "… failed", json!(accounts.deletions["failed"])),
        ("actor_restarts", "actors that were restarted", json!(fleet.restarts())),
    ]);
    let figures = Figures(figures);
    println!("{}", figures.table());
    if writes_report() {
        figures.write(HEADING, TEXT);
    }
}

/// As by a migration that waits for somebody else.
#[tokio::test]
async fn tables_that_are_locked_for_minutes_cost_only_the_time() {
    let server = postgres_server::Server::start();
    let place = Place::on(&server).await;
    let plan = plan();
    let (load, fleet) = (Load::new(&place, &plan).await, Fleet::new(&place, &plan));
    with_deletions_under_way(&place, &load, &fleet).await;

    let holder = locks(&place).await;
    fleet_lives_on(&place, &fleet, away().min(LONGEST_LOCK)).await;
    holder.close().await.unwrap();
    recovers(&plan, &place, &load, &fleet).await;
    fleet.leave().await;
}

fn plan() -> Plan {
    Plan { span: Duration::from_secs(8), seconds_a_deletion: 2, batch: 4, ..Plan::of(Vec::new()) }
}

async fn with_deletions_under_way(place: &Place<'_>, load: &Load<'_>, fleet: &Fleet<'_>) {
    accounts::watch_effects(&place.ground).await;
    fleet.is_well().await;
    load.comes_in().await;
}

/// Meanwhile every process says that it lives, and does what needs no database.
async fn fleet_lives_on(place: &Place<'_>, fleet: &Fleet<'_>, away: Duration) {
    let gone = Instant::now();
    place.broker.enqueue(&[NewJob::new("meanwhile", "high", "tikkun.noop", Args::default())]).await.unwrap();
    while gone.elapsed() < away {
        fleet.lives("the database could not be reached").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let meanwhile = place.broker.job(&"meanwhile".into()).await.unwrap().unwrap();
    assert_eq!(meanwhile.state, JobState::Finished, "it needs no database");
}

/// How long it took until every process was well, and what is counted once all has ended.
async fn recovers(
    plan: &Plan,
    place: &Place<'_>,
    load: &Load<'_>,
    fleet: &Fleet<'_>,
) -> (Duration, Accounts) {
    let back = Instant::now();
    fleet.is_well().await;
    let recovery = back.elapsed();
    assert_eq!(accounts::all_has_ended(place, fleet, plan.patience).await, Ok(()));
    let accounts = Accounts::take(place, load).await;
    assert_eq!(accounts.violations(), Vec::<String>::new());
    load.deletions_are_whole(place).await;
    assert_eq!(fleet.restarts(), 0, "actors that were restarted");
    (recovery, accounts)
}

/// As the web application does when somebody looks at a deletion without a heartbeat; how many it has marked.
async fn marked_as_stuck(place: &Place<'_>) -> i64 {
    let silence = away().as_secs().min(120);
    let sql = format!(
        "with stuck as (
             update background_jobs set status = 'failed', last_error = 'Job appears stuck', finished_at = now() at time zone 'utc',
                    updated_at = now() at time zone 'utc'
             where status = 'running' and heartbeat_at < now() at time zone 'utc' - interval '{silence} seconds' returning id)
         select count(*) from stuck"
    );
    place.ground.number(sql).await
}
