//! A single crash: its cost for the actor and its callers.

use std::sync::atomic::Ordering;

use actix::MailboxError;
use actix_rt::Arbiter;
use futures::future::join_all;

use super::super::*;
use super::probe::*;
use crate::backoff::Backoff;

#[actix_rt::test]
async fn panicking_actor_answers_at_the_same_address_afterwards() {
    let stage = Stage::new();
    let child = stage.start(ChildSpec::permanent("a")).await;
    let address = child.address();
    assert_eq!(soon("boom", address.send(Boom)).await, Err(MailboxError::Closed));
    assert!(echoes(&address).await);
    stage.until_restarted("a", 1).await;
    assert_eq!(stage.diary.entries(), ["a started", "a restarting", "a started"]);
}

#[actix_rt::test]
async fn queued_messages_survive_the_crash_and_the_one_in_hand_answers_closed() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::permanent("a")).await.address();
    let boom = address.send(Boom);
    let queued: Vec<_> = (1..=4).map(|number| address.send(Echo(number))).collect();
    assert_eq!(soon("boom", boom).await, Err(MailboxError::Closed));
    assert_eq!(soon("queued", join_all(queued)).await, [Ok(1), Ok(2), Ok(3), Ok(4)]);
}

#[actix_rt::test]
async fn answers_still_owed_are_closed_when_the_restart_is_decided_not_after_its_delay() {
    let slow = Backoff { first: HOUR, cap: HOUR, factor: 1.0, jitter: 0.0 };
    let stage = Stage::with(spec("top", Strategy::OneForOne, 9).backoff(slow));
    let address = stage.start(ChildSpec::permanent("a")).await.address();
    let owed = address.send(NeverAnswer);
    assert_eq!(soon("boom", address.send(Boom)).await, Err(MailboxError::Closed));
    assert_eq!(soon("the answer owed", owed).await, Err(MailboxError::Closed));
    stage.until_state("a", ChildState::Restarting).await;
    assert!(address.connected());
}

#[actix_rt::test]
async fn table_shows_what_the_panic_said_and_where() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::permanent("a")).await.address();
    let _ = address.send(Boom).await;
    stage.until_restarted("a", 1).await;
    let row = stage.row("a").unwrap();
    let panic = row.last_panic.unwrap();
    assert_eq!(panic.message, "boom in a");
    assert!(panic.place.starts_with("src/supervision/tests/probe.rs:"), "{}", panic.place);
    assert_eq!(row.supervisor.as_deref(), Some("top"));
}

#[actix_rt::test]
async fn panic_in_a_spawned_future_restarts_its_actor() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::permanent("a")).await.address();
    assert_eq!(address.send(BoomInSpawned).await, Ok(()));
    stage.until_restarted("a", 1).await;
    assert!(echoes(&address).await);
    assert_eq!(stage.row("a").unwrap().last_panic.unwrap().message, "boom in a spawned future");
}

#[actix_rt::test]
async fn panic_in_started_is_tried_again() {
    let stage = Stage::new();
    let trouble = Trouble::default();
    trouble.started.store(2, Ordering::SeqCst);
    let address = stage.start_under(&stage.top, ChildSpec::permanent("a"), &trouble).await.address();
    assert!(echoes(&address).await);
    stage.until_restarted("a", 2).await;
}

#[actix_rt::test]
async fn panic_in_restarting_is_tried_again() {
    let stage = Stage::new();
    let trouble = Trouble::default();
    trouble.restarting.store(2, Ordering::SeqCst);
    let address = stage.start_under(&stage.top, ChildSpec::permanent("a"), &trouble).await.address();
    let _ = address.send(Boom).await;
    assert!(echoes(&address).await);
    stage.until_restarted("a", 3).await;
    assert_eq!(stage.row("a").unwrap().last_panic.unwrap().message, "trouble in restarting");
}

#[actix_rt::test]
async fn child_nobody_holds_the_address_of_still_begins_again() {
    let stage = Stage::new();
    let child = stage.start(ChildSpec::permanent("a")).await;
    let last = child.address();
    drop(child);
    last.try_send(Boom).unwrap();
    drop(last);
    stage.until_restarted("a", 1).await;
}

#[actix_rt::test]
async fn permanent_child_that_leaves_begins_again() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::permanent("a")).await.address();
    let _ = address.send(Leave).await;
    stage.until_restarted("a", 1).await;
    assert!(echoes(&address).await);
    assert_eq!(stage.row("a").unwrap().last_panic, None);
}

#[actix_rt::test]
async fn transient_child_begins_again_after_a_crash_and_is_gone_when_it_leaves() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::transient("a")).await.address();
    let _ = address.send(Boom).await;
    stage.until_restarted("a", 1).await;
    let _ = address.send(Leave).await;
    stage.until_gone("a").await;
    until("the mailbox to close", || !address.connected()).await;
}

#[actix_rt::test]
async fn temporary_child_never_begins_again() {
    let stage = Stage::new();
    let crashing = stage.start(ChildSpec::temporary("a")).await.address();
    let leaving = stage.start(ChildSpec::temporary("b")).await.address();
    let _ = crashing.send(Boom).await;
    let _ = leaving.send(Leave).await;
    stage.until_gone("a").await;
    stage.until_gone("b").await;
    until("both mailboxes to close", || !crashing.connected() && !leaving.connected()).await;
    assert_eq!(stage.diary.count("a restarting") + stage.diary.count("b restarting"), 0);
}

#[actix_rt::test]
async fn child_lives_and_restarts_on_the_arbiter_it_was_given() {
    let stage = Stage::new();
    let arbiter = Arbiter::new();
    let probe = stage.probe("a", &Trouble::default());
    let child = stage.top.start(ChildSpec::permanent("a"), &arbiter.handle(), probe).await.unwrap();
    let there = child.address().send(Where).await.unwrap();
    assert_ne!(there, format!("{:?}", std::thread::current().id()));
    let _ = child.address().send(Boom).await;
    assert_eq!(soon("where", child.address().send(Where)).await, Ok(there));
    stage.top.stop().await;
    arbiter.stop();
}

#[actix_rt::test]
async fn child_can_be_started_from_another_thread_on_that_thread() {
    let stage = Stage::new();
    let arbiter = Arbiter::new();
    let (top, probe) = (stage.top.clone(), stage.probe("a", &Trouble::default()));
    let (tell, told) = tokio::sync::oneshot::channel();
    arbiter.spawn(async move {
        let child = top.start_here(ChildSpec::temporary("a"), probe).await.unwrap();
        let _ = tell.send(child);
    });
    let child = soon("the child", told).await.unwrap();
    let there = soon("where", child.address().send(Where)).await.unwrap();
    assert_ne!(there, format!("{:?}", std::thread::current().id()));
    stage.top.stop().await;
    arbiter.stop();
}
