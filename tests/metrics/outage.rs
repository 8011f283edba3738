//! After the loss of a queue the process still answers, and reports what it cannot read.

use tikkun::job::{Args, NewJob};

use super::exposition::Exposition;
use super::ground::Ground;
use super::process::Service;
use super::redis::Redis;

#[tokio::test]
async fn what_cannot_be_read_is_no_number_and_comes_back() {
    let ground = Ground::new().await;
    let mut redis = Redis::start_keeping();
    let start = ground.service().set("REDIS_URL", &redis.url());
    let mut service = start.start().await;
    // A queue that has not been looked at yet has no outage.
    service.until("readiness", async |it| (it.get("/readyz").status == 200).then_some(())).await;
    let readable = "tikkun_backend_readable{backend=\"queue\"}";
    let waiting = "tikkun_queue_jobs{queue=\"default\",state=\"queued\"}";
    let outage = "tikkun_queue_outage{queue=\"default\"}";
    let well = |seen: &Exposition| {
        (seen.value(readable), seen.value(waiting), seen.value(outage)) == (Some(1.0), Some(0.0), Some(0.0))
    };
    let scrape = async |service: &Service| Exposition::scrape(service);
    service.until("a queue that is read", async |it| Some(scrape(it).await).filter(well)).await.checked();

    redis.stop();
    let lost = |seen: &Exposition| {
        seen.value(readable) == Some(0.0)
            && seen.value(waiting).is_some_and(f64::is_nan)
            && seen.value("tikkun_scheduler_led").is_some_and(f64::is_nan)
            && seen.value(outage) == Some(1.0)
            && seen.sum("tikkun_backend_faults_total", &["engine=\"redis\"", "kind=\"unavailable\""]) > 0.0
    };
    let seen = service.until("a queue that is lost", async |it| Some(scrape(it).await).filter(lost)).await;
    assert_eq!(seen.checked().value("tikkun_backend_readable{backend=\"database\"}"), Some(1.0));

    redis.start_again();
    service.until("a queue that is back", async |it| Some(scrape(it).await).filter(well)).await;
}

#[tokio::test]
async fn outage_of_a_fetch_is_over_when_the_next_one_is_answered_though_it_brings_nothing() {
    let ground = Ground::new().await;
    let mut service = ground.service().start().await;
    let outage = "tikkun_queue_outage{queue=\"default\"}";
    // The queue can be read, but no job may be taken out.
    let refusing = "create trigger no_fetch before update on tikkun_jobs when new.state = 'started'
                    begin select raise(abort, 'nobody takes this'); end";
    let mut queue = ground.connect("queue.db").await;
    sqlx::raw_sql(refusing).execute(&mut queue).await.unwrap();
    let broker = ground.broker().await;
    broker.enqueue(&[NewJob::new("a", "default", "tests.job", Args::default())]).await.unwrap();
    let scraped = async |service: &Service, value: f64| {
        (Exposition::scrape(service).value(outage) == Some(value)).then_some(())
    };
    service.until("an outage", async |service| scraped(service, 1.0).await).await;
    service
        .until("that it is told", async |service| (service.get("/readyz").status == 503).then_some(()))
        .await;
    let health = service.get("/api/jobs/health").expect(500).json();
    assert!(health["not_served"]["default"].as_str().unwrap().contains("nobody takes this"), "{health}");
    broker.cancel(&"a".into()).await.unwrap();
    sqlx::raw_sql("drop trigger no_fetch").execute(&mut queue).await.unwrap();
    service.until("the end of the outage", async |service| scraped(service, 0.0).await).await;
    assert_eq!(service.get("/api/jobs/health").expect(200).json()["not_served"], serde_json::json!({}));
    service.get("/readyz").expect(200);
}

#[tokio::test]
async fn queue_that_answers_but_takes_no_writes_is_unhealthy_and_only_the_page_stays_ready() {
    let ground = Ground::new().await;
    let redis = Redis::start_keeping();
    let start = ground.service().set("REDIS_URL", &redis.url());
    let mut worker = start.clone().set("SERVICE_ROLE", "worker").start().await;
    let mut page = start.set("SERVICE_ROLE", "api").start().await;
    let well = async |service: &Service| {
        let healthy = service.get("/api/jobs/health").status == 200 && service.get("/readyz").status == 200;
        healthy.then_some(())
    };
    let refused = async |service: &Service| {
        let answer = service.get("/api/jobs/health");
        (answer.status == 500 && answer.json()["refuses_writes"]["broker"].is_string()).then_some(())
    };
    let refusals = [
        (["config", "set", "min-replicas-to-write", "1"], ["config", "set", "min-replicas-to-write", "0"]),
        (["config", "set", "maxmemory", "1"], ["config", "set", "maxmemory", "0"]),
    ];
    for (refuse, serve) in refusals {
        worker.until("a worker that is well", well).await;
        page.until("a page that is well", well).await;
        redis.ask(&refuse);
        worker.until("a worker that says so", refused).await;
        page.until("a page that says so", refused).await;
        worker.get("/readyz").expect(503);
        worker.get("/healthz").expect(200);
        page.get("/readyz").expect(200);
        redis.ask(&serve);
    }
    worker.until("a worker that is well", well).await;
    redis.ask(&["replicaof", "127.0.0.1", "1"]);
    worker.until("a worker of a server that has become a replica", refused).await;
    redis.ask(&["replicaof", "no", "one"]);
    worker.until("a worker that is well", well).await;
}
