//! If the server is lost during a deletion, the deletion waits for it.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sqlx::Connection as _;

use super::ground::Ground;
use super::process::{SECRET, Service};
use super::server::Server;
use crate::servers::line::{Condition, Line, Server as Far};

/// How the server goes away.
#[derive(Clone, Copy, PartialEq)]
enum Departure {
    Shutdown,
    Killed,
}

/// Somebody who follows the board until the connection is dropped.
fn follow(service: &Service) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).unwrap();
    let request =
        format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nX-Internal-Secret: {SECRET}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

async fn deletion_outlives(departure: Departure) {
    let server = Server::start();
    let ground = Ground::on(&server).await;
    let tenant = ground.tenant(7, 400).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "30ms").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 40).await;
    let viewer = follow(&service);
    let row = |service: &Service| service.get("/api/v1/overview").json()["deletions"][0]["status"].clone();
    service.until("a look", async |service| (row(service) == "running").then_some(())).await;
    match departure {
        Departure::Shutdown => server.stop(),
        Departure::Killed => server.kill(),
    }
    service.says("⏳ [RECEIPTS_DELETE] Backing off 2s after 1 failures").await;
    service.says("⏳ [RECEIPTS_DELETE] Backing off 4s after 2 failures").await;
    service.call("GET", "/healthz", &[]).expect(200);
    assert_eq!(service.get("/api/jobs/health").status, 500, "the database is named as out of reach");
    service.get("/api/v1/deletions").expect(503);
    let board = service.get("/api/v1/overview").expect(200).json();
    assert_eq!(board["overview"]["status"], "unhealthy", "{board}");
    assert_eq!(board["deletions"][0]["status"], "running", "it is shown as it was last seen: {board}");
    drop(viewer);
    server.start_again();
    service.says("✓ [RECEIPTS_DELETE] Batch complete (recovered!)").await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 1, "the attempt outlived the outage");
    assert_eq!(service.restarts(), 0, "waiting is no crash");
    service
        .until("health", async |service| (service.get("/api/jobs/health").status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn deletion_outlives_a_shutdown_of_the_database() {
    deletion_outlives(Departure::Shutdown).await;
}

#[tokio::test]
async fn deletion_outlives_a_database_that_was_killed() {
    deletion_outlives(Departure::Killed).await;
}

#[tokio::test]
async fn process_killed_with_the_database_resumes_when_both_are_back() {
    let server = Server::start();
    let ground = Ground::on(&server).await;
    let tenant = ground.tenant(7, 200).await;
    let start = ground.service().set("TIKKUN_DELETION__THROTTLE", "30ms").set("TIKKUN_LEASE__TTL", "1s");
    let start = start.set("TIKKUN_LEASE__RENEW", "200ms");
    let mut service = start.start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 40).await;
    server.kill();
    service.process.kill();
    server.start_again();
    let mut next = start.start().await;
    let row = ground.completed(&mut next, job, &tenant).await;
    assert_eq!(row.attempt, 2);
    tokio::time::timeout(Duration::from_secs(20), next.terminate()).await.expect("an end");
}

/// A gateway has forgotten the connection, so nobody says that the answer will never come.
#[tokio::test]
async fn deletion_whose_read_is_never_answered_reads_again() {
    let server = Server::shared();
    let ground = Ground::on(server).await;
    let tenant = ground.tenant(7, 60).await;
    let line = Line::to(Far::Port(server.port()));
    let (direct, behind) = (format!(":{}/", server.port()), format!(":{}/", line.port()));
    let start = ground.service().set("DATABASE_URL", &ground.sqlalchemy_url().replacen(&direct, &behind, 1));
    let start = start.set("TIKKUN_STORE__LOCK_TIMEOUT", "30s").set("TIKKUN_TRACKER__DEADLINE", "2s");
    let mut service = start.start().await;
    let mut application = ground.connect().await;
    let mut open = application.begin().await.unwrap();
    let job = ground.request_in(&mut open, 7).await;
    sqlx::query("lock table background_jobs in access exclusive mode").execute(&mut *open).await.unwrap();
    ground.enqueue("entry", job).await;
    let waiting = "select count(*) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query like '%where j.id = $1'";
    let reads = async |_: &Service| (ground.number(waiting).await > 0).then_some(());
    service.until("a read that waits for the lock", reads).await;
    line.becomes(Condition::Forgotten);
    open.commit().await.unwrap();
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.last_error), (1, None));
}

/// As an application is kept out while its database is restored or upgraded.
#[tokio::test]
async fn database_that_lets_nobody_in_is_waited_for_at_the_start_and_under_a_deletion() {
    let server = Server::shared();
    let ground = Ground::on(server).await;
    let tenant = ground.tenant(7, 400).await;
    let shut = async |closed: bool| {
        let database = &ground.database;
        server.run("postgres", &format!("alter database {database} allow_connections {}", !closed)).await;
        let end =
            format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'");
        if closed {
            server.run("postgres", &end).await;
        }
    };
    let start = ground.service().set("TIKKUN_DELETION__THROTTLE", "30ms");
    let mut service = start.set("TIKKUN_DELETION__MAX_FAILURES", "2").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 40).await;
    shut(true).await;
    service.says("⏳ [RECEIPTS_DELETE] Backing off 4s after 2 failures").await;
    let health = service.get("/api/jobs/health").expect(500).json();
    assert!(health["unreachable"].as_array().unwrap().contains(&"database".into()), "{health}");
    let mut next = ground.service().spawn();
    next.until("a start that waits", async |next| next.lines("[START] Backing off").first().cloned()).await;
    shut(false).await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.last_error), (1, None));
    next.until("`tikkun serves`", async |next| next.address()).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_transaction_that_the_server_ends_for_its_idleness_comes_again_smaller_and_spends_no_failure() {
    let server = Server::shared();
    let ground = Ground::on(server).await;
    let tenant = ground.tenant(7, 100).await;
    ground
        .run(&format!("alter database {} set idle_in_transaction_session_timeout = '2s'", ground.database))
        .await;
    let start = ground.service().set("TIKKUN_DELETION__MAX_FAILURES", "1");
    let mut service = start.failing("deletion.after_mark=1*sleep(4000)->off").start().await;
    let job = service.delete_all(7);
    service.says("Processing batch: 10 receipts").await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.last_error), (1, None));
    assert!(service.lines("Backing off").is_empty());
}

