//! A back end that cannot be reached for a while is waited for: nothing is lost, and nothing starts over.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use super::client;
use super::ground::Ground;
use super::process::{SECRET, Service};

#[tokio::test]
async fn restart_storm_a_locked_database_is_waited_for_and_spends_no_restart() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 100).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "100ms").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    let lock = ground.lock("tikkun.db").await;
    service.says("⏳ [RECEIPTS_DELETE] Backing off 2s after 1 failures").await;
    service.call("GET", "/healthz", &[]).expect(200);
    lock.release().await;
    service.says("✓ [RECEIPTS_DELETE] Batch complete (recovered!)").await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 1, "the attempt outlived the outage");
    assert_eq!(ground.carrier_ended(&mut service, job).await.failures, 0);
    assert_eq!(service.restarts(), 0);
    service.until("readiness", async |service| (service.get("/readyz").status == 200).then_some(())).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn tracker_that_panics_during_an_outage_begins_again_alone() {
    let ground = Ground::new().await;
    let (first, second) = (ground.tenant(7, 100).await, ground.tenant(20, 40).await);
    let start = ground.service().set("TIKKUN_DELETION__THROTTLE", "200ms");
    let mut service = start.failing("status_tracker.begin=1*off->1*panic").start().await;
    let jobs = (service.delete_all(7), ground.plain_row(&second).await);
    ground.processed(&mut service, jobs.0, 20).await;
    let lock = ground.lock("tikkun.db").await;
    ground.enqueue("second", jobs.1).await;
    service.says("actor failed; it begins again").await;
    service.says("a batch cannot be deleted now error=\"begin a deletion batch").await;
    assert!(!service.lines("⏳ [RECEIPTS_DELETE] Backing off 2s after 1 failures").is_empty());
    lock.release().await;
    service.says("✓ [RECEIPTS_DELETE] Batch complete (recovered!)").await;
    let rows = (
        ground.becomes(&mut service, jobs.0, "completed").await,
        ground.becomes(&mut service, jobs.1, "completed").await,
    );
    ground.drained(&mut service).await;
    ground.is_deleted(&first, &rows.0).await;
    ground.is_deleted(&second, &rows.1).await;
    assert_eq!(service.role("status_tracker")["restarts"], 1);
    assert_eq!(service.restarts(), 1, "nobody else begins again");
}

#[tokio::test]
async fn storage_out_of_reach_rows_go_on_and_objects_follow_when_it_is_back() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().start().await;
    let away = ground.path().join("unmounted");
    fs::rename(ground.attachments(), &away).unwrap();
    let job = service.delete_all(7);
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.succeeded, row.failed_count), (60, 0), "the receipts do not wait for the storage");
    let waiting = ground.number("select count(*) from tikkun_cleanup_outbox").await;
    assert!(waiting > 0);
    let health = service.health();
    assert_eq!(health["cleanup_pending"]["pending"], waiting, "{health}");
    fs::rename(&away, ground.attachments()).unwrap();
    ground.completed(&mut service, job, &tenant).await;
    assert_eq!(service.restarts(), 0);
}

/// What is at the path then is the empty folder that the disk is to be mounted on.
#[tokio::test]
async fn disk_that_is_not_mounted_when_the_service_starts_costs_no_object() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let away = ground.path().join("unmounted");
    fs::rename(ground.attachments(), &away).unwrap();
    fs::create_dir(ground.attachments()).unwrap();
    let mut service = ground.service().start().await;
    let job = service.delete_all(7);
    ground.becomes(&mut service, job, "completed").await;
    let waits = "select count(*) from tikkun_cleanup_outbox where last_error like '%may not be mounted%'";
    service.until("objects that wait", async |_| (ground.number(waits).await > 0).then_some(())).await;
    fs::remove_dir(ground.attachments()).unwrap();
    fs::rename(&away, ground.attachments()).unwrap();
    ground.completed(&mut service, job, &tenant).await;
}

/// As a network disk does whose server is gone, or one that is frozen for a backup: it refuses nothing.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn start_that_a_hanging_disk_holds_up_says_so_and_goes_on() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut process = ground.service().failing("directory.open=1*sleep(12000)").spawn();
    let address = |line: &String| line.split_once("address=")?.1.split_whitespace().next()?.parse().ok();
    let what = "`tikkun waits for its back ends`";
    let at: SocketAddr =
        process.until(what, async |process| process.lines("tikkun waits").first().and_then(address)).await;
    let why = "cannot open the attachments yet: no answer for 5s";
    process.until(why, async |process| process.lines(why).first().cloned()).await;
    let told = client::try_call(at, "GET", "/api/jobs/health", &[("X-Internal-Secret", SECRET)]).unwrap();
    let told = told.expect(503).json();
    assert!(told["message"].as_str().unwrap().contains(why), "{told}");
    let address = process.until("`tikkun serves`", async |process| process.address()).await;
    let mut service = Service { process, address };
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
}

