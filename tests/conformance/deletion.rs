//! The main job: enqueued by a script with RQ's own serializer, for a row that another program inserted.

use std::collections::BTreeSet;

use libtest_mimic::Trial;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::ground::{DEADLINE, Place, RUNTIME, registries};
use crate::process::Start;
use crate::python::{ALL, Version};
use crate::s3::{self, BUCKET, KEY_ID, S3Server};

const ENQUEUE: &str = "--queue maintenance --func server.jobs.delete_receipts_job.delete_receipts_batch_job \
                       --timeout 30m --result-ttl 300 --failure-ttl 86400 --arg";
const RECEIPTS: i64 = 300;

pub fn trials() -> Vec<Trial> {
    let on_postgres = "deletion_with_the_environment_of_the_deployment_alone";
    let mut trials = vec![Trial::test(on_postgres, || {
        on_postgres_and_s3();
        Ok(())
    })];
    for &version in ALL {
        let name = format!("deletion_of_a_row_by_plain_sql::rq_{}", version.number().replace('.', "_"));
        trials.push(Trial::test(name, move || {
            on_sqlite(version);
            Ok(())
        }));
        let name = format!("deletion_that_rq_cancels::rq_{}", version.number().replace('.', "_"));
        trials.push(Trial::test(name, move || {
            canceled(version);
            Ok(())
        }));
    }
    trials
}

/// RQ says that it is finished, with a value.
fn finished(place: &Place, row: i64) {
    let id = place.enqueue(&format!("{ENQUEUE} {row}"));
    let job = place.end_of(&id);
    assert_eq!(
        (&job["status"], registries(&job)),
        (&json!("finished"), vec!["finished".to_owned()]),
        "{job}"
    );
    assert!(job["return_value"].is_object(), "{job}");
    assert_eq!(
        job["limits"],
        json!({ "timeout": 1800, "result_ttl": 300, "failure_ttl": 86_400, "ttl": null })
    );
}

fn on_sqlite(version: Version) {
    let place = Place::new(version);
    let _service = place.serve("maintenance", 2);
    let attachments = place.data().join("attachments");
    let row = RUNTIME.block_on(async {
        let file = format!("sqlite://{}", place.data().join("tikkun.db").display());
        let database = sqlx::SqlitePool::connect(&file).await.unwrap();
        std::fs::create_dir_all(attachments.join("7")).unwrap();
        for number in 1..=RECEIPTS {
            std::fs::write(attachments.join(format!("7/{number}.pdf")), "0123456789").unwrap();
        }
        let sql = format!(
            "begin immediate;
             create temp table n as with recursive n(i) as (select 1 union all select i + 1 from n where i < {RECEIPTS})
                 select i from n;
             insert into attachments (id, business_id, purpose, file_size, storage_path)
                 select i, 7, 'receipt_source', 10, '7/' || i || '.pdf' from n;
             insert into receipts (id, business_id, attachment_id, created_at) select i, 7, i, '2026-01-01 10:00:00' from n;
             insert into background_jobs (id, business_id, requested_by_user_id, job_type, updated_at)
                 values (27, 7, 5, 'delete_receipts_all', strftime('%Y-%m-%d %H:%M:%f000', 'now'));
             commit"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database).await.unwrap();
        database
    });
    finished(&place, 27);
    let counts: (String, i64, i64, i64, i64) = RUNTIME
        .block_on(
            sqlx::query_as(
                "select status, total, processed, succeeded, failed_count from background_jobs where id = 27",
            )
            .fetch_one(&row),
        )
        .unwrap();
    assert_eq!(counts, ("completed".to_owned(), RECEIPTS, RECEIPTS, RECEIPTS, 0));
    place.until("the last file to go", || {
        let left = std::fs::read_dir(attachments.join("7")).map_or(0, Iterator::count);
        (left == 0).then_some(())
    });
}

/// `job.cancel()` knows nothing of rows, and yet nothing is deleted.
fn canceled(version: Version) {
    let place = Place::new(version);
    let start = place.start("default", 1).set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms");
    let start = start.set("TIKKUN_RESCUER__RECONCILE_GRACE", "1s");
    let _service = RUNTIME.block_on(start.start());
    let id = place.enqueue(&format!("{ENQUEUE} 27"));
    place.ask(&format!("cancel {id}"));
    let database = RUNTIME.block_on(async {
        let file = format!("sqlite://{}", place.data().join("tikkun.db").display());
        let database = sqlx::SqlitePool::connect(&file).await.unwrap();
        let sql = "insert into receipts (id, business_id) values (1, 7);
            insert into background_jobs (id, business_id, job_type) values (27, 7, 'delete_receipts_all')";
        sqlx::raw_sql(sql).execute(&database).await.unwrap();
        database
    });
    place.until("the row to be cancelled", || {
        let status = sqlx::query_scalar("select status from background_jobs where id = 27");
        let status: String = RUNTIME.block_on(status.fetch_one(&database)).unwrap();
        (status == "cancelled").then_some(())
    });
    assert_eq!(place.raw("LLEN rq:queue:maintenance"), json!(0), "no other entry was made");
    assert_eq!(registries(&place.job(&id)), ["canceled"]);
}

/// What the deployment sets, and nothing of ours but where to keep files and which port is free.
fn deployment(place: &Place, database: &str, bucket: &S3Server) -> Start {
    Start::bare(place.data())
        .set("REDIS_URL", &place.url)
        .set("DATABASE_URL", database)
        .set("RQ_QUEUES", "maintenance")
        .set("SERVICE_ROLE", "worker")
        .set("ATTACHMENT_STORAGE_DRIVER", "r2")
        .set("R2_ACCOUNT_ID", "account")
        .set("R2_ENDPOINT", &bucket.endpoint())
        .set("R2_BUCKET_NAME", BUCKET)
        .set("R2_ACCESS_KEY_ID", KEY_ID)
        .set("R2_SECRET_ACCESS_KEY", s3::SECRET)
        .set("RUN_MIGRATIONS_ON_START", "1")
        .set("STRICT_SCHEMA_CHECK", "1")
        .set("LOG_LEVEL", "INFO")
}

fn on_postgres_and_s3() {
    let place = Place::new(Version::Rq3);
    let bucket = S3Server::start();
    let ground = RUNTIME.block_on(crate::postgres::Ground::new());
    let keys = || -> BTreeSet<String> {
        let sql = "select storage_path from attachments";
        let found = async { sqlx::query_scalar(sql).fetch_all(&mut ground.connect().await).await };
        RUNTIME.block_on(found).unwrap().into_iter().collect()
    };
    let tenant = RUNTIME.block_on(ground.tenant(7, RECEIPTS));
    keys().iter().for_each(|key| bucket.put(key));
    let row: i64 = ground.application(&["request", "7"]).parse().unwrap();
    let start = deployment(&place, &ground.sqlalchemy_url(), &bucket);
    let _service = RUNTIME.block_on(start.start());
    finished(&place, row);
    let row = RUNTIME.block_on(ground.row(row));
    let all = i32::try_from(RECEIPTS).unwrap();
    assert_eq!(
        (&*row.status, row.total, row.processed, row.succeeded, row.failed_count),
        ("completed", all, all, all, 0)
    );
    assert_eq!(RUNTIME.block_on(ground.live(tenant.id)), 0);
    let what = format!("the bucket to hold what rows refer to, within {DEADLINE:?}");
    place.until(&what, || (bucket.keys() == keys()).then_some(()));
}
