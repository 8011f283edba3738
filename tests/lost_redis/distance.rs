//! Redis at the end of a long line.

use std::time::Duration;

use tikkun::job::{JobState, NewJob};

use super::line::{Condition, Line, Server};
use super::place::{Place, plain};

/// One way: with the way back so long that a call is nearly all waiting.
const WAY: Duration = Duration::from_millis(10);

#[tokio::test]
async fn jobs_at_the_end_of_a_long_line_run_once_each_and_those_of_the_first_queue_before_others() {
    let place = Place::forgetful().await;
    let line = Line::to(Server::Socket(place.redis.socket()));
    line.becomes(Condition::Late(WAY));
    let of = |queue: &str, count: usize| -> Vec<NewJob> {
        (0..count).map(|n| plain(&format!("{queue}-{n}"), queue, "tikkun.echo", n.into())).collect()
    };
    let (high, low) = (of("high", 60), of("low", 20));
    place.enqueue(&[low.clone(), high.clone()].concat()).await;
    let start = place.service().set("REDIS_URL", &format!("redis://127.0.0.1:{}/0", line.port()));
    let service = start.set("TIKKUN_WORKER__SLOTS", "4").start().await;
    let mut begun = Vec::new();
    for jobs in [&high, &low] {
        let mut of_queue = Vec::new();
        for job in jobs {
            let job = place.becomes(job.id.as_str(), JobState::Finished).await;
            assert_eq!((job.attempt, job.failures, job.orphaned), (1, 0, 0), "{job:?}");
            of_queue.push(job.started_at.expect("a start"));
        }
        begun.push(of_queue);
    }
    let (last, first) = (begun[0].iter().max(), begun[1].iter().min());
    assert!(
        last <= first,
        "a job of the lower queue began at {first:?}, before the last of the higher at {last:?}"
    );
    let counts = place.broker.counts().await.unwrap();
    assert!(counts.values().all(|one| one.started == 0 && one.queued == 0), "{counts:?}");
    assert_eq!(service.restarts(), 0);
}
