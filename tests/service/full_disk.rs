//! A disk that is full for a while: everything waits, logs it and continues; nothing is lost or blamed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tikkun::job::{Args, NewJob};
use tikkun::store::{Schema, open_sqlite};

use super::ground::Ground;
use super::process::{Service, Start};
use crate::lost_redis::place::size;
use crate::servers::copy_on_write_disk::CopyOnWriteDisk;
use crate::servers::small_disk::{self, SmallDisk};

/// Of a disk that is filled: a new folder's files, and little more.
const SIZE: &str = "10m";

/// What the service's files lie on.
enum Disk {
    /// One of its own, so small that it can be filled.
    Small(SmallDisk),
    /// Any: the service's process may not make files longer. For those who may not mount.
    Limited,
    /// Any: files may be opened for reading alone, and none made longer, as after `errors=remount-ro`.
    ReadOnly { folder: PathBuf },
    /// One of its own, on which also a write in the middle of a file needs room.
    CopyOnWrite(CopyOnWriteDisk),
}

impl Disk {
    /// One of its own, where that is allowed.
    fn small(folder: &Path) -> Self {
        SmallDisk::over(folder, SIZE).map_or(Self::Limited, Self::Small)
    }

    /// One that can be made read-only, where that is allowed.
    fn read_only(folder: &Path) -> Option<Self> {
        let disk = Self::ReadOnly { folder: folder.to_owned() };
        disk.covers().then_some(disk)
    }

    /// Whether the folder could be laid over itself, read-only.
    fn covers(&self) -> bool {
        let Self::ReadOnly { folder } = self else { return false };
        let mount = |words: &[&str]| Command::new("mount").args(words).arg(folder).status();
        let path = folder.to_str().unwrap();
        let done = |status: std::io::Result<ExitStatus>| status.is_ok_and(|status| status.success());
        // What somebody has opened for writing in between cannot become read-only.
        (0..20).any(|_| {
            let is_covered = done(mount(&["--bind", path]));
            let is_read_only = is_covered && done(mount(&["-o", "remount,ro,bind"]));
            if is_covered && !is_read_only {
                small_disk::unmount(folder);
            }
            is_read_only
        })
    }

