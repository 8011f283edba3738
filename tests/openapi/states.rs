//! A service with a job, a deletion and a queue in every possible state.

use std::time::Duration;

use serde_json::{Value, json};
use tikkun::job::{Args, NewJob};

use super::ground::Ground;
use super::process::Service;

/// Jobs of each sort: those of one sort are cancelled or retried one after the other.
const EACH: usize = 6;

fn jobs() -> Vec<NewJob> {
    let named = |sort: &str, number: usize, queue: &str, function: &str, args: Value| {
        let args = Args::positional(args.as_array().unwrap().clone());
        NewJob::new(format!("{sort}-{number}"), queue, function, args)
    };
    let each = |number| {
        let scheduled = named("scheduled", number, "default", "tikkun.noop", json!([]));
        [
            named("waiting", number, "low", "shop.greet", json!([number, "שלום"])),
            named("finished", number, "default", "tikkun.echo", json!([{ "deep": [1.5, null] }])),
            named("failed", number, "default", "tikkun.fail", json!(["as it was told", true])),
            named("panicked", number, "default", "tikkun.panic", json!(["as it was told"])),
            NewJob { delay: Some(Duration::from_secs(3600)), ..scheduled },
        ]
    };
    let running = |number| named("running", number, "default", "tikkun.sleep", json!([3600]));
    (0..EACH).flat_map(each).chain([0, 1].map(running)).collect()
}

/// The service, and the names of what it has, by sort.
pub async fn every_state(ground: &Ground) -> (Service, Value) {
    for (tenant, receipts) in [(10, 40), (20, 40), (30, 40), (40, 40), (50, 200), (60, 40), (70, 40)] {
        ground.tenant(tenant, receipts).await;
    }
    let sealed = "create trigger sealed before update on receipts when old.id in (100003, 100017)
                  begin select raise(abort, 'this row is sealed'); end";
    ground.run(sealed).await;
    let owed = "insert into tikkun_cleanup_outbox
                    (background_job_id, business_id, driver, bucket, key, condemned_at, next_try_at)
                values (1, 7, 'elsewhere', 'old', '7/a.pdf', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')";
    ground.run(owed).await;
    let schedule = "[[schedule]]\nname = \"nightly\"\ncron = \"@daily\"\nfunction = \"tikkun.noop\"\nqueue = \"default\"\n";
    let file = ground.path().join("tikkun.toml");
    std::fs::write(&file, schedule).unwrap();
    let start = ground.service().set("TIKKUN_CONFIG", file.to_str().unwrap());
    let start = start.set("TIKKUN_DIAGNOSTICS__ENABLED", "true").set("TIKKUN_WORKER__SLOTS", "4");
    let start = start.set("TIKKUN_HTTP__PAGE_INTERVAL", "100ms");
    // Each call of the hooks comes from another guest.
    let start = start.set("TIKKUN_HTTP__TRUSTED_PROXIES", "127.0.0.0/8");

    // Quickly, what is to have ended.
    let mut quick = start.start().await;
    let completed = quick.delete_all(10);
    ground.becomes(&mut quick, completed, "completed").await;
    quick.terminate().await;

    // Slowly, what is to be under way.
    let mut service = start.set("TIKKUN_DELETION__THROTTLE", "10m").start().await;
    let paused = service.delete_all(20);
    ground.processed(&mut service, paused, 20).await;
    wish(&service, 20, paused, "pause");
    let cancelled = service.delete_all(30);
    wish(&service, 30, cancelled, "cancel");
    let failed = service.delete_all(40);
    wish(&service, 40, failed, "cancel");
    ground
        .run(format!(
            "update background_jobs set status = 'failed', last_error = 'ten failures' where id = {failed}"
        ))
        .await;
    let running = service.delete_all(50);
    ground.processed(&mut service, running, 20).await;
    ground.broker().await.enqueue(&jobs()).await.unwrap();
    let ended = format!("{} ended jobs", EACH * 3);
    service
        .until(&ended, async |_| {
            let entries = ground.entries().await;
            let ended = entries.iter().filter(|entry| ["finished", "failed"].contains(&entry.state.as_str()));
            let runs = entries.iter().any(|entry| entry.id == "running-0" && entry.state == "started");
            (runs && ended.filter(|entry| entry.id.contains('-')).count() >= EACH * 3).then_some(())
        })
        .await;
    let ids: Vec<String> = jobs().iter().map(|job| job.id.to_string()).collect();
    let known = json!({
        "jobs": ids,
        "deletions": [completed, paused, cancelled, failed, running],
        "tenants": [10, 20, 30, 40, 50, 60, 70],
        "queues": ["maintenance", "default", "low", "high"],
    });
    (service, known)
}

fn wish(service: &Service, tenant: i64, job: i64, what: &str) {
    service.owner(tenant, "POST", &format!("/api/receipts/jobs/{job}/{what}")).expect(200);
}
