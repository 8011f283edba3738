//! Settlements and a fetch in one call.

use std::time::Duration;

use tikkun::job::{JobState, QueueEnd};
use tikkun::queue::{Broker, Delivery, Disposition, Settled, Settlement};

use super::ground::*;
use super::refused::{User, none_is_lost};
use super::rq::Prefix;

async fn exchange(broker: &dyn Broker, ends: &[Settlement], max: u32) -> (Vec<Settled>, Vec<Delivery>) {
    broker.exchange(ends, &queue(), max, &me()).await.unwrap()
}

pub async fn what_is_settled_may_come_again_in_the_same_call(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b", "c", "d"]).await;
    let lent = fetch(&*broker, 3).await;
    let retry = Disposition::RetryAt { delay: Duration::ZERO, error: "no luck".into() };
    let ends = [
        settlement(&lent[0], ack()),
        settlement(&lent[1], retry),
        settlement(&lent[2], Disposition::Release { end: QueueEnd::Head }),
    ];
    let (settled, fetched) = exchange(&*broker, &ends, 9).await;
    assert_eq!(settled, [Settled::Done; 3]);
    assert_eq!(ids(&fetched), ["c", "d", "b"], "the ends are written first");
    assert_eq!(fetched.iter().map(|one| one.job.attempt).collect::<Vec<_>>(), [2, 1, 2]);
    assert_eq!(fetched[2].job.failures, 1);
    assert_eq!(record(&*broker, "a").await.state, JobState::Finished);
    let ends: Vec<_> = fetched.iter().map(|one| settlement(one, ack())).collect();
    assert_eq!(broker.settle(&ends).await.unwrap(), [Settled::Done; 3]);
    let counts = counts(&*broker).await;
    assert_eq!((counts.queued, counts.started, counts.finished), (0, 0, 4));
}

pub async fn either_half_may_be_empty(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    assert_eq!(exchange(&*broker, &[], 9).await, (vec![], vec![]));
    enqueue(&*broker, &["a"]).await;
    let (settled, fetched) = exchange(&*broker, &[], 9).await;
    assert_eq!((settled.len(), ids(&fetched)), (0, vec!["a".to_owned()]));
    let (settled, fetched) = exchange(&*broker, &[settlement(&fetched[0], ack())], 9).await;
    assert_eq!((settled, fetched), (vec![Settled::Done], vec![]));
}

pub async fn a_process_without_a_lease_settles_and_gets_nothing(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b"]).await;
    let a = fetch(&*broker, 1).await.remove(0);
    broker.end_lease(&me()).await.unwrap();
    let (settled, fetched) = exchange(&*broker, &[settlement(&a, ack())], 9).await;
    assert_eq!((settled, fetched), (vec![Settled::Done], vec![]));
    assert_eq!(record(&*broker, "b").await.state, JobState::Queued);
}

pub async fn what_nobody_hears_counts_once_and_loses_no_job(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    enqueue(&*broker, &["a", "b", "c"]).await;
    let mut lent = fetch(&*broker, 1).await.remove(0);
    for polls in 1..6 {
        let (queue, me, end) = (queue(), me(), [settlement(&lent, ack())]);
        let mut unheard = broker.exchange(&end, &queue, 1, &me);
        let mut heard = None;
        for _ in 0..polls {
            if let std::task::Poll::Ready(answer) = futures::poll!(&mut unheard) {
                heard = Some(answer.unwrap());
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(unheard);
        let settled = match &heard {
            Some((settled, _)) => settled[0],
            None => {
                eventually("the end to be written again", async || {
                    broker.settle(&end).await.ok().map(|settled| settled[0])
                })
                .await
            }
        };
        assert_eq!(settled, Settled::Done, "{polls}: written by either call, and told by one that is heard");
        assert_eq!(record(&*broker, lent.job.id.as_str()).await.state, JobState::Finished);
        let fetched = heard.and_then(|(_, mut fetched)| fetched.pop());
        if fetched.is_none() && counts(&*broker).await.finished == 3 {
            break;
        }
        lent = match fetched {
            Some(fetched) => fetched,
            None => {
                eventually("what nobody heard of to come back", async || fetch(&*broker, 1).await.pop()).await
            }
        };
    }
}

/// All that a call may not do: its ends are written and its jobs are lent when it may do it again, each once.
#[tokio::test]
async fn call_that_is_refused_half_way_loses_neither_ends_nor_jobs() {
    for command in super::refused::COMMANDS {
        let prefix = Prefix::new();
        let (all, user) = (leased(&prefix).await, User::of(&prefix));
        enqueue(&*all, &["a", "b", "c"]).await;
        let lent = user.broker.fetch(&queue(), 1, &me()).await.unwrap();
        let ends = [settlement(&lent[0], ack())];
        user.may_not(command);
        let mut fetched = Vec::new();
        let mut settled = None;
        for _ in 0..3 {
            if let Ok((ended, more)) = user.broker.exchange(&ends, &queue(), 1, &me()).await {
                assert_eq!(*settled.get_or_insert(ended[0]), Settled::Done, "{command}");
                fetched.extend(more);
                break;
            }
            none_is_lost(&prefix, command).await;
        }
        user.may_all();
        if settled.is_none() {
            assert_eq!(user.broker.settle(&ends).await.unwrap(), [Settled::Done], "{command}");
        }
        assert_eq!(record(&*all, "a").await.state, JobState::Finished, "{command}");
        let mut held = ids(&all.held(&queue(), &me()).await.unwrap());
        assert!(ids(&fetched).iter().all(|one| held.contains(one)), "{command}: {held:?}");
        held.extend(ids(&fetch(&*all, 9).await));
        held.sort();
        assert_eq!(held, ["b", "c"], "{command}: each once");
    }
}

#[tokio::test]
async fn while_no_end_can_be_written_nothing_is_taken() {
    let prefix = Prefix::new();
    let broker = leased(&prefix).await;
    enqueue(&*broker, &["a", "b"]).await;
    let a = fetch(&*broker, 1).await.remove(0);
    prefix.ask(&["SET", "finished:q", "something else"]).await;
    for _ in 0..3 {
        broker.exchange(&[settlement(&a, ack())], &queue(), 9, &me()).await.unwrap_err();
        assert_eq!(record(&*broker, "b").await.state, JobState::Queued);
    }
    prefix.ask(&["DEL", "finished:q"]).await;
    let (settled, fetched) = exchange(&*broker, &[settlement(&a, ack())], 9).await;
    assert_eq!((settled, ids(&fetched)), (vec![Settled::Done], vec!["b".to_owned()]));
}
