//! What must not grow without bound: payloads that are small in Redis and large once they are expanded, and ends that
//! cannot be written down.

use std::time::Duration;

use serde_json::json;
use tikkun::job::JobState;

use crate::place::{Place, plain};
use crate::process::Service;

const MIB: usize = 1 << 20;

/// The most memory that the process has had so far, in MiB.
fn peak(service: &Service) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

/// Sixteen payloads that are some 14 KiB in Redis and 14 MiB in memory.
async fn enqueue_bombs(place: &Place) {
    let text = "a".repeat(14 * MIB);
    for number in 0..16 {
        place.enqueue(&[plain(&format!("bomb-{number}"), "default", "tikkun.noop", json!(text))]).await;
    }
}

#[tokio::test]
async fn jobs_in_hand_take_no_more_memory_than_their_budget() {
    let place = Place::forgetful().await;
    enqueue_bombs(&place).await;
    let start = place.service().set("TIKKUN_WORKER__PAYLOAD_BUDGET", "16MiB");
    let service = start.start().await;
    for number in 0..16 {
        let job = place.becomes(&format!("bomb-{number}"), JobState::Failed).await;
        let error = job.error.unwrap();
        assert!(error.contains("aaa") && error.contains("registered: "), "it was looked at: {error:.300}");
    }
    // All of them together, once, are 224 MiB; the process itself and what passes by have wide room.
    let peak = peak(&service);
    assert!(peak < 200, "it took {peak} MiB");
}

#[tokio::test]
async fn a_payload_that_never_fits_fails_in_words_and_holds_up_no_other() {
    let place = Place::forgetful().await;
    enqueue_bombs(&place).await;
    place.enqueue(&[plain("plain", "default", "tikkun.echo", json!(1))]).await;
    let _service = place.service().set("TIKKUN_WORKER__PAYLOAD_BUDGET", "1MiB").start().await;
    place.becomes("plain", JobState::Finished).await;
    let error = place.becomes("bomb-0", JobState::Failed).await.error.unwrap();
    assert!(error.contains("have 1048576 bytes for theirs (worker.payload_budget)"), "{error:.300}");
}

#[tokio::test]
async fn while_no_end_can_be_written_no_more_than_so_many_jobs_are_run() {
    const JOBS: u64 = 2000;
    let place = Place::forgetful().await;
    place.redis.ask(&["ACL", "SETUSER", "default", "-xadd"]);
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| plain(&format!("job-{number}"), "default", "tikkun.echo", json!(number)))
        .collect();
    place.enqueue(&jobs).await;
    let _service = place.service().start().await;
    let counts = async || place.broker.counts().await.unwrap().remove(&"default".into()).unwrap_or_default();
    let (mut waiting, mut still) = (JOBS, 0);
    // It has come to rest when nothing has been fetched for a hundred looks.
    while still < 100 && waiting > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = counts().await.queued;
        still = if now < JOBS && now == waiting { still + 1 } else { 0 };
        waiting = now;
    }
    assert!(waiting > 0, "all were run, and no end is written");
    place.redis.ask(&["ACL", "SETUSER", "default", "+xadd"]);
    place
        .until("every job to end", async || {
            let counts = counts().await;
            (counts.finished + counts.failed == JOBS).then_some(())
        })
        .await;
}
