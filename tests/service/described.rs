//! A described deletion in the whole service: processes that are killed in the middle of it, and descriptions that do not
//! fit the tables.

use std::path::{Path, PathBuf};

use serde_json::json;
use tikkun::job::{Args, NewJob};
use tikkun::queue::Broker;

use super::ground::Ground;
use super::process::{Service, Start};

pub const DESCRIBED: &str = r#"
    [[deletion]]
    name = "recordings"
    table = "recordings"
    tenant = "business_id"
    id = "id"
    also = [{ table = "transcripts", by = "recording_id", objects = [{ key = "audio_key" }] }]
    objects = [{ key = "storage_key" }]
"#;

pub const TABLES: &str = "
    create table recordings (id integer primary key, business_id bigint not null, storage_key text);
    create index recordings_tenant on recordings (business_id, id);
    create index recordings_key on recordings (storage_key);
    create table transcripts (
        id integer primary key, recording_id integer not null references recordings (id), audio_key text);
    create index transcripts_recording on transcripts (recording_id);
    create index transcripts_key on transcripts (audio_key)";

/// Recordings 1 to 100 of tenant 7 and 101 to 110 of tenant 8, each with a transcript, and with an object of both. The
/// recordings 10 and 101 share theirs.
pub const ROWS: &str = "
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 110)
    insert into recordings (id, business_id, storage_key)
    select i, case when i <= 100 then 7 else 8 end, case when i = 101 then 'r/10' else 'r/' || i end from n;
    insert into transcripts (id, recording_id, audio_key) select id, id, 'a/' || id from recordings";

/// Writes the objects into the folder of attachments.
pub fn seed_objects(attachments: &Path) {
    for folder in ["r", "a"] {
        std::fs::create_dir_all(attachments.join(folder)).unwrap();
        for id in 1..=110 {
            std::fs::write(attachments.join(folder).join(id.to_string()), "object").unwrap();
        }
    }
}

/// The objects that are there, by folder.
pub fn objects(attachments: &Path) -> [Vec<i64>; 2] {
    ["r", "a"].map(|folder| {
        let files = std::fs::read_dir(attachments.join(folder)).map(|files| {
            files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
        });
        let mut ids: Vec<i64> = files.unwrap_or_default();
        ids.sort_unstable();
        ids
    })
}

/// The objects that the deletion of tenant 7 leaves. No row names recording 101's own.
pub fn left() -> [Vec<i64>; 2] {
    [std::iter::once(10).chain(101..=110).collect(), (101..=110).collect()]
}

pub async fn enqueue(broker: &dyn Broker, id: &str, name: &str, tenant: i64) {
    let args = Args::positional([json!(name), json!(tenant)]);
    broker.enqueue(&[NewJob::new(id, "maintenance", "tikkun.delete", args)]).await.unwrap();
}

/// A start with these descriptions.
pub fn with_descriptions(start: Start, folder: &Path, text: &str) -> Start {
    let file: PathBuf = folder.join("deletions.toml");
    std::fs::write(&file, text).unwrap();
    start.set("TIKKUN_CONFIG", file.to_str().unwrap()).set("TIKKUN_DELETION__BATCH", "10")
}