/// A network disk that is mounted late, and gets another device number when it is mounted again. It is one that this
/// test may mount: files of another folder, under the name of a server.
#[tokio::test]
async fn network_disk_that_is_mounted_again_is_the_same_and_that_of_another_server_is_not() {
    let may = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status().unwrap();
    if !may.success() {
        return;
    }
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    ground.tenant(8, 60).await;
    for name in ["lower", "work", "mounted", "other"] {
        fs::create_dir(ground.path().join(name)).unwrap();
    }
    let start = ground
        .service()
        .set("TIKKUN_ATTACHMENTS__FOLDER", ground.path().join("mounted").to_str().unwrap())
        .under(&["/usr/bin/unshare", "--map-root-user", "--mount"]);
    let mut service = start.start().await;
    let pid = service.process.pid().to_string();
    let run = |before: &str, server: &str| {
        let script = format!(
            "{before}; cd {}; mount -t overlay {server}:/export -o lowerdir=lower,upperdir=attachments,workdir=work mounted",
            ground.path().display()
        );
        let enter =
            ["--target", &pid, "--user", "--mount", "--preserve-credentials", "/bin/sh", "-ec", &script];
        assert!(Command::new("nsenter").args(enter).status().unwrap().success());
    };
    // The other file system takes the device number that becomes free.
    let path = ground.path().display();
    let unmount = format!("umount {path}/mounted; mount -t tmpfs none {path}/other");
    let waits =
        |why: &str| format!("select count(*) from tikkun_cleanup_outbox where last_error like '%{why}%'");
    let job = service.delete_all(7);
    ground.becomes(&mut service, job, "completed").await;
    let some = waits("may not be mounted");
    service.until("objects that wait", async |_| (ground.number(&some).await > 0).then_some(())).await;
    run("true", "files");
    ground.drained(&mut service).await;
    ground.is_consistent().await;
    run(&unmount, "others");
    let job = service.delete_all(8);
    ground.becomes(&mut service, job, "completed").await;
    let some = waits("another disk is mounted");
    service.until("objects that wait", async |_| (ground.number(&some).await > 0).then_some(())).await;
    run(&unmount, "files");
    ground.drained(&mut service).await;
    ground.is_consistent().await;
}

#[tokio::test]
async fn zombie_consumer_fetches_on_after_the_queue_was_out_of_reach() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let row = ground.plain_row(&tenant).await;
    let mut service = ground.service().start().await;
    let lock = ground.lock("queue.db").await;
    // Somebody enqueues as soon as the queue can be written to: the listeners must notice by themselves.
    service.says("the scheduler cannot reach the broker; waiting").await;
    service.call("GET", "/healthz", &[]).expect(200);
    lock.release().await;
    ground.enqueue("entry", row).await;
    ground.completed(&mut service, row, &tenant).await;
    assert_eq!(service.restarts(), 0);
    service.until("readiness", async |service| (service.get("/readyz").status == 200).then_some(())).await;
}

#[tokio::test]
async fn settlement_waits_out_an_outage_of_the_queue() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "500ms").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    let lock = ground.lock("queue.db").await;
    ground.completed(&mut service, job, &tenant).await;
    service.says("broker does not serve the queue; waiting").await;
    assert_eq!(ground.carrier(job).await.state, "started", "its end is not written yet");
    lock.release().await;
    let entry = ground.carrier_ended(&mut service, job).await;
    assert_eq!((entry.state.as_str(), entry.attempt, entry.failures), ("finished", 1, 0));
    assert_eq!(service.restarts(), 0);
}

#[tokio::test]
async fn request_that_cannot_be_enqueued_does_not_block_the_next_try() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 40).await;
    let start = ground.service().set("TIKKUN_HTTP__REQUEST_TIMEOUT", "4s");
    let mut service = start.start().await;
    let lock = ground.lock("queue.db").await;
    let answer = service.owner(7, "POST", "/api/receipts/delete_all").expect(503);
    assert_eq!(answer.json()["code"], "unavailable");
    assert!(answer.header("Retry-After").is_some(), "{answer:?}");
    let active = "select count(*) from background_jobs where status in ('queued', 'running', 'paused')";
    assert_eq!(ground.number(active).await, 0, "nothing blocks the next try");
    lock.release().await;
    let job = service.delete_all(7);
    ground.completed(&mut service, job, &tenant).await;
}
