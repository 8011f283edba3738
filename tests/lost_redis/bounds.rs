//! Payloads that are large when decompressed must not exceed the memory limit of the process.

use serde_json::json;
use tikkun::job::JobState;
use tikkun::queue::StopAsked;

use super::place::{Place, plain};

const MIB: usize = 1 << 20;
const BOMBS: usize = 10;

/// The most memory that the process has had so far, in MiB.
pub fn peak(pid: impl std::fmt::Display) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

/// Payloads that are some 14 KiB in Redis and 14 MiB in memory.
async fn enqueue_bombs(place: &Place) {
    let text = "a".repeat(14 * MIB);
    for number in 0..BOMBS {
        place.enqueue(&[plain(&format!("bomb-{number}"), "default", "tikkun.noop", json!(text))]).await;
    }
}

#[tokio::test]
async fn jobs_in_hand_take_no_more_memory_than_their_budget() {
    let place = Place::forgetful().await;
    enqueue_bombs(&place).await;
    let start = place.service().set("TIKKUN_WORKER__PAYLOAD_BUDGET", "16MiB");
    // What a thread has given back is not kept for that thread alone: what is measured is what is held.
    let start = start.set("MALLOC_ARENA_MAX", "1");
    let service = start.start().await;
    for number in 0..BOMBS {
        let job = place.becomes(&format!("bomb-{number}"), JobState::Failed).await;
        let error = job.error.unwrap();
        assert!(error.contains("aaa") && error.contains("registered: "), "it was looked at: {error:.300}");
    }
    // All of them together, twice, are 280 MiB; the process itself and what passes by have wide room.
    let peak = peak(service.process.pid());
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
async fn a_job_that_waits_for_room_hears_that_it_is_to_stop() {
    let place = Place::forgetful().await;
    let ids = ["first", "second"];
    for id in ids {
        let mut job = plain(id, "default", "tikkun.sleep", json!(40));
        job.args.named.insert("ballast".to_owned(), json!("a".repeat(10 * MIB)));
        place.enqueue(&[job]).await;
    }
    let _service = place.service().set("TIKKUN_WORKER__PAYLOAD_BUDGET", "16MiB").start().await;
    for id in ids {
        place.becomes(id, JobState::Started).await;
    }
    // One of them runs, the other waits for its end; everybody sees both running.
    for id in ids {
        assert_eq!(place.broker.stop(&id.into()).await.unwrap(), StopAsked::Told);
    }
    for id in ids {
        assert!(place.becomes(id, JobState::Failed).await.stopped, "{id}");
    }
}
