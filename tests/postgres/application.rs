//! A database created by SQLAlchemy, and a row inserted by Python.

use serde_json::Value;
use sqlx::Connection as _;

use super::ground::Ground;

#[tokio::test]
async fn deletion_that_python_asked_for_ends_with_exact_counts() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 300).await;
    let job: i64 = ground.application(&["request", "7"]).parse().unwrap();
    let mut service = ground.service().start().await;
    ground.enqueue("entry", job).await;
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!(row.attempt, 1);
    let seen: Value = serde_json::from_str(&ground.application(&["read", &job.to_string()])).unwrap();
    assert_eq!(
        (&seen["status"], &seen["succeeded"], &seen["last_error"]),
        (&"completed".into(), &300.into(), &Value::Null)
    );
    assert!(seen["finished_at"].as_str() > seen["started_at"].as_str() && seen["started_at"].is_string());
    service.says("attachments are kept because something we do not know refers to them").await;
    assert!(service.lines("is missing, so that").is_empty(), "these models lack no index");
    assert_eq!(service.restarts(), 0);
}

#[tokio::test]
async fn job_that_is_in_its_queue_before_its_row_is_committed_waits_for_it() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut application = ground.connect().await;
    let mut open = application.begin().await.unwrap();
    let job = ground.request_in(&mut open, 7).await;
    let mut service = ground.service().set("TIKKUN_DELETION__ROW_WAIT", "5m").start().await;
    ground.enqueue("entry", job).await;
    service.says("the job's row is not there yet").await;
    open.commit().await.unwrap();
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.last_error), (1, None));
    assert!(service.lines("JOB FAILED").is_empty());
    assert_eq!(service.lines("JOB PICKED").len(), 1, "its one entry carried it");
}

#[tokio::test]
async fn database_in_a_zone_of_its_own_deletes_what_was_there_and_nothing_that_came_later() {
    let ground = Ground::new().await;
    let zone = "alter table receipts alter created_at set default now();
         do $$ begin execute format('alter database %I set timezone = %L', current_database(), 'Asia/Jerusalem'); end $$";
    ground.run(zone).await;
    ground.tenant(7, 60).await;
    // As the application's sessions insert them, which take the database's zone.
    let insert = |ids: &str| {
        format!(
            "set timezone = 'Asia/Jerusalem'; insert into receipts (id, business_id, is_deleted) values {ids}"
        )
    };
    ground.run(&insert("(70901, 7, false), (70902, 7, false)")).await;
    let job: i64 = ground.application(&["request", "7"]).parse().unwrap();
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "1s").start().await;
    ground.enqueue("entry", job).await;
    ground.processed(&mut service, job, 1).await;
    ground.run(&insert("(70903, 7, false)")).await;
    let row = ground.becomes(&mut service, job, "completed").await;
    assert_eq!((row.total, row.succeeded, row.last_error), (62, 62, None));
    assert_eq!(
        ground.number("select id::bigint from receipts where business_id = 7 and not is_deleted").await,
        70903
    );
}

/// As a view of the application does that loads a row, changes a field and writes all columns, in its own time.
#[tokio::test]
async fn row_that_the_application_saves_as_it_was_before_takes_nothing_back() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 100).await;
    let job: i64 = ground.application(&["request", "7"]).parse().unwrap();
    let read = || ground.application(&["read", &job.to_string()]);
    let queued = read();
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "2s").start().await;
    ground.enqueue("entry", job).await;
    ground.processed(&mut service, job, 20).await;
    let running = read();
    for (loaded, processed) in [(&queued, 40), (&running, 60), (&queued, 80)] {
        ground.application(&["save", &job.to_string(), loaded]);
        ground.processed(&mut service, job, processed).await;
    }
    let row = ground.completed(&mut service, job, &tenant).await;
    assert_eq!((row.attempt, row.processed, row.last_error), (1, 100, None));
    assert!(service.lines("Backing off").is_empty() && service.lines("JOB FAILED").is_empty());
}

#[tokio::test]
async fn facade_asks_and_cancels_on_the_same_tables() {
    let ground = Ground::new().await;
    ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let job = service.delete_all(7);
    ground.processed(&mut service, job, 20).await;
    service.owner(7, "POST", &format!("/api/receipts/jobs/{job}/cancel")).expect(200);
    service.says(&format!("🛑 Job {job} was cancelled - stopping")).await;
    assert_eq!(ground.row(job).await.status, "cancelled");
    assert_eq!(ground.live(7).await, 40);
    let seen = ground.application(&["read", &job.to_string()]);
    assert!(seen.contains("\"status\": \"cancelled\""), "{seen}");
}

#[tokio::test]
async fn indexes_that_are_missing_are_named_with_the_statement_that_makes_them() {
    let ground = Ground::new().await;
    let drop =
        "drop index idx_background_jobs_unique_active, ix_receipts_attachment_id, idx_receipts_business,
                    ix_attachments_storage_path;
                alter table receipts drop constraint receipts_preview_attachment_id_fkey";
    ground.run(drop).await;
    let mut service = ground.service().start().await;
    let mut made = Vec::new();
    for line in [
        service.says("an index on receipts (attachment_id) is missing").await,
        service.says("an index on receipts (business_id, id) is missing").await,
        service.says("an index on attachments (storage_path) is missing").await,
        service.says("an index on background_jobs (business_id, job_type) is missing").await,
        service.says("receipts.preview_attachment_id has no foreign key onto attachments").await,
    ] {
        made.push(line.split_once("make it with: ").unwrap().1.trim_end_matches('"').to_owned());
    }
    for statement in &made {
        ground.run(statement).await;
    }
    assert_eq!(service.terminate().await, Some(0));
    let service = ground.service().start().await;
    let left = [service.lines("is missing, so that"), service.lines("has no foreign key")].concat();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn service_without_the_applications_tables_says_which_database_was_meant() {
    let ground = Ground::new().await;
    ground.run("drop table receipts cascade").await;
    let mut process = ground.service().spawn();
    assert_eq!(process.exited().await.code(), Some(1));
    let said = process.tail();
    assert!(said.contains(&format!("/{} lacks the table receipts", ground.database)), "{said}");
    let mut loose = ground.service().set("STRICT_SCHEMA_CHECK", "0").start().await;
    loose.says("lacks the table receipts").await;
    loose.call("GET", "/healthz", &[]).expect(200);
}
