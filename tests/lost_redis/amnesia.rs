//! Redis loses all data: without any help, every deletion with a row ends correctly.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use sqlx::Connection as _;
use tikkun::job::JobState;

use super::place::{Place, plain, sleep};
use super::process::Service;

const FORGOT: &str = "Redis has forgotten everything";
const WRITTEN_BACK: &str = "wrote back a running job that Redis had forgotten";
const REBUILT: &str = "wrote it anew from the database";

/// Starts a deletion slowly enough that Redis can be lost under it, and waits until it is well on its way.
async fn half_deleted(place: &Place, service: &mut Service) -> i64 {
    let tenant = place.ground.tenant(7, 400).await;
    let row = place.ground.plain_row(&tenant).await;
    place.enqueue_row("entry", row).await;
    place.ground.processed(service, row, 40).await;
    row
}

async fn is_exactly_deleted(place: &Place, service: &mut Service, row: i64, attempts: i64) {
    let tenant = super::ground::Tenant { id: 7, receipts: 400, base: 70_000 };
    let row = place.ground.completed(service, row, &tenant).await;
    assert_eq!(row.attempt, attempts, "{row:?}");
}

#[tokio::test]
async fn deletion_goes_on_to_its_exact_end_when_redis_starts_again_empty() {
    let mut place = Place::forgetful().await;
    let slow = place.service().set("TIKKUN_DELETION__THROTTLE", "250ms");
    let mut service = slow.start().await;
    let row = half_deleted(&place, &mut service).await;
    place.redis.stop();
    place.redis.start_again();
    service.says(FORGOT).await;
    let told = service.says(WRITTEN_BACK).await;
    assert!(told.contains("job.id=\"entry\"") || told.contains("job.id=entry"), "{told}");
    is_exactly_deleted(&place, &mut service, row, 1).await;
    let entry = place.becomes("entry", JobState::Finished).await;
    assert_eq!(entry.result.unwrap()["deleted"], 400, "the attempt that outlived Redis says what it did");
    assert!(service.lines(REBUILT).is_empty(), "it was written back, not made anew");
    assert_eq!(service.restarts(), 0);
}

#[tokio::test]
async fn deletion_whose_process_dies_with_redis_comes_back_from_the_database() {
    let mut place = Place::forgetful().await;
    let slow = place.service().set("TIKKUN_DELETION__THROTTLE", "250ms");
    let mut doomed = slow.start().await;
    let row = half_deleted(&place, &mut doomed).await;
    let mut heirs = [slow.start().await, slow.start().await];
    for heir in &mut heirs {
        heir.until("a lease", async |heir| (heir.call("GET", "/readyz", &[]).status == 200).then_some(()))
            .await;
    }
    place.redis.stop();
    doomed.process.kill();
    place.redis.start_again();
    heirs[0].says(FORGOT).await;
    heirs[1].says(FORGOT).await;
    is_exactly_deleted(&place, &mut heirs[0], row, 2).await;
    place.becomes("entry", JobState::Finished).await;
    let told: Vec<_> = heirs.iter().flat_map(|heir| heir.lines(REBUILT)).collect();
    assert_eq!(told.len(), 1, "one of them brings it back, under its own name: {told:#?}");
    assert!(told[0].contains("entry") && told[0].contains("WARN"), "{told:#?}");
}

#[tokio::test]
async fn rows_that_wait_come_back_once_and_plain_jobs_that_wait_do_not() {
    let place = Place::forgetful().await;
    let first = place.ground.tenant(7, 60).await;
    let others = [place.ground.tenant(20, 40).await, place.ground.tenant(40, 40).await];
    let start = place.service().set("TIKKUN_WORKER__SLOTS", "1").set("TIKKUN_DELETION__THROTTLE", "1s");
    // One who listens to nothing of this, and may bring rows back all the same.
    let bystander = place.service().set("RQ_QUEUES", "high").start().await;
    let mut service = start.start().await;
    let row = place.ground.plain_row(&first).await;
    place.enqueue_row("entry", row).await;
    place.ground.processed(&mut service, row, 20).await;
    let mut rows = Vec::new();
    for tenant in &others {
        rows.push(place.ground.plain_row(tenant).await);
        place.enqueue_row(&format!("entry-{}", tenant.id), rows[rows.len() - 1]).await;
    }
    place.enqueue(&[plain("waits", "low", "tikkun.echo", 1.into())]).await;
    place.redis.ask(&["FLUSHALL"]);
    let done = place.ground.completed(&mut service, row, &first).await;
    assert_eq!(done.attempt, 1);
    for (row, tenant) in rows.iter().zip(&others) {
        let done = place.ground.completed(&mut service, *row, tenant).await;
        assert_eq!(done.attempt, 1, "{done:?}");
    }
    let told: Vec<_> = [&service, &bystander].iter().flat_map(|one| one.lines(REBUILT)).collect();
    let named: BTreeSet<_> = told.iter().filter_map(|line| line.split("background_job=").nth(1)).collect();
    assert_eq!((told.len(), named.len()), (2, 2), "each row by its number, once: {told:#?}");
    assert_eq!(place.job("waits").await, None, "what lives in Redis alone dies with it");
}

