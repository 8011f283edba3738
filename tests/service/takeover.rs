//! Two processes on one folder: one falls silent, the other takes over, and nothing is done twice.

use std::time::Duration;

use rustix::process::Signal;
use sqlx::Connection as _;

use super::ground::Ground;
use super::process::Service;

/// Whether somebody else could write to both files now.
async fn writable(ground: &Ground) -> bool {
    for name in ["tikkun.db", "queue.db"] {
        let mut connection = ground.connect(name).await;
        sqlx::raw_sql("pragma busy_timeout = 100").execute(&mut connection).await.unwrap();
        if sqlx::raw_sql("begin immediate; rollback").execute(&mut connection).await.is_err() {
            return false;
        }
        connection.close().await.unwrap();
    }
    true
}

/// Stops a process at a moment when it holds no lock on a file: SQLite's locks know no lease.
async fn freeze(ground: &Ground, service: &Service) {
    for _ in 0..50 {
        service.signal(Signal::STOP);
        if writable(ground).await {
            return;
        }
        service.signal(Signal::CONT);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the process held a lock each time it was stopped");
}

#[tokio::test]
async fn killed_process_is_taken_over_by_one_that_lives() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut doomed = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = doomed.delete_all(7);
    ground.processed(&mut doomed, job, 20).await;
    let mut other = ground.service().start().await;
    doomed.process.kill();
    let row = ground.completed(&mut other, job, &tenant).await;
    assert_eq!(row.attempt, 2);
    assert_eq!(ground.carrier_ended(&mut other, job).await.orphaned, 1);
}

#[tokio::test]
async fn process_that_wakes_up_after_its_lease_commits_nothing() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 100).await;
    let start = ground.service().set("TIKKUN_LEASE__TTL", "3s").set("TIKKUN_LEASE__RENEW", "500ms");
    let mut sleeper = start.clone().set("TIKKUN_DELETION__THROTTLE", "2s").start().await;
    let job = sleeper.delete_all(7);
    ground.processed(&mut sleeper, job, 20).await;
    freeze(&ground, &sleeper).await;
    let mut other = start.start().await;
    let row = ground.completed(&mut other, job, &tenant).await;
    assert_eq!(row.attempt, 2);
    let entry = ground.carrier_ended(&mut other, job).await;
    sleeper.signal(Signal::CONT);
    sleeper.says(&format!("🛑 Job {job} is completed - stopping")).await;
    sleeper.says("the job was taken from this process before it ended; its end is not counted").await;
    assert_eq!(ground.row(job).await, row, "the sleeper overwrote nothing");
    assert_eq!(ground.carrier(job).await, entry, "its end does not count");
    ground.is_deleted(&tenant, &row).await;
    assert_eq!(sleeper.restarts() + other.restarts(), 0);
}

#[tokio::test]
async fn two_workers_share_the_jobs_and_run_each_once() {
    let ground = Ground::new().await;
    let mut tenants = Vec::new();
    for id in [10, 20, 30, 40, 50, 60] {
        tenants.push(ground.tenant(id, 40).await);
    }
    let start = ground.service().set("TIKKUN_WORKER__SLOTS", "1").set("TIKKUN_DELETION__THROTTLE", "200ms");
    let (mut first, second) = (start.start().await, start.start().await);
    let jobs: Vec<_> = tenants.iter().map(|tenant| first.delete_all(tenant.id)).collect();
    for job in &jobs {
        let row = ground.becomes(&mut first, *job, "completed").await;
        assert_eq!(row.attempt, 1);
        let entry = ground.carrier_ended(&mut first, *job).await;
        assert_eq!((entry.state.as_str(), entry.attempt), ("finished", 1));
    }
    ground.drained(&mut first).await;
    for (job, tenant) in jobs.iter().zip(&tenants) {
        ground.is_deleted(tenant, &ground.row(*job).await).await;
    }
    let picked = |service: &Service| service.lines("🔨 JOB PICKED").len();
    assert_eq!(picked(&first) + picked(&second), 6);
    assert!(picked(&first) > 0 && picked(&second) > 0, "one of them stood by");
}
