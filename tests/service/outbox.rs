//! Objects left in the storage: kept if configured, shown, deleted by hand, and reported when old.

use std::process::Command;

use serde_json::{Value, json};

use super::ground::Ground;

/// Runs a command beside the service; its exit code and what it printed.
fn tikkun(ground: &Ground, args: &[&str]) -> (i32, Value) {
    let done = Command::new(env!("CARGO_BIN_EXE_tikkun"))
        .env_clear()
        .args(["--data", ground.path().to_str().unwrap(), "--json"])
        .args(args)
        .output()
        .unwrap();
    let out = String::from_utf8(done.stdout).unwrap();
    let text = String::from_utf8(done.stderr).unwrap();
    (
        done.status.code().unwrap(),
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{text}")),
    )
}

async fn make_due(ground: &Ground) {
    ground.run("update tikkun_cleanup_outbox set next_try_at = '2026-01-01 00:00:00.000000'").await;
}

#[tokio::test]
async fn objects_stay_while_storage_is_off_until_a_person_drains_the_outbox() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let start = ground.service().set("TIKKUN_DELETION__STORAGE_DELETE", "false");
    let mut service = start.set("TIKKUN_RESCUER__OUTBOX_ALARM_AFTER", "1s").start().await;
    let files = ground.files();
    let job = service.delete_all(7);
    ground.becomes(&mut service, job, "completed").await;
    let kept = ground.number("select count(*) from tikkun_cleanup_outbox").await;
    assert!(kept > 1 && ground.files() == files, "{kept} objects");
    assert!(!service.lines("R2 cleanup: off, ").is_empty());

    ground.run("update tikkun_cleanup_outbox set condemned_at = '2026-01-01 00:00:00.000000'").await;
    make_due(&ground).await;
    service
        .until("a health that does not mind", async |service| {
            let health = service.health();
            (health["status"] == "healthy").then(|| assert_eq!(health["cleanup_pending"]["pending"], kept))
        })
        .await;
    assert!(service.lines("outbox_alarm_after").is_empty());

    let (code, rows) = tikkun(&ground, &["outbox", "list", "--limit", "1000"]);
    let rows = rows.as_array().unwrap();
    assert_eq!((code, rows.len() as i64, &rows[0]["state"]), (0, kept, &json!("due")));
    let first = rows[0]["id"].to_string();
    assert_eq!(tikkun(&ground, &["outbox", "park", &first]), (0, json!({ "parked": [rows[0]["id"]] })));
    assert_eq!(service.health()["cleanup_pending"]["parked"], 1);
    let (code, done) = tikkun(&ground, &["outbox", "drain"]);
    assert_eq!((code, &done["deleted"], &done["parked"]), (0, &json!(kept - 1), &json!(1)), "{done}");
    assert_eq!(tikkun(&ground, &["outbox", "unpark", "--all"]).0, 0);
    assert_eq!(tikkun(&ground, &["outbox", "drain"]).1["deleted"], 1);
    let row = ground.row(job).await;
    ground.is_deleted(&tenant, &row).await;
}

#[tokio::test]
async fn objects_put_off_before_the_clock_was_set_back_are_deleted_at_once() {
    let ground = Ground::new().await;
    let tenant = ground.tenant(7, 60).await;
    let mut service = ground.service().set("TIKKUN_DELETION__STORAGE_DELETE", "false").start().await;
    let job = service.delete_all(7);
    ground.becomes(&mut service, job, "completed").await;
    drop(service);
    ground
        .run(
            "update tikkun_cleanup_outbox set attempts = 1, last_error = 'no answer',
                 last_error_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', '+3 hours'),
                 next_try_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', '+3 hours', '+10 seconds')",
        )
        .await;
    let mut service = ground.service().start().await;
    let left = "select count(*) from tikkun_cleanup_outbox";
    service.until("an empty outbox", async |_| (ground.number(left).await == 0).then_some(())).await;
    assert_eq!(service.lines("the clock was set back").len(), 1);
    let row = ground.row(job).await;
    ground.is_deleted(&tenant, &row).await;
}

#[tokio::test]
async fn objects_that_wait_too_long_raise_one_alarm() {
    let ground = Ground::new().await;
    ground
        .run(
            "insert into tikkun_cleanup_outbox
                 (background_job_id, business_id, driver, bucket, key, condemned_at, next_try_at)
             values (1, 7, 'elsewhere', 'old', '7/a.pdf', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')",
        )
        .await;
    let start = ground.service().set("TIKKUN_RESCUER__RECONCILE_INTERVAL", "100ms");
    let mut service = start.set("RUST_BACKTRACE", "0").start().await;
    service
        .until("the alarm", async |service| (!service.lines("outbox_alarm_after").is_empty()).then_some(()))
        .await;
    service
        .until("a degraded health", async |service| {
            (service.health()["cleanup_pending"]["alarm"] == true).then_some(())
        })
        .await;
    assert_eq!(service.lines("outbox_alarm_after").len(), 1);
    let (code, left) = tikkun(&ground, &["outbox", "drain"]);
    assert_eq!((code, &left["pending"]), (1, &json!(1)), "an object of another store is not ours to delete");
}