#[tokio::test]
async fn plain_job_that_runs_ends_with_its_result_and_everything_is_registered_again() {
    let place = Place::forgetful().await;
    let mut service = place.service().start().await;
    place.enqueue(&[sleep("runs", "high", 4.0)]).await;
    place.becomes("runs", JobState::Started).await;
    let before = place.broker.processes().await.unwrap();
    place.redis.ask(&["FLUSHALL"]);
    service.says(FORGOT).await;
    service.says(WRITTEN_BACK).await;
    let same =
        async || Some(place.broker.processes().await.unwrap()).filter(|after| after[0].id == before[0].id);
    place.until("the process to have a lease again", same).await;
    let busy = async || {
        let names = place.redis.ask(&["SMEMBERS", "rq:workers"]);
        let of = |name: &str| place.redis.ask(&["HGET", name, "current_job"]);
        let jobs: Vec<_> = names.lines().map(of).filter(|job| !job.is_empty()).collect();
        (names.lines().count() == 16 && jobs == ["runs"]).then_some(())
    };
    place.until("sixteen RQ workers, one of them busy", busy).await;
    let leads = async || {
        let role = place.broker.leadership("scheduler").await.unwrap();
        role.filter(|role| role.holder == before[0].id).map(drop)
    };
    place.until("the scheduler to lead again", leads).await;
    let known = place.redis.ask(&["SMEMBERS", "rq:queues"]);
    assert_eq!(known.lines().count(), 8, "its queues: {known}");
    let job = place.becomes("runs", JobState::Finished).await;
    assert_eq!((job.attempt, job.failures), (1, 0), "{job:?}");
    place.enqueue(&[plain("after", "broadcasts", "tikkun.echo", 1.into())]).await;
    place.becomes("after", JobState::Finished).await;
    assert_eq!(service.restarts(), 0);
}

/// Stops a process at a moment when it holds no lock on the tables: SQLite's locks know no lease.
async fn freeze(place: &Place, service: &Service) {
    for _ in 0..50 {
        service.signal(Signal::STOP);
        let mut tables = place.ground.connect("tikkun.db").await;
        sqlx::raw_sql("pragma busy_timeout = 100").execute(&mut tables).await.unwrap();
        let free = sqlx::raw_sql("begin immediate; rollback").execute(&mut tables).await.is_ok();
        tables.close().await.unwrap();
        if free {
            return;
        }
        service.signal(Signal::CONT);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the process held a lock each time it was stopped");
}

#[tokio::test]
async fn deletion_that_still_runs_while_another_brings_its_entry_back_is_fenced_off() {
    let place = Place::forgetful().await;
    let slow = place.service().set("TIKKUN_DELETION__THROTTLE", "250ms");
    let mut frozen = slow.start().await;
    let row = half_deleted(&place, &mut frozen).await;
    let mut heir = slow.start().await;
    heir.until("a lease", async |heir| (heir.call("GET", "/readyz", &[]).status == 200).then_some(())).await;
    freeze(&place, &frozen).await;
    place.redis.ask(&["FLUSHALL"]);
    heir.says(REBUILT).await;
    let second = async || Some(place.ground.row(row).await).filter(|row| row.attempt == 2);
    place.until("the second attempt", second).await;
    frozen.signal(Signal::CONT);
    frozen.says("goes on in a newer attempt - stopping").await;
    frozen.says("its end is not counted").await;
    is_exactly_deleted(&place, &mut heir, row, 2).await;
    assert_eq!(place.becomes("entry", JobState::Finished).await.result.unwrap()["deleted"], 400);
}
