//! `tikkun doctor`, run as a user runs it: each situation is prepared through the ports, or as the web
//! application would leave it, and the doctor must name its cause and nothing else.
//!
//! The situations: 1 no listener · 2 the worker died · 3 the queue is paused · 4 a row is queued without a
//! queue job · 5 a row runs with a silent heartbeat · 6 an unknown function waits · 7 the database is missing ·
//! 8 the database is locked · 9 the queue's file is missing · 10 the attachments are gone · 11 the outbox is old ·
//! 12 a person paused the job · 13 the job waits out an outage · 14 a due job is not promoted · 15 no scheduler ·
//! 16 a row's queue job has ended first · 17 the job failed · 18 workers are busy · 19 the schema is not there ·
//! 20 the job's code never yields · 21 the job is not due yet · 22 a schedule's function is unknown ·
//! 23 nothing runs at all · 24 the attachments' objects lie elsewhere · 25 the attachments' disk hangs ·
//! 26 a process lives and cannot renew its lease.

use crate::servers::redis::Redis;
use crate::servers::s3;
use crate::service::ground::Ground;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tikkun::job::{Args, Limit, NewJob};
use tikkun::maintenance::SCHEDULER_ROLE;
use tikkun::queue::{Broker, Disposition, ProcessRecord, Settlement, open_embedded, open_rq};
use tikkun::store::{Schema, open_sqlite};

/// A lease that outlasts every test.
const LONG: Duration = Duration::from_secs(600);
const DELETION: &str = "server.jobs.delete_receipts_job.delete_receipts_batch_job";

/// A service in which nothing is wrong: a live process listens to every queue and leads.
struct Ward {
    folder: TempDir,
    broker: Arc<dyn Broker>,
}

fn process(id: &str, queues: &[&str]) -> ProcessRecord {
    let now = Utc::now();
    ProcessRecord {
        id: id.into(),
        host: "ward".into(),
        pid: std::process::id(),
        queues: queues.iter().map(Into::into).collect(),
        started_at: now,
        lease_until: now,
    }
}

impl Ward {
    /// Everything is in place, and nothing runs.
    async fn silent() -> Self {
        let folder = tempfile::tempdir().unwrap();
        drop(open_sqlite(&folder.path().join("tikkun.db"), Schema::Migrate).await.unwrap());
        fs::create_dir(folder.path().join("attachments")).unwrap();
        let broker = open_embedded(folder.path()).await.unwrap();
        Self { folder, broker }
    }

    async fn well() -> Self {
        let ward = Self::silent().await;
        ward.listens("alive", &["maintenance", "default"]).await;
        assert!(ward.broker.lead(SCHEDULER_ROLE, &"alive".into(), LONG).await.unwrap());
        ward
    }

    async fn listens(&self, id: &str, queues: &[&str]) {
        self.broker.renew_lease(&process(id, queues), LONG).await.unwrap();
    }

