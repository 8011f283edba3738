//! Runs jobs with every outcome and a deletion, and compares each metric with the expected value.

use std::time::{Duration, Instant};

use serde_json::json;
use tikkun::job::{Args, NewJob, Retries};
use tikkun::measure::list;

use super::exposition::Exposition;
use super::ground::{FUNCTION, Ground, Tenant};
use super::process::{SECRET, Service};

/// Longer than a reading of the back ends is good for.
const FRESH: Duration = Duration::from_secs(5);

fn job(id: &str, function: &str) -> NewJob {
    NewJob::new(id, "default", function, Args::default())
}

/// Jobs that end well, fail, fail twice, panic, and that nobody here knows.
async fn enqueue(ground: &Ground) {
    let twice = Retries { left: 1, intervals: Vec::new() };
    let mut jobs = vec![
        job("well-1", "tikkun.noop"),
        job("well-2", "tikkun.noop"),
        job("well-3", "noop"),
        job("fails", "tikkun.fail"),
        NewJob { retries: Some(twice), ..job("fails-twice", "tikkun.fail") },
        job("panics", "tikkun.panic"),
        NewJob { delay: Some(Duration::from_secs(3600)), ..job("later", "tikkun.noop") },
        NewJob { queue: "of-somebody-else".into(), ..job("theirs", "shop.greet") },
    ];
    jobs.extend((0..20).map(|number| job(&format!("strange-{number}"), &format!("made.up.f{number}"))));
    ground.broker().await.enqueue(&jobs).await.unwrap();
}

/// A tenant of whose objects the storage refuses one.
async fn tenant(ground: &Ground) -> Tenant {
    let tenant = ground.tenant(7, 40).await;
    let id = tenant.base + 1;
    ground.run(format!("update attachments set storage_path = '../outside.pdf' where id = {id}")).await;
    tenant
}