    fn start(&self, start: Start) -> Start {
        match self {
            Self::Small(_) | Self::CopyOnWrite(_) => start,
            // The signal that comes with the refusal would end the process.
            Self::Limited | Self::ReadOnly { .. } => {
                start.under(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"])
            }
        }
    }

    /// Leaves no room. What is returned must be held as long as it shall be so.
    async fn fill(&self, service: &Service, ground: &Ground) -> Vec<SqliteConnection> {
        match self {
            Self::Small(disk) => return without_logs(disk, ground).await,
            Self::Limited => limit(service, "1:"),
            Self::ReadOnly { .. } => {
                assert!(self.covers());
                limit(service, "1:");
            }
            Self::CopyOnWrite(disk) => disk.fill(),
        }
        Vec::new()
    }

    fn make_room(&self, service: &Service, readers: Vec<SqliteConnection>) {
        drop(readers);
        match self {
            Self::Small(disk) => disk.make_room(),
            Self::Limited => limit(service, "unlimited:"),
            Self::ReadOnly { .. } => {
                self.is_writable_again();
                limit(service, "unlimited:");
            }
            Self::CopyOnWrite(disk) => disk.make_room(),
        }
    }

    fn is_writable_again(&self) {
        if let Self::ReadOnly { folder } = self {
            small_disk::unmount(folder);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.is_writable_again();
    }
}

/// Fills a disk and the logs of both files. Whoever reads them keeps SQLite from beginning them anew, as a backup does;
/// else the service would go on in their room.
async fn without_logs(disk: &SmallDisk, ground: &Ground) -> Vec<SqliteConnection> {
    disk.fill();
    let mut readers = Vec::new();
    for name in ["queue.db", "tikkun.db"] {
        let mut reader = ground.connect(name).await;
        sqlx::raw_sql("begin; select count(*) from sqlite_schema").execute(&mut reader).await.unwrap();
        readers.push(reader);
        let mut writer = ground.connect(name).await;
        while sqlx::raw_sql("pragma user_version = 1; pragma user_version = 0")
            .execute(&mut writer)
            .await
            .is_ok()
        {}
    }
    readers
}

/// Sets how long a file of the service may become.
fn limit(service: &Service, size: &str) {
    let pid = service.process.pid().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}")]).status().unwrap();
    assert!(done.success());
}

fn sleeping(id: &str) -> NewJob {
    NewJob::new(id, "default", "tikkun.sleep", Args::positional([json!(1.0)]))
}

/// Waits until the service says that neither back end takes writes, in every way it has.
pub async fn refuses_writes(service: &mut Service) {
    let both =
        |health: &Value| ["broker", "database"].iter().all(|name| health["refuses_writes"][name].is_string());
    let unhealthy = async |service: &Service| {
        let answer = service.get("/api/jobs/health");
        (answer.status == 500).then(|| answer.json()).filter(both)
    };
    let health = service.until("a health that names both back ends", unhealthy).await;
    assert_eq!(health["status"], "unhealthy");
    let ready = service.call("GET", "/readyz", &[]).expect(503);
    assert_eq!(ready.json()["status"], "writes refused");
    service.call("GET", "/healthz", &[]).expect(200);
    // The page's state is read twice a second.
    let board = async |service: &Service| {
        let board = service.get("/api/v1/overview").expect(200).json();
        (board["overview"]["status"] == "unhealthy").then_some(())
    };
    service.until("a page that says so", board).await;
}

pub async fn takes_writes(service: &mut Service) {
    service
        .until("a service that is well", async |service| {
            let well = service.health()["status"] == "healthy" && service.get("/readyz").status == 200;
            well.then_some(())
        })
        .await;
    assert_eq!(service.restarts(), 0, "nobody began again");
}

async fn ride_out(disk: Disk, folder: tempfile::TempDir) {
    let ground = Ground::in_folder(folder).await;
    let tenant = ground.tenant(7, 200).await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").set("TIKKUN_WORKER__SLOTS", "4");
    // The lease runs out while the disk is full, and nobody may take the jobs for that.
    let start = start.set("TIKKUN_LEASE__TTL", "2s").set("TIKKUN_LEASE__RENEW", "500ms");
    let mut service = disk.start(start.set("TIKKUN_DELETION__THROTTLE", "100ms")).start().await;
    let row = service.delete_all(7);
    ground.processed(&mut service, row, 20).await;
    let ids: Vec<_> = (0..8).map(|at| format!("sleeping-{at}")).collect();
    let jobs: Vec<_> = ids.iter().map(|id| sleeping(id)).collect();
    ground.broker().await.enqueue(&jobs).await.unwrap();
    service.says("JOB PICKED queue='default' job_id=sleeping-0").await;

    let readers = disk.fill(&service, &ground).await;
    service.says("broker does not serve the queue; waiting").await;
    service.says("the lease has run out and cannot be renewed").await;
    refuses_writes(&mut service).await;
    let full = Instant::now();
    while full.elapsed() < Duration::from_secs(size("FULL_DISK_SECONDS", 2)) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        refuses_writes(&mut service).await;
    }

    disk.make_room(&service, readers);
    service
        .until("the end of every job", async |_| {
            let entries = ground.entries().await;
            let ended =
                |id: &String| entries.iter().any(|entry| entry.id == *id && entry.state == "finished");
            ids.iter().all(ended).then_some(())
        })
        .await;
    for entry in ground.entries().await.into_iter().filter(|entry| entry.queue == "default") {
        let all = (entry.attempt, entry.failures, entry.orphaned, entry.error);
        assert_eq!(all, (1, 0, 0, None), "{} ran once, and nothing is held against it", entry.id);
    }
    ground.completed(&mut service, row, &tenant).await;
    takes_writes(&mut service).await;
    drop((service, ground));
    drop(disk);
}