/// Two processes that die, one before and one after the commit of a batch, and one that ends the deletion.
pub async fn two_deaths(start: &Start, number: impl AsyncFn(&'static str) -> i64) -> Service {
    for point in ["described.before_commit=3*off->return", "described.after_commit=2*off->return"] {
        let mut doomed = start.clone().failing(point).spawn();
        doomed.exited().await;
    }
    assert!((1..100).contains(&number("select count(*) from recordings where business_id = 7").await));
    let mut last = start.start().await;
    let completed =
        "select count(*) from tikkun_deletions where status = 'completed' and finished_at is not null";
    last.until("the end of the deletion", async |_| (number(completed).await == 1).then_some(())).await;
    assert_eq!(number("select min(attempt) from tikkun_deletions").await, 3);
    assert_eq!(number("select sum(succeeded + total * 1000) from tikkun_deletions").await, 100_100);
    assert_eq!(number("select count(*) from recordings").await, 10);
    assert_eq!(number("select count(*) from transcripts").await, 10);
    last
}

#[tokio::test]
async fn described_deletion_outlives_processes_that_are_killed() {
    let ground = Ground::new().await;
    ground.run(TABLES).await;
    ground.run(ROWS).await;
    seed_objects(&ground.attachments());
    enqueue(&*ground.broker().await, "d1", "recordings", 7).await;
    let start = with_descriptions(ground.service(), ground.path(), DESCRIBED);
    let mut last = two_deaths(&start, async |sql| ground.number(sql).await).await;
    // Objects of a process that died are held back for a minute.
    ground.run("update tikkun_cleanup_outbox set next_try_at = '2020-01-01 00:00:00.000000'").await;
    let owed = "select count(*) from tikkun_cleanup_outbox";
    last.until("the last objects", async |_| (ground.number(owed).await == 0).then_some(())).await;
    assert_eq!(objects(&ground.attachments()), left());
    let job = ground.entries().await.into_iter().find(|entry| entry.id == "d1").unwrap();
    assert_eq!((job.state.as_str(), job.orphaned), ("finished", 2), "{job:?}");
    assert!(job.result.unwrap().contains("\"deleted\":100"));
}

#[tokio::test]
async fn description_that_does_not_fit_is_out_of_use_alone() {
    let ground = Ground::new().await;
    ground.run(TABLES).await;
    ground.run(ROWS).await;
    let broadcasts = "\n[[deletion]]\nname = \"broadcasts\"\ntable = \"broadcasts\"\nid = \"id\"\n";
    let start = with_descriptions(ground.service(), ground.path(), &format!("{DESCRIBED}{broadcasts}"));
    let start = start.set("STRICT_SCHEMA_CHECK", "0");
    let mut service = start.start().await;
    service.says("there is no table `broadcasts`").await;
    // Once there is a scheduler, for want of which it is a warning at first.
    let degraded = async |service: &Service| {
        let health = service.get("/api/jobs/health").expect(200).json();
        (health["status"] == "degraded").then_some(health)
    };
    let health = service.until("what it says of its health", degraded).await;
    assert_eq!(
        health["unusable_deletions"]["broadcasts"],
        "`deletion[1].table`: there is no table `broadcasts`"
    );
    enqueue(&*ground.broker().await, "bad", "broadcasts", 7).await;
    enqueue(&*ground.broker().await, "unknown", "videos", 7).await;
    enqueue(&*ground.broker().await, "good", "recordings", 8).await;
    let ended = "the ends of the jobs";
    service
        .until(ended, async |_| {
            let entries = ground.entries().await;
            let of = |id: &str| entries.iter().find(|entry| entry.id == id).unwrap().state.clone();
            (["bad", "unknown", "good"].map(of) == ["failed", "failed", "finished"]).then_some(())
        })
        .await;
    let errors: Vec<_> = ground.entries().await.into_iter().filter_map(|entry| entry.error).collect();
    assert!(
        errors.iter().any(|error| error.contains("the deletion `broadcasts` cannot be used")),
        "{errors:?}"
    );
    assert!(errors.iter().any(|error| error.contains("there is no deletion `videos`")), "{errors:?}");
    assert_eq!(ground.number("select count(*) from recordings").await, 100);
    let doctor = start.command(&["doctor", "--json"]).output().unwrap();
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(told.contains("deletion_unusable") && told.contains("there is no table `broadcasts`"), "{told}");
    drop(service);
    let mut refused = start.set("STRICT_SCHEMA_CHECK", "1").spawn();
    assert!(!refused.exited().await.success());
    assert!(
        refused.tail().contains("`deletion[1].table`: there is no table `broadcasts`"),
        "{}",
        refused.tail()
    );
}