async fn scraped(service: &mut Service, what: &str, is_so: impl Fn(&Exposition) -> bool) -> Exposition {
    service.until(what, async |service| Some(Exposition::scrape(service)).filter(&is_so)).await
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn figures_are_what_happened() {
    let ground = Ground::new().await;
    let file = ground.path().join("schedules.toml");
    let schedule = "[[schedule]]\nname = \"yearly\"\ncron = \"@yearly\"\nfunction = \"tikkun.noop\"\nqueue = \"default\"\n";
    std::fs::write(&file, schedule).unwrap();
    let tenant = tenant(&ground).await;
    let start = ground.service().set("TIKKUN_CONFIG", file.to_str().unwrap());
    let start = start.set("TIKKUN_DIAGNOSTICS__ENABLED", "true").failing("rescuer.tick=1*panic");
    let mut service = start.start().await;
    enqueue(&ground).await;
    let row = service.delete_all(tenant.id);
    ground.becomes(&mut service, row, "completed").await;

    let settled = |seen: &Exposition| {
        let ends = |outcome| seen.sum("tikkun_job_attempts_total", &["queue=\"default\"", outcome]);
        ends("\"finished\"") + ends("\"failed\"") == 26.0
            && seen.sum("tikkun_job_attempts_total", &["queue=\"maintenance\"", "\"finished\""]) == 1.0
            && seen.sum("tikkun_objects_total", &["\"failed\""]) >= 1.0
            && seen.sum("tikkun_backend_faults_total", &[]) >= 1.0
            && seen.value("tikkun_actor_restarts_total{actor=\"rescuer\"}") == Some(1.0)
            && seen.value("tikkun_queue_jobs{queue=\"default\",state=\"failed\"}") == Some(23.0)
            && seen.value("tikkun_outbox_objects{state=\"refused\"}") == Some(1.0)
    };
    let seen = scraped(&mut service, "everything to be counted", settled).await.checked();
    jobs_are_counted(&seen);
    queues_are_read(&seen);
    deletion_is_counted(&ground, &seen).await;
    the_process_is_described(&seen);
    every_metric_is_there_and_no_other(&seen);
    nothing_private_is_told(&seen);
}

/// Under load the call that settles one job takes the next.
#[tokio::test]
async fn a_job_costs_one_call_to_the_queue() {
    const JOBS: u32 = 60;
    let ground = Ground::new().await;
    let jobs: Vec<_> = (0..JOBS).map(|number| job(&format!("job-{number}"), "tikkun.noop")).collect();
    ground.broker().await.enqueue(&jobs).await.unwrap();
    let start = ground.service().set("TIKKUN_WORKER__SLOTS", "1").set("TIKKUN_DIAGNOSTICS__ENABLED", "true");
    let mut service = start.start().await;
    let is_over = |seen: &Exposition| {
        seen.sum("tikkun_job_attempts_total", &["queue=\"default\"", "\"finished\""]) == f64::from(JOBS)
    };
    let seen = scraped(&mut service, "every job to end", is_over).await;
    let calls = |operation: &str| {
        let labels = ["backend=\"queue\"", &*format!("operation=\"{operation}\"")];
        seen.sum("tikkun_backend_call_seconds_count", &labels)
    };
    let (together, apart) = (calls("exchange"), calls("settle") + calls("fetch"));
    // The first job is fetched alone and the last one settled alone, and other queues are looked at.
    assert!((50.0..=61.0).contains(&together), "{together} calls that settle and fetch");
    assert!(apart <= 15.0, "{apart} calls that only settle or only fetch");
}

fn jobs_are_counted(seen: &Exposition) {
    let ends = |function: &str, outcome: &str| {
        let labels = format!("queue=\"default\",function=\"{function}\",outcome=\"{outcome}\"");
        seen.value(&format!("tikkun_job_attempts_total{{{labels}}}"))
    };
    for (function, outcome, count) in [
        ("tikkun.noop", "finished", 3.0),
        ("tikkun.noop", "failed", 0.0),
        ("tikkun.fail", "failed", 2.0),
        ("tikkun.fail", "retried", 1.0),
        ("tikkun.panic", "failed", 1.0),
        ("other", "failed", 20.0),
    ] {
        assert_eq!(ends(function, outcome), Some(count), "{function} {outcome}");
    }
    for histogram in ["tikkun_job_run_seconds_count", "tikkun_job_wait_seconds_count"] {
        assert_eq!(seen.sum(histogram, &["queue=\"default\""]), 27.0, "{histogram}");
        assert_eq!(seen.sum(histogram, &["function=\"other\""]), 20.0, "{histogram}");
    }
    assert_eq!(seen.sum("tikkun_jobs_in_flight", &[]), 0.0);
    assert_eq!(seen.sum("tikkun_actor_messages", &[]), 0.0);
    assert_eq!(seen.value("tikkun_slots"), Some(2.0));
    assert_eq!(seen.value("tikkun_actor_panics_total{actor=\"rescuer\"}"), Some(1.0));
    assert_eq!(seen.sum("tikkun_actor_restarts_total", &[]), 1.0, "a job's panic restarts nobody");
}

fn queues_are_read(seen: &Exposition) {
    let jobs = |queue: &str, state: &str| {
        seen.value(&format!("tikkun_queue_jobs{{queue=\"{queue}\",state=\"{state}\"}}"))
    };
    assert_eq!(jobs("default", "finished"), Some(3.0));
    assert_eq!(jobs("default", "scheduled"), Some(1.0));
    assert_eq!(jobs("default", "queued"), Some(0.0));
    assert_eq!(jobs("other", "queued"), Some(1.0), "of queues that nobody configured");
    let at = |metric: &str, queue: &str| seen.value(&format!("{metric}{{queue=\"{queue}\"}}"));
    assert_eq!(at("tikkun_queue_workers", "default"), Some(1.0));
    assert_eq!(at("tikkun_queue_workers", "high"), Some(0.0));
    assert_eq!(at("tikkun_queue_paused", "default"), Some(0.0));
    assert_eq!(at("tikkun_queue_outage", "default"), Some(0.0));
    for one in ["tikkun_lease_held", "tikkun_ready", "tikkun_scheduler_led", "tikkun_scheduler_leads"] {
        assert_eq!(seen.value(one), Some(1.0), "{one}");
    }
    assert_eq!(seen.value("tikkun_schedule_lag_seconds{schedule=\"yearly\"}"), Some(0.0));
    assert!(seen.value("tikkun_scheduler_tick_age_seconds").unwrap() < 60.0);
}

async fn deletion_is_counted(ground: &Ground, seen: &Exposition) {
    assert_eq!(seen.value("tikkun_receipts_total{outcome=\"deleted\"}"), Some(40.0));
    assert_eq!(seen.value("tikkun_receipts_total{outcome=\"set_aside\"}"), Some(0.0));
    let batches = seen.value("tikkun_deletion_batch_seconds_count").unwrap();
    assert!(batches >= 2.0, "twenty receipts each: {batches}");
    let left = ground.number("select count(*) from tikkun_cleanup_outbox").await;
    assert_eq!(left, 1, "the one that the storage refuses");
    assert!(seen.value("tikkun_objects_total{outcome=\"deleted\"}").unwrap() >= 30.0);
    assert!(seen.value("tikkun_outbox_oldest_seconds").unwrap() > 0.0);
    let refused =
        ["backend=\"storage\"", "engine=\"directory\"", "operation=\"delete\"", "kind=\"permanent\""];
    assert!(seen.sum("tikkun_backend_faults_total", &refused) >= 1.0);
    assert_eq!(seen.sum("tikkun_deletions", &[]), 0.0, "none is under way");
    assert_eq!(seen.value("tikkun_deletion_receipts_left"), Some(0.0));
    for (backend, engine, operation) in [
        ("queue", "embedded", "enqueue"),
        ("database", "sqlite", "delete_batch"),
        ("storage", "directory", "delete"),
    ] {
        let labels = format!("backend=\"{backend}\",engine=\"{engine}\",operation=\"{operation}\"");
        let calls = seen.value(&format!("tikkun_backend_call_seconds_count{{{labels}}}"));
        assert!(calls.is_some_and(|calls| calls >= 1.0), "{labels}: {calls:?}");
    }
}

fn the_process_is_described(seen: &Exposition) {
    let build = format!("tikkun_build_info{{version=\"{}\",role=\"all\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen.value(&build), Some(1.0));
    let started = seen.value("process_start_time_seconds").unwrap();
    assert!(chrono::Utc::now().timestamp() as f64 - started < 300.0, "{started}");
    assert!(seen.value("process_resident_memory_bytes").unwrap() > 1e6);
    assert!(seen.value("process_open_fds").unwrap() > 5.0);
}

/// Nothing is counted that is not in the list, and nothing in the list is a promise only.
fn every_metric_is_there_and_no_other(seen: &Exposition) {
    let listed: Vec<_> = list::all().map(|metric| (metric.name, metric.kind.as_str())).collect();
    for (name, kind) in &listed {
        let shown = seen.kinds.get(*name).map(String::as_str);
        assert_eq!(
            shown,
            Some(*kind),
            "/metrics of this test's service does not show {name} as a {kind}: if it is not counted there, let this \
             test bring it about, or give a counter with labels its first values in FROM_ZERO of \
             src/measure/exposition.rs"
        );
    }
    for metric in list::all() {
        assert!(seen.text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
    }
    assert_eq!(seen.kinds.len(), listed.len(), "{:?}", seen.kinds.keys());
}

fn nothing_private_is_told(seen: &Exposition) {
    for private in [SECRET, "well-1", "strange", "made.up", "of-somebody-else", "outside.pdf", "business"] {
        assert!(!seen.text.contains(private), "{private}");
    }
    let functions: Vec<_> = seen.values_of("function").into_iter().collect();
    assert_eq!(functions, ["other", FUNCTION, "tikkun.fail", "tikkun.noop", "tikkun.panic"]);
}

#[tokio::test]
async fn many_scrapes_cost_the_back_ends_one_look() {
    let ground = Ground::new().await;
    let service = ground.service().start().await;
    let began = Instant::now();
    let mut seen = Exposition::scrape(&service);
    for _ in 0..50 {
        seen = Exposition::scrape(&service);
    }
    let most = (began.elapsed().as_secs_f64() / FRESH.as_secs_f64()).floor() + 1.0;
    for operation in ["operation=\"leadership\"", "operation=\"counts\"", "operation=\"paused\""] {
        let looks = seen.sum("tikkun_backend_call_seconds_count", &[operation]);
        assert!((1.0..=most).contains(&looks), "{operation}: {looks} looks for 51 scrapes, at most {most}");
    }
}

#[tokio::test]
async fn every_role_tells_its_figures_unless_it_is_told_not_to() {
    let ground = Ground::new().await;
    for role in ["worker", "scheduler", "api"] {
        let mut service = ground.service().set("SERVICE_ROLE", role).start().await;
        let seen = Exposition::scrape(&service).checked();
        let build = format!("tikkun_build_info{{version=\"{}\",role=\"{role}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(seen.value(&build), Some(1.0));
        assert_eq!(seen.value("tikkun_slots"), Some(if role == "worker" { 2.0 } else { 0.0 }));
        assert_eq!(service.terminate().await, Some(0));
    }
    let silent = ground.service().set("TIKKUN_HTTP__METRICS", "false").start().await;
    silent.call("GET", "/metrics", &[]).expect(404);
    silent.call("GET", "/healthz", &[]).expect(200);
}

#[tokio::test]
async fn a_queue_that_people_pause_shows_it() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    service.call("POST", "/api/queues/default/pause", &[("X-Internal-Secret", SECRET)]).expect(200);
    ground.broker().await.enqueue(&[job("waits", "tikkun.noop")]).await.unwrap();
    let paused = "tikkun_queue_paused{queue=\"default\"}";
    let waiting = "tikkun_queue_jobs{queue=\"default\",state=\"queued\"}";
    let shows = |seen: &Exposition| seen.value(paused) == Some(1.0) && seen.value(waiting) == Some(1.0);
    scraped(&mut service, "a paused queue with one job", shows).await;
    assert_eq!(json!(service.health()["queues"]["default"]["paused"]), true);
}
