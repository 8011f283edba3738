//! A service that starts before its database waits for it, and logs that.

use std::net::SocketAddr;

use super::client::{self, Answer};
use super::ground::Ground;
use super::process::{Process, SECRET, Service};
use super::server::Server;

/// Where the process is seen while it waits.
async fn waits(process: &mut Process) -> SocketAddr {
    let address = |line: &String| line.split_once("address=")?.1.split_whitespace().next()?.parse().ok();
    let what = "`tikkun waits for its back ends`";
    process.until(what, async |process| process.lines("tikkun waits").first().and_then(address)).await
}

fn get(process: &Process, at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    client::try_call(at, "GET", path, headers)
        .unwrap_or_else(|| panic!("no answer to {path}; the log's end:\n{}", process.tail()))
}

#[tokio::test]
async fn service_waits_for_a_database_that_comes_up_later() {
    let server = Server::start();
    let ground = Ground::on(&server).await;
    let tenant = ground.tenant(7, 60).await;
    server.stop();
    let mut process = ground.service().spawn();
    let address = waits(&mut process).await;
    get(&process, address, "/healthz", &[]).expect(200);
    for probe in ["/startupz", "/readyz"] {
        let told = get(&process, address, probe, &[]).expect(503).json();
        assert_eq!(told["status"], "starting");
        assert!(told["why"].as_str().unwrap().contains("a back end is out of reach"), "{told}");
    }
    get(&process, address, "/api/jobs/health", &[]).expect(401);
    let page = get(&process, address, "/api/v1/session", &[]).expect(503).json();
    assert_eq!(page["code"], "starting", "an open page waits and signs nobody out");
    assert!(!page["detail"].as_str().unwrap().contains("database"), "{page}");
    for line in ["⏳ [START] Backing off 2s after 1 failures", "⏳ [START] Backing off 4s after 2 failures"]
    {
        process.until(line, async |process| process.lines(line).first().cloned()).await;
    }
    let told =
        get(&process, address, "/api/jobs/health", &[("X-Internal-Secret", SECRET)]).expect(503).json();
    assert_eq!(told["code"], "starting");
    assert!(told["message"].as_str().unwrap().contains("cannot open the database"), "{told}");
    server.start_again();
    let served = process.until("`tikkun serves`", async |process| process.address()).await;
    assert_eq!(served, address, "one socket from the first to the last");
    let mut service = Service { process, address };
    assert_eq!(service.lines("✓ [START] Opened (recovered!)").len(), 1);
    service
        .until("readiness", async |service| (service.call("GET", "/readyz", &[]).status == 200).then_some(()))
        .await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn service_that_waits_leaves_when_it_is_told_to() {
    let server = Server::start();
    let ground = Ground::on(&server).await;
    server.kill();
    let mut process = ground.service().spawn();
    waits(&mut process).await;
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.exited().await.code(), Some(0), "{}", process.tail());
    assert!(process.lines("tikkun serves").is_empty());
}

#[tokio::test]
async fn mistakes_in_the_address_end_the_start_at_once() {
    let ground = Ground::new().await;
    let wrong = [
        ground.server.url("no_such_database"),
        ground.server.url(&ground.database).replacen("tikkun@", "nobody_here@", 1),
    ];
    for url in wrong {
        let mut process = ground.service().set("DATABASE_URL", &url).spawn();
        assert_eq!(process.exited().await.code(), Some(1), "{}", process.tail());
        assert_eq!(process.lines("check DATABASE_URL").len(), 1, "{}", process.tail());
        assert!(process.lines("Backing off").is_empty(), "{}", process.tail());
    }
}