    /// A deletion runs in a process with this pid, whose lease has run out.
    async fn with_a_lease_that_ran_out(pid: u32) -> Self {
        let ward = Self::well().await;
        let doomed = ProcessRecord { pid, ..process("doomed", &["maintenance"]) };
        ward.broker.renew_lease(&doomed, LONG).await.unwrap();
        ward.row("running", 0, "").await;
        ward.enqueue("carrier", "maintenance", DELETION, &[json!(27)]).await;
        let taken = ward.broker.fetch(&"maintenance".into(), 1, &doomed.id).await.unwrap();
        assert_eq!(taken.len(), 1);
        assert_eq!(ward.doctor(&["27"], 0)["ok"], true, "its lease still holds");
        ward.sql("queue.db", "update tikkun_processes set lease_until = 0 where id = 'doomed'").await;
        ward
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn enqueue(&self, id: &str, queue: &str, function: &str, args: &[Value]) {
        let job = NewJob::new(id, queue, function, Args::positional(args.to_vec()));
        self.broker.enqueue(&[job]).await.unwrap();
    }

    /// Runs SQL in `tikkun.db` or `queue.db`.
    async fn sql(&self, file: &str, sql: &str) {
        let mut connection = connect(&self.path(file)).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Row 27 as the web application makes it, `minutes` ago, and what is noted of it.
    async fn row(&self, status: &str, minutes: u32, note: &str) {
        self.sql(
            "tikkun.db",
            &format!(
                "insert into background_jobs (id, business_id, job_type, status, total, created_at, updated_at,
                                              started_at, heartbeat_at, last_error)
                 select 27, 789, 'delete_receipts_all', '{status}', 3, t, t, t, t, 'deadlock detected'
                 from (select strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{minutes} minutes') as t);
                 {note}"
            ),
        )
        .await;
    }

    /// The doctor's answer, which must be of this exit code.
    #[track_caller]
    fn doctor(&self, args: &[&str], code: i32) -> Value {
        let answer = self.run(&[&["doctor", "--json", "--limit", "2s"], args].concat());
        assert_eq!(answer.0, code, "{} {}", answer.1, answer.2);
        serde_json::from_str(&answer.1).unwrap_or_else(|error| panic!("{error}: {} {}", answer.1, answer.2))
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        self.run_failing("", args)
    }

    /// Runs it with something that breaks, as in `directory.open=pause`.
    fn run_failing(&self, points: &str, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tikkun"));
        command.env_clear().env("FAILPOINTS", points).current_dir(self.folder.path()).args(args);
        command.arg("--data").arg(self.folder.path());
        let ended = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
    }

    /// Something is wrong, and the doctor finds exactly these causes, of which the first says all these words.
    #[track_caller]
    fn names(&self, args: &[&str], codes: &[&str], words: &[&str]) {
        let told = self.doctor(args, 1);
        assert_eq!(told["ok"], false);
        let findings = told["findings"].as_array().unwrap();
        let wrong = findings.iter().filter(|finding| finding["severity"] != "notice");
        let found: Vec<_> = wrong.map(|finding| finding["code"].as_str().unwrap()).collect();
        assert_eq!(found, codes, "{told:#}");
        for word in words {
            assert!(findings[0].to_string().contains(word), "no `{word}` in {told:#}");
        }
        for finding in findings {
            assert!(!finding["to_do"].as_str().unwrap().is_empty(), "{finding:#}");
        }
    }
}

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap()
}

#[tokio::test]
async fn storage_that_has_none_of_the_newest_attachments_is_named() {
    let ward = Ward::well().await;
    let insert = |ids: &str| {
        format!(
            "insert into attachments (id, business_id, storage_path)
             select value, 7, 'receipts/' || value || '.pdf' from json_each('[{ids}]')"
        )
    };
    ward.sql("tikkun.db", &insert("1, 2")).await;
    ward.doctor(&[], 0);
    ward.sql("tikkun.db", &insert("3")).await;
    ward.names(
        &[],
        &["attachments_elsewhere"],
        &["newest 3 attachments", "receipts/3.pdf", "`storage_path`"],
    );
    let folder = ward.path("attachments/receipts");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("1.pdf"), "one").unwrap();
    ward.doctor(&[], 0);
    ward.sql("tikkun.db", "update attachments set storage_path = '/' || storage_path where id = 3").await;
    ward.doctor(&[], 0);
}

#[tokio::test]
async fn nothing_is_wrong_with_a_service_that_works() {
    let ward = Ward::well().await;
    ward.row("queued", 0, "").await;
    ward.enqueue("carrier", "maintenance", DELETION, &[json!(27)]).await;
    for args in [&[][..], &["27"], &["carrier"]] {
        let told = ward.doctor(args, 0);
        assert_eq!((&told["ok"], &told["findings"]), (&json!(true), &json!([])), "{told:#}");
    }
    assert_eq!(ward.run(&["doctor"]).1, "nothing is wrong\n");
}

