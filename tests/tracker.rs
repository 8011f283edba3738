//! How long the tracker waits for its database.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tikkun::config::TrackerSettings;
use tikkun::job::{BackgroundJobId, BusinessId};
use tikkun::store::{Begin, Begun, Coverage, EndAttempt, NewRequest, Requested, Schema, open_sqlite};
use tikkun::supervision::Turns;
use tikkun::tracking::{BeginAttempt, EndedAttempt, RequestJob, StatusTracker};

/// Only a failing test waits so long.
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

#[actix_rt::test]
async fn what_counts_receipts_may_take_longer_than_a_single_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tikkun.db");
    let store = open_sqlite(&file, Schema::Migrate).await.unwrap();
    let mut other =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&file)).await.unwrap();
    let rows = "insert into background_jobs (id, business_id, job_type, status, created_at, updated_at)
            values (27, 7, 'delete_receipts_all', 'queued', '2026-01-01 10:00:00', '2026-01-01 10:00:00');
        insert into receipts (id, business_id, is_deleted) values (1, 8, false)";
    sqlx::raw_sql(rows).execute(&mut other).await.unwrap();
    let settings = TrackerSettings { progress_interval: LONG, heartbeat_interval: LONG, deadline: SHORT };
    let counting_deadline = LONG;
    let turn = Turns::default().register("status_tracker");
    let (jobs, journal) = (Arc::clone(&store.background_jobs), Arc::default());
    let tracker = StatusTracker { jobs, journal, settings, counting_deadline, turn }.start();
    let begin = Begin {
        id: BackgroundJobId(27),
        queue_job: "q".into(),
        entry_at: None,
        stale_after: LONG,
        max_barren: 3,
    };
    let request = NewRequest {
        business_id: BusinessId(8),
        user_id: None,
        job_type: "delete_receipts_all".into(),
        queue_job: "r".into(),
        covers: Coverage::Everything,
    };

    // Whoever writes holds all others up.
    sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
    let ended = EndedAttempt { id: BackgroundJobId(27), attempt: 1, end: EndAttempt::Continuation };
    let (begun, requested, ()) =
        tokio::join!(tracker.send(BeginAttempt(begin)), tracker.send(RequestJob(request)), async {
            let late = tracker.send(ended).await.unwrap().unwrap_err();
            assert!(late.to_string().contains("no answer within 50ms"), "{late}");
            sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
        });
    assert!(matches!(begun.unwrap(), Ok(Begun::Started(_))));
    assert!(matches!(requested.unwrap(), Ok(Requested::Created(_))));
}