/// An idle service is wedged as easily as a busy one: it writes its lease.
async fn ride_out_idle(disk: Disk, folder: tempfile::TempDir) {
    let ground = Ground::in_folder(folder).await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let start = start.set("TIKKUN_LEASE__TTL", "2s").set("TIKKUN_LEASE__RENEW", "500ms");
    let mut service = disk.start(start).start().await;
    takes_writes(&mut service).await;
    for round in 0..3 {
        let readers = disk.fill(&service, &ground).await;
        refuses_writes(&mut service).await;
        disk.make_room(&service, readers);
        takes_writes(&mut service).await;
        let id = format!("after-{round}");
        ground.broker().await.enqueue(&[sleeping(&id)]).await.unwrap();
        service.says(&format!("JOB PICKED queue='default' job_id={id}")).await;
    }
    drop((service, ground));
    drop(disk);
}

/// Whoever is told to leave on a full disk leaves, whoever starts on one is no mistake, and nothing is lost by either.
#[tokio::test]
async fn service_leaves_and_starts_on_a_full_disk() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), SIZE) else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let tenant = ground.tenant(7, 200).await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let start = start.set("TIKKUN_DELETION__THROTTLE", "100ms").set("TIKKUN_SERVICE__DRAIN_TIMEOUT", "5s");
    let mut service = start.start().await;
    let row = service.delete_all(7);
    ground.processed(&mut service, row, 20).await;
    let readers = without_logs(&disk, &ground).await;
    refuses_writes(&mut service).await;
    assert_eq!(service.terminate().await, Some(0));
    // What the end of the first has made room for is taken as well.
    drop(readers);
    disk.fill();
    let mut early = start.spawn();
    let ended = early
        .until("a service that serves or ends", async |early| {
            early.ended().map(|status| status.code()).or_else(|| early.address().map(|_| None))
        })
        .await;
    assert_ne!(ended, Some(2), "a service manager starts it again");
    drop(early);
    disk.make_room();
    let mut next = start.start().await;
    ground.completed(&mut next, row, &tenant).await;
    takes_writes(&mut next).await;
    drop((service, next, ground));
    drop(disk);
}

/// Room comes and goes many times while a deletion runs: each batch is whole or not at all.
#[tokio::test]
async fn disk_that_fills_again_and_again_costs_nothing_but_time() {
    let mount = tempfile::tempdir().unwrap();
    let disk = Disk::small(mount.path());
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let tenant = ground.tenant(7, 400).await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let start = start.set("TIKKUN_DELETION__BATCH", "5").set("TIKKUN_DELETION__THROTTLE", "20ms");
    let mut service = disk.start(start).start().await;
    let row = service.delete_all(7);
    ground.processed(&mut service, row, 20).await;
    for round in 0..12_u64 {
        let readers = disk.fill(&service, &ground).await;
        // Each time at another moment of a batch.
        tokio::time::sleep(Duration::from_millis(37 * round % 290)).await;
        disk.make_room(&service, readers);
        tokio::time::sleep(Duration::from_millis(53 * round % 190)).await;
    }
    ground.completed(&mut service, row, &tenant).await;
    takes_writes(&mut service).await;
    drop((service, ground));
    drop(disk);
}

#[tokio::test]
async fn full_disk_is_waited_out_and_said() {
    let mount = tempfile::tempdir().unwrap();
    let disk = Disk::small(mount.path());
    ride_out(disk, tempfile::tempdir_in(mount.path()).unwrap()).await;
}

#[tokio::test]
async fn disk_that_refuses_every_write_is_waited_out_and_said() {
    ride_out(Disk::Limited, tempfile::tempdir().unwrap()).await;
}

#[tokio::test]
async fn idle_service_goes_on_after_every_full_disk() {
    let mount = tempfile::tempdir().unwrap();
    let disk = Disk::small(mount.path());
    ride_out_idle(disk, tempfile::tempdir_in(mount.path()).unwrap()).await;
}

/// SQLite maps a file into memory, and a store into it that finds no room ends the process.
#[tokio::test]
async fn full_disk_that_copies_on_write_is_waited_out_and_said() {
    ride_out_copying(false).await;
}

#[tokio::test]
async fn idle_service_goes_on_after_every_full_disk_that_copies_on_write() {
    ride_out_copying(true).await;
}