#[tokio::test]
async fn a_row_that_notes_its_queue_job_needs_no_search_of_all_that_wait() {
    let (ward, redis) = (Ward::well().await, Redis::start());
    let broker = open_rq(&redis.settings(1)).unwrap();
    broker.renew_lease(&process("alive", &["maintenance", "default"]), LONG).await.unwrap();
    assert!(broker.lead(SCHEDULER_ROLE, &"alive".into(), LONG).await.unwrap());
    let note = "insert into tikkun_background_jobs (background_job_id, queue_job, updated_at)
                select 27, 'carrier', updated_at from background_jobs";
    ward.row("queued", 0, note).await;
    let job = |id: &str, row: i64| NewJob::new(id, "maintenance", DELETION, Args::positional([json!(row)]));
    let others: Vec<_> = (1000..4000).map(|row| job(&format!("other-{row}"), row)).collect();
    broker.enqueue(&[job("carrier", 27)]).await.unwrap();
    broker.enqueue(&others).await.unwrap();
    redis.ask(&["CONFIG", "RESETSTAT"]);
    let told = ward.doctor(&["--set", &format!("broker.url={}", redis.url())], 0);
    assert_eq!(told["ok"], true, "{told:#}");
    let stats = redis.ask(&["INFO", "commandstats"]);
    let read = stats.split_once("cmdstat_hmget:calls=").and_then(|(_, rest)| rest.split(',').next());
    assert!(read.unwrap().parse::<u32>().unwrap() < 1000, "{stats}");
}

#[tokio::test]
async fn nobody_listens_to_the_jobs_queue() {
    let ward = Ward::well().await;
    ward.enqueue("x", "mail", "shop.send", &[]).await;
    ward.sql("queue.db", "update tikkun_jobs set kind = 'delete_receipts_batch_job'").await;
    let words = ["queue mail", "1 jobs wait", "listens to [maintenance, default]", "serve --queues mail"];
    ward.names(&["x"], &["nobody_listens"], &words);
    ward.names(&[], &["nobody_listens"], &words);
}

#[tokio::test]
async fn nothing_runs_at_all() {
    let ward = Ward::silent().await;
    ward.row("queued", 0, "").await;
    ward.enqueue("carrier", "maintenance", DELETION, &[json!(27)]).await;
    ward.names(&["27"], &["nobody_listens", "no_scheduler"], &["no process lives", "maintenance"]);
}

