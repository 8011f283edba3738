//! Redis goes back in time a little: it has lost the newest writes, and keeps everything before them.

use tikkun::job::JobState;

use super::place::{Place, sleep};

/// Long enough that the disk is written while the job runs.
const SECONDS: f64 = 3.0;

#[tokio::test]
async fn job_whose_end_redis_has_lost_runs_again_and_ends_without_a_restart_of_its_process() {
    let mut place = Place::forgetful().await;
    let mut service = place.service().start().await;
    place.enqueue(&[sleep("lost-end", "low", SECONDS)]).await;
    place.becomes("lost-end", JobState::Started).await;
    place.redis.ask(&["SAVE"]);
    let saved = place.job("lost-end").await.unwrap();
    assert_eq!(saved.state, JobState::Started, "the disk was written too late for this test");
    place.becomes("lost-end", JobState::Finished).await;
    let (lent, memory) = (["HLEN", "rq:tikkun:deliveries"], ["HGET", "rq:tikkun:memory", "mark"]);
    assert_eq!(place.redis.ask(&lent), "0");
    let before = place.redis.ask(&memory);

    place.redis.stop();
    place.redis.start_again();
    assert_eq!((place.redis.ask(&memory), place.redis.ask(&lent)), (before, "1".to_owned()));

    let ended = place.becomes("lost-end", JobState::Finished).await;
    assert_eq!((ended.failures, ended.orphaned), (0, 0), "{ended:?}");
    place.until("nothing to be lent", async || (place.redis.ask(&lent) == "0").then_some(())).await;
    assert_eq!(service.restarts(), 0);
    service.says("nobody here carries a job that the queue has lent to this process").await;
}