#[tokio::test]
async fn database_that_has_become_read_only_is_unhealthy_and_not_ready() {
    let server = Server::start();
    let ground = Ground::on(&server).await;
    let mut service = ground.service().start().await;
    let well = async |service: &Service| {
        let healthy = service.get("/api/jobs/health").status == 200 && service.get("/readyz").status == 200;
        healthy.then_some(())
    };
    service.until("a service that is well", well).await;
    // For the connections that are open, too.
    ground.run("alter system set default_transaction_read_only = on").await;
    ground.run("select pg_reload_conf()").await;
    let refused = async |service: &Service| {
        let answer = service.get("/api/jobs/health");
        (answer.status == 500 && answer.json()["refuses_writes"]["database"].is_string()).then_some(())
    };
    service.until("a service that says so", refused).await;
    service.get("/readyz").expect(503);
    service.get("/healthz").expect(200);
    ground.run("alter system reset default_transaction_read_only").await;
    ground.run("select pg_reload_conf()").await;
    service.until("a service that is well again", well).await;
}

/// The only synchronous standby is away: each commit waits for it, and keeps its locks.
#[tokio::test]
async fn commits_that_wait_for_a_standby_that_is_away_spend_no_failure() {
    let server = Server::start();
    let ground = Ground::on(&server).await;
    let tenant = ground.tenant(7, 200).await;
    let start =
        ground.service().set("TIKKUN_DELETION__MAX_FAILURES", "2").set("TIKKUN_DELETION__THROTTLE", "50ms");
    let start = start.set("TIKKUN_STORE__LOCK_TIMEOUT", "300ms").set("TIKKUN_STORE__STATEMENT_TIMEOUT", "2s");
    let mut service = start.set("TIKKUN_STORE__MAX_CONNECTIONS", "40").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground.run("alter system set synchronous_standby_names = 'away'").await;
    // As a session has it whose commit waits.
    let mut other = ground.connect().await;
    sqlx::raw_sql("begin; select from background_jobs for update").execute(&mut other).await.unwrap();
    ground.run("select pg_reload_conf()").await;
    service.says("⏳ [RECEIPTS_DELETE] Backing off 4s after 2 failures").await;
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    ground.run("alter system reset synchronous_standby_names").await;
    ground.run("select pg_reload_conf()").await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.last_error), (1, None), "the attempt outlived the outage");
    assert!(service.lines("the next one is smaller").is_empty(), "a smaller batch would wait as well");
}

/// As PostgreSQL refuses whatever needs another page: a test write of one row still finds room.
const FULL: &str = "create function full_disk() returns trigger language plpgsql as $$ begin
        raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
    end $$;
    create trigger full_disk before update on receipts for each row execute function full_disk()";

/// Its next batch would come in up to half a minute, and there is none.
#[tokio::test]
async fn batch_of_a_deletion_that_is_over_is_held_against_nobody() {
    let ground = Ground::new().await;
    ground.tenant(7, 100).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "100ms").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground.run(FULL).await;
    service.says("⏳ [RECEIPTS_DELETE] Backing off 8s after 3 failures").await;
    service.get("/readyz").expect(503);
    let canceled = Instant::now();
    ground.run(&format!("update background_jobs set status = 'cancelled' where id = {job}")).await;
    let ready = async |service: &Service| (service.get("/readyz").status == 200).then_some(());
    service.until("a service that is ready again", ready).await;
    // As it is promised of the end of any trouble.
    assert!(canceled.elapsed() < Duration::from_secs(30), "{:?}", canceled.elapsed());
}

#[tokio::test]
async fn batches_that_find_no_room_on_the_disk_are_unhealthy_and_not_ready_until_one_is_committed() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 100).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "100ms").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    ground.run(FULL).await;
    let refused = |service: &Service| {
        let answer = service.get("/api/jobs/health");
        let health = answer.json();
        let why = health["refuses_writes"]["database"].as_str();
        answer.status == 500 && why.is_some_and(|why| why.contains("No space left on device"))
    };
    service.until("a health with the reason", async |service| refused(service).then_some(())).await;
    // From one try to the next, and not only right after each.
    for wait in ["4s after 2 failures", "8s after 3 failures"] {
        assert!(refused(&service), "{}", service.get("/api/jobs/health").json());
        assert_eq!(service.get("/readyz").expect(503).json()["status"], "writes refused");
        service.get("/healthz").expect(200);
        service.says(&format!("⏳ [RECEIPTS_DELETE] Backing off {wait}")).await;
    }
    assert!(refused(&service), "{}", service.get("/api/jobs/health").json());
    ground.run("drop function full_disk cascade").await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 1, "the attempt outlived the full disk");
    let well = async |service: &Service| {
        let healthy = service.get("/api/jobs/health").status == 200 && service.get("/readyz").status == 200;
        healthy.then_some(())
    };
    service.until("a service that is well again", well).await;
    assert_eq!(service.restarts(), 0);
}