async fn ride_out_copying(idle: bool) {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = CopyOnWriteDisk::over(mount.path()) else { return };
    let folder = tempfile::tempdir_in(mount.path()).unwrap();
    // As in use, Tikkun makes what lies beside the database, and not this test when it looks into it.
    let store = open_sqlite(&folder.path().join("tikkun.db"), Schema::Migrate).await.unwrap();
    let disk = Disk::CopyOnWrite(disk);
    if idle {
        ride_out_idle(disk, folder).await
    } else {
        ride_out(disk, folder).await
    }
    drop(store);
}

/// As Linux does with a disk that makes errors: what is opened meanwhile cannot write, also when the disk can again.
#[tokio::test]
async fn disk_that_was_read_only_for_a_while_is_waited_out_and_said() {
    for idle in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let Some(disk) = Disk::read_only(folder.path()) else { return };
        disk.is_writable_again();
        if idle { ride_out_idle(disk, folder).await } else { ride_out(disk, folder).await }
    }
}

#[tokio::test]
async fn doctor_names_the_disk_and_does_not_say_that_nobody_lives() {
    let mount = tempfile::tempdir().unwrap();
    let disk = Disk::small(mount.path());
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let mut service = disk.start(ground.service()).start().await;
    takes_writes(&mut service).await;
    let _readers = disk.fill(&service, &ground).await;
    refuses_writes(&mut service).await;
    // Whoever may not mount limits the doctor as well.
    let limited = matches!(disk, Disk::Limited);
    let wrapper = if limited { "trap '' XFSZ; ulimit -f 0; exec \"$@\"" } else { "exec \"$@\"" };
    let doctor = Command::new("sh")
        .args(["-c", wrapper, "sh", env!("CARGO_BIN_EXE_tikkun"), "doctor", "--data"])
        .arg(ground.path())
        .output()
        .unwrap();
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("queue_unreachable") && said.contains("database_unreachable"), "{said}");
    assert!(said.contains("full") || said.contains("disk I/O error"), "{said}");
    assert!(!said.contains("no process lives"), "{said}");
    drop((service, ground));
    drop(disk);
}

/// Whoever writes on into a file that was removed does work that nobody will ever see.
#[tokio::test]
async fn file_that_is_removed_under_the_service_takes_no_more_work_and_goes_on_when_it_is_back() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 200).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "100ms").start().await;
    let row = service.delete_all(7);
    ground.processed(&mut service, row, 20).await;
    let files = ["queue.db", "tikkun.db"]
        .map(|name| (ground.path().join(name), ground.path().join("away").join(name)));
    fs::create_dir(ground.path().join("away")).unwrap();
    for (here, away) in &files {
        fs::rename(here, away).unwrap();
    }
    refuses_writes(&mut service).await;
    service.says("was removed, or another put in its place").await;
    for (here, away) in &files {
        assert!(!here.exists(), "nothing is made in its place");
        fs::rename(away, here).unwrap();
    }
    ground.completed(&mut service, row, &tenant).await;
    takes_writes(&mut service).await;
}

/// As with a backup tool or a shell: while somebody reads, the log of a file only grows, until it fills the disk.
#[tokio::test]
async fn disk_that_a_log_has_filled_is_left_as_soon_as_nobody_holds_the_log() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), "96m").map(Disk::Small) else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let tenant = ground.tenant(7, 200).await;
    let start = ground.service().set("TIKKUN_DELETION__THROTTLE", "500ms");
    let start = start.set("TIKKUN_LEASE__TTL", "2s").set("TIKKUN_LEASE__RENEW", "100ms");
    let mut service = start.start().await;
    let row = service.delete_all(7);
    ground.processed(&mut service, row, 20).await;
    let mut readers = Vec::new();
    for name in ["tikkun.db", "queue.db"] {
        let mut writer = ground.connect(name).await;
        let fill = "update filling set bytes = randomblob(2000000)";
        // With pages to spare: what makes the file longer could not be copied into it on a full disk.
        let before = format!(
            "create table filling (bytes blob); insert into filling values (0); {fill}; \
             create table spare as select randomblob(1000000) as bytes; drop table spare; pragma wal_checkpoint(passive)"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(before)).execute(&mut writer).await.unwrap();
        let mut reader = ground.connect(name).await;
        sqlx::raw_sql("begin; select count(*) from filling").execute(&mut reader).await.unwrap();
        for _ in 0..18 {
            sqlx::raw_sql(fill).execute(&mut writer).await.unwrap();
        }
        readers.push(reader);
    }
    let full = disk.fill(&service, &ground).await;
    refuses_writes(&mut service).await;
    drop((readers, full));
    ground.completed(&mut service, row, &tenant).await;
    takes_writes(&mut service).await;
    drop((service, ground));
    drop(disk);
}

