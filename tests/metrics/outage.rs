//! A queue that is lost: the process goes on answering, and says what it cannot read.

use crate::exposition::Exposition;
use crate::ground::Ground;
use crate::redis::Redis;

#[tokio::test]
async fn what_cannot_be_read_is_no_number_and_comes_back() {
    let ground = Ground::new().await;
    let mut redis = Redis::start_keeping();
    let start = ground.service().set("REDIS_URL", &redis.url());
    let mut service = start.start().await;
    let readable = "tikkun_backend_readable{backend=\"queue\"}";
    let waiting = "tikkun_queue_jobs{queue=\"default\",state=\"queued\"}";
    let outage = "tikkun_queue_outage{queue=\"default\"}";
    let well = |seen: &Exposition| {
        (seen.value(readable), seen.value(waiting), seen.value(outage)) == (Some(1.0), Some(0.0), Some(0.0))
    };
    let scrape = async |service: &crate::process::Service| Exposition::scrape(service);
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
