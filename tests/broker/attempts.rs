//! The records of a job's attempts, and requests to stop a running one.

use tikkun::job::{JobId, JobState, Limit};
use tikkun::queue::{AttemptOutcome, AttemptRecord, Broker, Disposition, Order, StopAsked};

use super::ground::*;

async fn attempts(broker: &dyn Broker, id: &str) -> Vec<AttemptRecord> {
    broker.attempts(&JobId::from(id)).await.unwrap()
}

fn outcomes(attempts: &[AttemptRecord]) -> Vec<AttemptOutcome> {
    attempts.iter().map(|attempt| attempt.outcome).collect()
}

fn again(error: &str) -> Disposition {
    Disposition::RetryAt { delay: std::time::Duration::ZERO, error: error.into() }
}

fn bury(error: &str) -> Disposition {
    Disposition::Discard { error: error.into(), keep: Limit::Never }
}

pub async fn every_attempt_keeps_its_error_and_its_times(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    assert_eq!(attempts(&*broker, "a").await, [], "no such job");
    broker.enqueue(&[job("a")]).await.unwrap();
    assert_eq!(attempts(&*broker, "a").await, [], "not begun");
    for error in ["first\nwith a second line", "second"] {
        let delivery = fetch(&*broker, 1).await.pop().unwrap();
        settle(&*broker, &delivery, again(error)).await;
    }
    let last = fetch(&*broker, 1).await.pop().unwrap();
    let while_it_runs = attempts(&*broker, "a").await;
    assert_eq!(
        outcomes(&while_it_runs),
        [AttemptOutcome::Running, AttemptOutcome::Failed, AttemptOutcome::Failed]
    );
    assert_eq!((while_it_runs[0].ended_at, &while_it_runs[0].error), (None, &None));
    settle(&*broker, &last, bury("third")).await;
    let all = attempts(&*broker, "a").await;
    assert_eq!(outcomes(&all), [AttemptOutcome::Failed; 3]);
    let errors: Vec<_> = all.iter().map(|attempt| attempt.error.as_deref().unwrap()).collect();
    assert_eq!(errors, ["third", "second", "first\nwith a second line"]);
    assert_eq!(all.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [Some(3), Some(2), Some(1)]);
    for attempt in &all {
        assert!(attempt.started_at.is_some() && attempt.ended_at >= attempt.started_at, "{attempt:?}");
        assert!(attempt.runner.is_some(), "{attempt:?}");
    }
}

pub async fn a_job_that_a_person_runs_again_keeps_the_attempt_before(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let first = one(&*broker, job("a")).await;
    settle(&*broker, &first, bury("no luck")).await;
    broker.requeue(&["a".into()]).await.unwrap();
    assert_eq!(outcomes(&attempts(&*broker, "a").await), [AttemptOutcome::Failed]);
    let second = fetch(&*broker, 1).await.pop().unwrap();
    assert_eq!(record(&*broker, "a").await.error.as_deref(), Some("no luck"), "until it ends again");
    settle(&*broker, &second, ack()).await;
    assert_eq!(record(&*broker, "a").await.error, None, "it has ended well");
    let all = attempts(&*broker, "a").await;
    assert_eq!(outcomes(&all), [AttemptOutcome::Finished, AttemptOutcome::Failed]);
    assert_eq!((&all[0].error, all[1].error.as_deref()), (&None, Some("no luck")));
}

pub async fn of_many_attempts_the_newest_are_kept_and_go_with_their_job(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    broker.enqueue(&[job("a")]).await.unwrap();
    for number in 1..=30 {
        let delivery = fetch(&*broker, 1).await.pop().unwrap();
        settle(&*broker, &delivery, again(&format!("error {number}"))).await;
    }
    let kept = attempts(&*broker, "a").await;
    assert!((10..=20).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept[0].error.as_deref(), Some("error 30"));
    let last = fetch(&*broker, 1).await.pop().unwrap();
    let nothing = Limit::After(std::time::Duration::ZERO);
    settle(&*broker, &last, Disposition::Discard { error: "the end".into(), keep: nothing }).await;
    assert_eq!(attempts(&*broker, "a").await, []);
}

pub async fn a_running_job_is_asked_to_stop_and_its_process_hears_it(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let other = fresh.open().await;
    broker.enqueue(&[job("waits")]).await.unwrap();
    let ask = async |id: &str| other.stop(&JobId::from(id)).await.unwrap();
    assert_eq!(ask("nobody").await, StopAsked::Missing);
    assert_eq!(ask("waits").await, StopAsked::Is(JobState::Queued));
    let delivery = fetch(&*broker, 1).await.pop().unwrap();
    let me = ME.into();
    let heard = async {
        loop {
            let orders = broker.orders(&me, DEADLINE).await.unwrap();
            if !orders.is_empty() {
                return orders;
            }
        }
    };
    let asked = async {
        // Where orders are heard only by those who listen, the first may come too early.
        while ask("waits").await != StopAsked::Told {
            tokio::time::sleep(SHORT).await;
        }
    };
    let both = tokio::time::timeout(DEADLINE, async { tokio::join!(heard, asked) }).await;
    let (orders, ()) = both.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for the order to stop"));
    let lent = vec![delivery.execution.clone()];
    assert_eq!(orders, [Order::Stop { job: "waits".into(), lent, others: Vec::new() }]);
    let stop = Disposition::Stop { error: "stopped by a person".into(), keep: Limit::Never };
    settle(&*broker, &delivery, stop).await;
    let ended = record(&*broker, "waits").await;
    assert_eq!((ended.state, ended.stopped), (JobState::Failed, true));
    let all = attempts(&*broker, "waits").await;
    assert_eq!(outcomes(&all), [AttemptOutcome::Stopped]);
    assert_eq!(all[0].error.as_deref(), Some("stopped by a person"));
    broker.requeue(&["waits".into()]).await.unwrap();
    assert!(!record(&*broker, "waits").await.stopped);
}