/// The log takes what is left, and then nothing is committed after which SQLite would copy it.
#[tokio::test]
async fn nearly_full_disk_has_room_enough_for_what_adds_nothing() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), SIZE) else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let mut service = ground.service().set("TIKKUN_LEASE__RENEW", "100ms").start().await;
    takes_writes(&mut service).await;
    let renewals = async || {
        let mut queue = ground.connect("queue.db").await;
        let asked = sqlx::query_scalar("select max(renewals) from tikkun_processes");
        asked.fetch_one(&mut queue).await.unwrap()
    };
    let before: i64 = renewals().await;
    disk.fill_but(1 << 17);
    // Each takes two pages of the log at least: four times what is left.
    let enough = async |_: &Service| (renewals().await > before + 64).then_some(());
    service.until("renewals of the lease", enough).await;
    drop((service, ground));
    drop(disk);
}

/// What is kept makes the files longer, so the logs must not have taken the room.
#[tokio::test]
async fn nearly_full_disk_is_left_to_the_files_and_not_to_their_logs() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), "16m") else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let mut service = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true").start().await;
    takes_writes(&mut service).await;
    disk.fill_but(9 << 20);
    let text = "x".repeat(600);
    let job = |number: u32| {
        NewJob::new(format!("kept-{number}"), "default", "tikkun.echo", Args::positional([json!(text)]))
    };
    let jobs: Vec<_> = (0..1000).map(job).collect();
    ground.broker().await.enqueue(&jobs).await.unwrap();
    let all = async |_: &Service| {
        let counts = ground.broker().await.counts().await.unwrap();
        counts.values().all(|one| one.queued + one.started == 0).then_some(())
    };
    service.until("the end of all jobs", all).await;
    takes_writes(&mut service).await;
    drop((service, ground));
    drop(disk);
}

/// A test write finds room in a log, where a request does not.
#[tokio::test]
async fn idle_service_on_a_disk_that_others_have_filled_says_so() {
    let mount = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(mount.path(), SIZE) else { return };
    let ground = Ground::in_folder(tempfile::tempdir_in(mount.path()).unwrap()).await;
    let mut first = ground.service().start().await;
    takes_writes(&mut first).await;
    assert_eq!(first.terminate().await, Some(0));
    let mut service = ground.service().start().await;
    takes_writes(&mut service).await;
    disk.fill();
    for _ in 0..3 {
        refuses_writes(&mut service).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    disk.make_room();
    takes_writes(&mut service).await;
    drop((first, service, ground));
    drop(disk);
}

/// As in a container whose root file system is read-only, or beside programs that fill `/tmp`.
#[tokio::test]
async fn service_needs_no_room_outside_its_data_folder() {
    let elsewhere = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(elsewhere.path(), "64k") else { return };
    let ground = Ground::new().await;
    ground.tenant(7, 2000).await;
    // Objects that stay in the outbox: the more there are, the more pages a batch changes.
    let start = ground.service().set("TIKKUN_DELETION__STORAGE_DELETE", "false");
    let start = start.set("TIKKUN_DELETION__BATCH", "100").set("TIKKUN_DELETION__OUTAGE_LIMIT", "1s");
    // Where SQLite puts its temporary files, before it looks at `/var/tmp` and `/tmp`.
    let mut service = start.set("SQLITE_TMPDIR", elsewhere.path().to_str().unwrap()).start().await;
    disk.fill();
    let row = service.delete_all(7);
    let done = async |_: &Service| {
        let row = ground.row(row).await;
        row.finished_at.is_some().then_some(row)
    };
    let row = service.until("the end of the deletion", done).await;
    assert_eq!((row.status.as_str(), row.succeeded, row.last_error), ("completed", 2000, None));
    takes_writes(&mut service).await;
    drop((service, ground));
    drop(disk);
}
