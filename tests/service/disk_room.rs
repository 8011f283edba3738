//! What counts as room on a disk, and who may take the last of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;
use tikkun::job::{Args, NewJob};
use tikkun::queue::Broker;

use super::full_disk::{refuses_writes, takes_writes};
use super::ground::Ground;
use super::process::Service;
use crate::servers::small_disk::SmallDisk;

/// A job that takes half a second, and about so many bytes of the queue's file.
fn padded(number: usize, bytes: usize) -> NewJob {
    let mut args = Args::positional([json!(0.5)]);
    args.named.insert("padding".to_owned(), json!("x".repeat(bytes)));
    NewJob::new(format!("padded-{number}"), "default", "tikkun.sleep", args)
}

/// One whose result is as long as its arguments.
fn echoing(number: usize, bytes: usize) -> NewJob {
    let args = Args::positional([json!("x".repeat(bytes))]);
    NewJob::new(format!("echoing-{number}"), "default", "tikkun.echo", args)
}

/// Enqueues long jobs, and then shorter ones, numbered from `from`, until none is taken; returns how many were.
async fn enqueue_what_fits(broker: &dyn Broker, from: usize, job: fn(usize, usize) -> NewJob) -> usize {
    let mut accepted = 0;
    for (at_once, bytes) in [(10, 12_000), (1, 3_000), (1, 100)] {
        let mut refusals = 0;
        while refusals < 3 && accepted < 5_000 {
            let numbers = from + accepted..from + accepted + at_once;
            let jobs: Vec<_> = numbers.map(|number| job(number, bytes)).collect();
            match broker.enqueue(&jobs).await {
                Ok(_) => accepted += at_once,
                Err(full) => {
                    assert!(full.chain().contains("full"), "{}", full.chain());
                    refusals += 1;
                }
            }
        }
    }
    accepted
}

/// Longer than the service relies on what it last saw.
async fn stays_well(service: &mut Service) {
    for _ in 0..3 {
        takes_writes(service).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

/// Nobody makes room. The jobs that would make it need some themselves, in order to begin and to end.
#[tokio::test]
async fn jobs_that_have_filled_their_own_disk_are_worked_off() {
    work_off(padded, false).await;
}

/// Results need as much room as arguments, until the oldest are dropped.
#[tokio::test]
async fn jobs_with_results_that_have_filled_their_own_disk_are_worked_off() {
    work_off(echoing, true).await;
}

/// Enqueues until nothing more fits; where the queue is `held` until then, nothing is worked off meanwhile.
async fn work_off(job: fn(usize, usize) -> NewJob, held: bool) {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), "10m") else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").set("TIKKUN_WORKER__SLOTS", "24");
    let mut service = start.set("TIKKUN_RETENTION__MAX_FINISHED", "20").start().await;
    takes_writes(&mut service).await;
    let broker = ground.broker().await;
    if held {
        broker.pause(&"default".into(), "a person").await.unwrap();
    }
    let accepted = enqueue_what_fits(&*broker, 0, job).await;
    assert!(accepted > 100, "{accepted}");
    if held {
        broker.resume(&"default".into()).await.unwrap();
    }
    let ended = async |_: &Service| {
        let counts = broker.counts().await.unwrap();
        counts.values().all(|one| one.queued + one.started == 0).then_some(())
    };
    service.until("the end of all jobs", ended).await;
    for entry in ground.entries().await.into_iter().filter(|entry| entry.queue == "default") {
        let all = (entry.state.as_str(), entry.attempt, entry.failures, entry.orphaned, entry.error);
        assert_eq!(all, ("finished", 1, 0, 0, None), "{} ran once, and nothing is held against it", entry.id);
    }
    // What went has left its pages in the file.
    let again = [job(accepted, 12_000)];
    service.until("room for a new job", async |_: &Service| broker.enqueue(&again).await.ok()).await;
    takes_writes(&mut service).await;
    drop((service, broker, ground));
    drop(disk);
}