#[tokio::test]
async fn the_worker_died_with_the_job_in_its_hands() {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let ward = Ward::with_a_lease_that_ran_out(child.id()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    for args in [&["27"][..], &["carrier"], &[]] {
        ward.names(args, &["worker_died"], &["job carrier", "lease of its process is over"]);
    }
}

#[tokio::test]
async fn a_process_without_a_lease_is_not_called_dead_unless_it_is() {
    let own = std::process::id();
    let ward = Ward::with_a_lease_that_ran_out(own).await;
    let name = format!("process {own} on ward");
    for args in [&["27"][..], &["carrier"], &[]] {
        let words = [&*name, "it lives", "1 jobs: `carrier`", "cannot write to the queue", "health"];
        ward.names(args, &["lease_not_renewed"], &words);
    }
    // As in another container, whose processes cannot be seen from here.
    ward.sql("queue.db", "update tikkun_processes set incarnation = 'elsewhere/7' where id = 'doomed'").await;
    for args in [&["27"][..], &["carrier"], &[]] {
        ward.names(args, &["lease_not_renewed"], &[&name, "cannot be seen from here", "1 jobs: `carrier`"]);
    }
}

/// As where a disk is full for the service's user, and root looks, for whom it is not.
#[tokio::test]
async fn a_service_whose_writes_alone_are_refused_is_not_called_dead() {
    let ground = Ground::new().await;
    let start = ground.service().set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let start = start.set("TIKKUN_LEASE__TTL", "2s").set("TIKKUN_LEASE__RENEW", "500ms");
    // The signal that comes with the refusal would end the process.
    let start = start.under(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let mut service = start.start().await;
    let pid = service.process.pid().to_string();
    let limit = |size: &str| {
        let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}")]).status();
        assert!(done.unwrap().success());
    };
    let long = |id: &str| NewJob::new(id, "default", "tikkun.sleep", Args::positional([json!(600.0)]));
    ground.broker().await.enqueue(&[long("long")]).await.unwrap();
    service.says("JOB PICKED queue='default' job_id=long").await;
    limit("1:");
    service.says("the lease has run out and cannot be renewed").await;
    let run = |words: &[&str]| {
        let ended = start.command(words).output().unwrap();
        [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
    };
    let told = run(&["enqueue", "--queue", "default", "--id", "waits", "tikkun.sleep", "1"]);
    assert!(!told.contains("no live process listens"), "{told}");
    for words in [&["doctor"][..], &["doctor", "long"], &["doctor", "waits"]] {
        let told = run(words);
        assert!(told.contains(&format!("lease_not_renewed: process {pid} on ")), "{told}");
        assert!(told.contains("it holds 1 jobs: `long`"), "{told}");
        for wrong in ["worker_died", "nobody_listens", "no_scheduler", "held_by_nobody", "start `tikkun"] {
            assert!(!told.contains(wrong), "{wrong} in {told}");
        }
    }
    limit("unlimited:");
    service.says("JOB PICKED queue='default' job_id=waits").await;
    let told = run(&["doctor", "long"]);
    assert!(told.contains("runs: job long"), "{told}");
}

#[tokio::test]
async fn the_queue_is_paused() {
    let ward = Ward::well().await;
    ward.broker.pause(&"maintenance".into(), "Dana").await.unwrap();
    ward.row("queued", 30, "").await;
    ward.enqueue("carrier", "maintenance", DELETION, &[json!(27)]).await;
    let words = ["queue maintenance", "paused by Dana", "1 jobs wait", "tikkun queues resume maintenance"];
    ward.names(&["27"], &["queue_paused"], &words);
    ward.names(&[], &["queue_paused"], &words);
    assert_eq!(ward.doctor(&["--set", "deletion.queue=default"], 1)["findings"][0]["code"], "queue_paused");
}

#[tokio::test]
async fn a_row_is_queued_without_an_entry() {
    let ward = Ward::well().await;
    ward.row("queued", 30, "").await;
    ward.names(&["27"], &["no_entry"], &["background job 27", "no queue has a job for it", "Rescuer"]);
    ward.names(&[], &["no_entry"], &["background job 27"]);
}

#[tokio::test]
async fn a_rows_queue_job_has_ended_under_it() {
    let ward = Ward::well().await;
    let note =
        "insert into tikkun_background_jobs (background_job_id, attempt, queue_job) values (27, 1, 'old')";
    ward.row("queued", 30, note).await;
    ward.enqueue("old", "maintenance", DELETION, &[json!(27)]).await;
    ward.broker.cancel(&"old".into()).await.unwrap();
    ward.names(&["27"], &["no_entry"], &["`old` is canceled"]);
}

#[tokio::test]
async fn a_running_row_shows_no_life() {
    let ward = Ward::well().await;
    ward.row("running", 30, "").await;
    ward.enqueue("carrier", "maintenance", DELETION, &[json!(27)]).await;
    ward.broker.fetch(&"maintenance".into(), 1, &"alive".into()).await.unwrap();
    ward.names(&["27"], &["no_heartbeat"], &["no heartbeat since 20", "30m", "checkpoint"]);
}

#[tokio::test]
async fn an_unknown_function_waits() {
    let ward = Ward::well().await;
    ward.enqueue("x", "default", "shop.jobs.send_all", &[]).await;
    ward.names(&["x"], &["unknown_function"], &["job x", "shop.jobs.send_all", "not registered"]);
    ward.names(&[], &["unknown_function"], &["queue default", "shop.jobs.send_all"]);
    ward.enqueue("y", "default", "tikkun.noop", &[]).await;
    ward.doctor(&["y", "--set", "diagnostics.enabled=true"], 0);
    ward.names(&["y"], &["unknown_function"], &["tikkun.noop"]);
}

#[tokio::test]
async fn the_database_is_missing() {
    let ward = Ward::well().await;
    for name in ["tikkun.db", "tikkun.db-wal", "tikkun.db-shm"] {
        let _ = fs::remove_file(ward.path(name));
    }
    ward.names(&[], &["database_unreachable"], &["there is no", "tikkun.db", "--data"]);
    ward.names(&["27"], &["database_unreachable"], &["tikkun.db"]);
    assert!(!ward.path("tikkun.db").exists(), "who looks makes nothing");
}

#[tokio::test]
async fn the_schema_is_not_there() {
    let ward = Ward::well().await;
    ward.sql("tikkun.db", "drop table tikkun_store_migrations").await;
    ward.names(&[], &["database_unreachable"], &["version 0", "RUN_MIGRATIONS_ON_START=1"]);
}

#[tokio::test]
async fn the_database_is_locked() {
    let ward = Ward::well().await;
    let mut holder = connect(&ward.path("tikkun.db")).await;
    sqlx::raw_sql("begin exclusive").execute(&mut holder).await.unwrap();
    ward.names(&[], &["database_unreachable"], &["no answer within 2s", "hold it locked"]);
    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();
    ward.doctor(&[], 0);
}

#[tokio::test]
async fn the_queues_file_is_missing() {
    let ward = Ward::well().await;
    let Ward { folder, broker } = ward;
    drop(broker);
    let other = tempfile::tempdir().unwrap();
    let ward = Ward { folder, broker: open_embedded(other.path()).await.unwrap() };
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let _ = fs::remove_file(ward.path(name));
    }
    ward.names(&[], &["queue_unreachable"], &["there is no", "queue.db", "tikkun serve"]);
    assert!(!ward.path("queue.db").exists(), "who looks makes nothing");
}

#[tokio::test]
async fn the_attachments_are_gone() {
    let ward = Ward::well().await;
    fs::remove_dir(ward.path("attachments")).unwrap();
    ward.names(&[], &["attachments_unreachable"], &["there is no", "attachments.folder"]);
    assert!(!ward.path("attachments").exists(), "who looks makes nothing");
}

/// As a network disk does whose server is gone, or one that is frozen for a backup. Commands that need no attachments
/// do their work.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn the_attachments_disk_hangs() {
    let ward = Ward::well().await;
    // Whoever waits for the disk waits for so long.
    let points = "directory.open=sleep(30000)";
    let began = std::time::Instant::now();
    let (code, told, _) = ward.run_failing(points, &["doctor", "--limit", "2s"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("attachments_unreachable") && told.contains("no answer within 2s"), "{told}");
    let id = ["--id", "during"];
    for words in
        [&["enqueue", "tikkun.noop"][..], &["jobs", "list"], &["queues", "list"], &["outbox", "list"]]
    {
        let words = if words[0] == "enqueue" { [words, &id].concat() } else { words.to_vec() };
        let (code, told, error) = ward.run_failing(points, &words);
        assert_eq!(code, 0, "{words:?}: {told} {error}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "nobody waited for the disk: {:?}", began.elapsed());
}

#[tokio::test]
async fn the_bucket_refuses() {
    let (ward, server) = (Ward::well().await, s3::S3Server::start());
    let endpoint = format!("attachments.r2_endpoint={}", server.endpoint());
    let bucket = |name: &str| format!("attachments.r2_bucket={name}");
    let key = |secret: &str| format!("attachments.r2_secret_access_key={secret}");
    let id = format!("attachments.r2_access_key_id={}", s3::KEY_ID);
    let told = |bucket: String, secret: String| {
        let all = ["attachments.driver=r2".to_owned(), endpoint.clone(), bucket, id.clone(), secret];
        all.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect::<Vec<_>>()
    };
    for (options, word) in [
        (told(bucket("no-such"), key(s3::SECRET)), "correct `attachments.r2_bucket`"),
        (told(bucket(s3::BUCKET), key("hunter3")), "correct `attachments.r2_secret_access_key`"),
    ] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        ward.names(&options, &["attachments_unreachable"], &[word, "in the bucket"]);
    }
    let right = told(bucket(s3::BUCKET), key(s3::SECRET));
    let told = ward.doctor(&right.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    assert_eq!(told["findings"], json!([]), "{told:#}");
    assert!(server.keys().is_empty(), "who looks leaves nothing behind");
}

#[tokio::test]
async fn the_configuration_says_what_is_passed_over() {
    let ward = Ward::well().await;
    let odd = ["--set", "worker.queues=maintenance,a b"];
    let told = ward.doctor(&odd, 0);
    let found = &told["findings"][0];
    assert_eq!((&found["severity"], &found["code"]), (&json!("notice"), &json!("configuration")), "{told:#}");
    assert!(found["what"].as_str().unwrap().contains("`a b`"), "{told:#}");
    assert_eq!(
        told["findings"].as_array().unwrap().len(),
        1,
        "what is left to others shows elsewhere: {told:#}"
    );
}

#[tokio::test]
async fn the_outbox_is_old() {
    let ward = Ward::well().await;
    ward.sql(
        "tikkun.db",
        "insert into tikkun_cleanup_outbox (background_job_id, business_id, driver, bucket, key, condemned_at,
             attempts, next_try_at, last_error, last_error_at)
         values (1, 789, 'local', 'b', 'k', '2026-01-01 00:00:00.000000', 9, '2026-01-01 00:00:00.000000',
                 'permission denied', '2026-01-01 00:00:00.000000')",
    )
    .await;
    ward.names(&[], &["outbox_old"], &["1 objects", "permission denied"]);
}

#[tokio::test]
async fn the_database_may_keep_rows() {
    let ward = Ward::well().await;
    ward.sql(
        "tikkun.db",
        "create trigger guard before update on receipts when old.id = 4 begin select raise(ignore); end",
    )
    .await;
    let told = ward.doctor(&[], 0);
    let finding = &told["findings"][0];
    assert_eq!(
        (&finding["severity"], &finding["code"]),
        (&json!("notice"), &json!("database_hinders")),
        "{told:#}"
    );
    let text = finding.to_string();
    assert!(text.contains("trigger guard on receipts") && text.contains("set aside"), "{text}");
}

#[tokio::test]
async fn a_person_paused_the_job() {
    let ward = Ward::well().await;
    let note = "insert into tikkun_background_jobs (background_job_id, attempt, pause_reason, changed_by)
                values (27, 1, 'person', 'user 5')";
    ward.row("paused", 30, note).await;
    ward.names(&["27"], &["paused_by_person"], &["paused by user 5", "since 20", "jobs/27/resume"]);
    let told = ward.doctor(&[], 0);
    assert_eq!(told["findings"][0]["severity"], "notice", "a person's wish is nothing wrong: {told:#}");
}

#[tokio::test]
async fn the_job_waits_out_an_outage() {
    let ward = Ward::well().await;
    let note = "insert into tikkun_background_jobs (background_job_id, attempt, queue_job, waiting_for)
                values (27, 1, 'carrier', 'the storage to answer')";
    ward.row("running", 0, note).await;
    ward.enqueue("carrier", "maintenance", DELETION, &[json!(27)]).await;
    ward.broker.fetch(&"maintenance".into(), 1, &"alive".into()).await.unwrap();
    ward.names(&["27"], &["waits"], &["the storage to answer", "goes on by itself"]);
}

#[tokio::test]
async fn a_due_job_is_not_promoted_because_nobody_leads() {
    let ward = Ward::well().await;
    ward.broker.resign(SCHEDULER_ROLE, &"alive".into()).await.unwrap();
    let mut later = NewJob::new("x", "default", "delete_receipts_batch_job", Args::default());
    later.delay = Some(LONG);
    ward.broker.enqueue(&[later]).await.unwrap();
    ward.names(&[], &["no_scheduler"], &["delayed and retried jobs"]);
    ward.sql("queue.db", "update tikkun_jobs set due_at = 1000").await;
    ward.names(&["x"], &["not_promoted", "no_scheduler"], &["it was due", "SERVICE_ROLE"]);
}

#[tokio::test]
async fn a_job_has_failed() {
    let ward = Ward::well().await;
    ward.row("failed", 30, "").await;
    ward.names(&["27"], &["failed"], &["deadlock detected", "delete_all"]);
    ward.enqueue("x", "default", "shop.send", &[]).await;
    let lent = ward.broker.fetch(&"default".into(), 1, &"alive".into()).await.unwrap().remove(0);
    let bury = Disposition::Discard { error: "no route to host".into(), keep: Limit::Never };
    let settlement = Settlement {
        job: lent.job.id,
        queue: lent.job.queue,
        execution: lent.execution,
        verdict: bury,
        remark: None,
        verbatim: None,
    };
    ward.broker.settle(&[settlement]).await.unwrap();
    ward.names(&["x"], &["failed"], &["no route to host", "tikkun jobs retry x"]);
}

#[tokio::test]
async fn the_workers_are_busy() {
    let ward = Ward::well().await;
    ward.enqueue("x", "default", "delete_receipts_batch_job", &[json!(0)]).await;
    ward.sql("queue.db", "update tikkun_jobs set enqueued_at = enqueued_at - 600000").await;
    ward.names(&["x"], &["workers_busy"], &["10m", "1 jobs waiting and 0 running", "worker.slots"]);
}

#[tokio::test]
async fn the_jobs_code_does_not_come_back() {
    let ward = Ward::well().await;
    let job = NewJob::new("x", "default", "delete_receipts_batch_job", Args::positional([json!(0)]));
    let timeout = Some(Limit::After(Duration::from_secs(60)));
    ward.broker.enqueue(&[NewJob { timeout, ..job }]).await.unwrap();
    ward.broker.fetch(&"default".into(), 1, &"alive".into()).await.unwrap();
    let told = ward.doctor(&["x"], 0);
    assert_eq!(
        (&told["findings"][0]["code"], told["findings"].as_array().unwrap().len()),
        (&json!("runs"), 1)
    );
    ward.sql("queue.db", "update tikkun_jobs set started_at = started_at - 600000").await;
    ward.names(&["x"], &["over_time"], &["job x", "runs for 10m", "limit is 1m", "stuck_threads"]);
}

#[tokio::test]
async fn the_jobs_time_has_not_come() {
    let ward = Ward::well().await;
    let job = NewJob::new("x", "default", "delete_receipts_batch_job", Args::positional([json!(0)]));
    ward.broker.enqueue(&[NewJob { delay: Some(LONG), ..job }]).await.unwrap();
    let told = ward.doctor(&["x"], 0);
    assert_eq!((&told["ok"], &told["findings"][0]["code"]), (&json!(true), &json!("scheduled")));
    assert!(
        told["findings"][0]["what"].as_str().unwrap().contains("waits for its time until 20"),
        "{told:#}"
    );
}

#[tokio::test]
async fn a_schedule_calls_what_nobody_here_has() {
    let ward = Ward::well().await;
    let schedule = |queue: &str| {
        let text = format!(
            "[[schedule]]\nname = \"weekly\"\ncron = \"@weekly\"\nfunction = \"shop.report\"\nqueue = \"{queue}\"\n"
        );
        fs::write(ward.path("tikkun.toml"), text).unwrap();
    };
    schedule("default");
    let words =
        ["schedule weekly", "`shop.report`", "has not registered", "fails them", "correct `function`"];
    ward.names(&[], &["schedule_unknown_function"], &words);
    schedule("low");
    let told = ward.doctor(&["--set", "worker.queues=maintenance"], 0);
    assert_eq!(told["findings"][0]["severity"], "notice", "somebody else may have it: {told:#}");
}

#[tokio::test]
async fn a_job_that_is_not_there_is_said_to_be_none() {
    let ward = Ward::well().await;
    ward.names(&["27"], &["no_such_job"], &["27", "jobs list"]);
    let (code, out, _) = ward.run(&["doctor", "\u{1b}[2J"]);
    assert!(code == 1 && !out.contains('\u{1b}'), "{out}");
    assert!(out.contains("what to do:") && out.ends_with("something is wrong\n"), "{out}");
}