#[tokio::test]
async fn last_room_is_refused_to_new_jobs_and_given_to_those_that_are_there() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), "16m") else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let tenant = ground.tenant(7, 20).await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").set("TIKKUN_WORKER__SLOTS", "1");
    let mut service = start.start().await;
    takes_writes(&mut service).await;
    let broker = ground.broker().await;
    let jobs: Vec<_> = (0..4).map(|number| padded(number, 100)).collect();
    broker.enqueue(&jobs).await.unwrap();
    disk.fill_but(3 << 20);
    let refused = broker.enqueue(&[padded(4, 100)]).await.unwrap_err();
    assert!(refused.chain().contains("the disk is full"), "{}", refused.chain());
    let of_the_queue = async |service: &Service| {
        let refuses = service.health()["refuses_writes"].clone();
        (refuses["broker"].is_string() && refuses["database"].is_null()).then_some(())
    };
    service.until("a health that names the queue alone", of_the_queue).await;
    service.get("/readyz").expect(503);
    service.owner(7, "POST", "/api/receipts/delete_all").expect(503);
    let ended = async |_: &Service| {
        let entries = ground.entries().await;
        let count =
            entries.iter().filter(|entry| entry.queue == "default" && entry.state == "finished").count();
        (count == jobs.len()).then_some(())
    };
    service.until("the end of those that are there", ended).await;
    disk.make_room();
    takes_writes(&mut service).await;
    let row = service.delete_all(7);
    ground.completed(&mut service, row, &tenant).await;
    drop((service, broker, ground));
    drop(disk);
}

/// As where the files were moved to a larger disk, and links left in their place.
#[tokio::test]
async fn room_is_that_of_the_disk_to_which_links_lead() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(of_links) = SmallDisk::over(here.path(), "12m") else { return };
    let Some(of_files) = SmallDisk::over(there.path(), "12m") else { return };
    let data = tempfile::tempdir_in(here.path()).unwrap();
    for name in ["queue.db", "tikkun.db"] {
        fs::write(there.path().join(name), "").unwrap();
        symlink(there.path().join(name), data.path().join(name)).unwrap();
    }
    let ground = Ground::in_folder(data).await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    takes_writes(&mut service).await;
    of_links.fill();
    stays_well(&mut service).await;
    ground.broker().await.enqueue(&[padded(0, 100)]).await.unwrap();
    service.says("JOB PICKED queue='default' job_id=padded-0").await;
    of_links.make_room();
    of_files.fill();
    refuses_writes(&mut service).await;
    of_files.make_room();
    takes_writes(&mut service).await;
    drop((service, ground));
    drop((of_links, of_files));
}

/// The service's files are there already.
#[tokio::test]
async fn disk_that_takes_no_more_files_is_not_full() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), "16m,nr_inodes=256") else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let tenant = ground.tenant(7, 40).await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    takes_writes(&mut service).await;
    let files = (0..).take_while(|number| fs::File::create(mount.path().join(format!("{number}"))).is_ok());
    assert!(files.count() < 256);
    stays_well(&mut service).await;
    ground.broker().await.enqueue(&[padded(0, 100)]).await.unwrap();
    service.says("JOB PICKED queue='default' job_id=padded-0").await;
    let row = service.delete_all(7);
    ground.completed(&mut service, row, &tenant).await;
    drop((service, ground));
    drop(disk);
}

/// A file does not become shorter by what goes.
#[tokio::test]
async fn free_pages_of_a_file_are_room() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), "16m") else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let broker = ground.broker().await;
    let first: Vec<_> = (0..500).map(|number| padded(number, 12_000)).collect();
    for some in first.chunks(10) {
        broker.enqueue(some).await.unwrap();
    }
    let mut queue = ground.connect("queue.db").await;
    sqlx::raw_sql("delete from tikkun_jobs").execute(&mut queue).await.unwrap();
    disk.fill_but(300 << 10);
    broker.prove().await.unwrap();
    let some: Vec<_> = (0..10).map(|number| padded(500 + number, 30_000)).collect();
    broker.enqueue(&some).await.unwrap();
    let more = enqueue_what_fits(&*broker, 510, padded).await;
    assert!(more > 100, "{more}");
    // Others do not ask.
    let filling = "pragma wal_autocheckpoint = 1; create table filling (bytes blob)";
    sqlx::raw_sql(filling).execute(&mut queue).await.unwrap();
    let fill = "insert into filling values (zeroblob(100000))";
    while sqlx::raw_sql(fill).execute(&mut queue).await.is_ok() {}
    let full = broker.prove().await.unwrap_err();
    assert!(full.chain().contains("the disk is full"), "{}", full.chain());
    drop((broker, ground));
    drop(disk);
}
