//! Stopping: in reverse order and on time, whatever the actors do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::MailboxError;

use super::super::*;
use super::probe::*;
use crate::backoff::Backoff;

const BRIEF: Duration = Duration::from_millis(20);

#[actix_rt::test]
async fn children_stop_in_reverse_order_and_one_that_refuses_is_dropped() {
    let stage = Stage::new();
    stage.start(ChildSpec::permanent("a")).await;
    let stubborn = Trouble { refuses_to_stop: true, ..Trouble::default() };
    let spec = ChildSpec::permanent("b").shutdown(BRIEF);
    let refusing = stage.start_under(&stage.top, spec, &stubborn).await.address();
    stage.start(ChildSpec::permanent("c")).await;
    stage.diary.take();
    soon("the tree to stop", stage.top.stop()).await;
    let entries = stage.diary.take();
    assert_eq!(
        entries,
        [
            "c stopping",
            "c stopped",
            "c dropped",
            "b stopping",
            "b dropped",
            "a stopping",
            "a stopped",
            "a dropped"
        ]
    );
    assert!(!refusing.connected());
    soon("a second stop", stage.top.stop()).await;
    assert_eq!(stage.diary.take(), [""; 0]);
}

#[actix_rt::test]
async fn branches_stop_in_their_place_in_the_order() {
    let stage = Stage::new();
    stage.start(ChildSpec::permanent("a")).await;
    let branch = stage.top.branch(spec("branch", Strategy::OneForOne, 1)).await.unwrap();
    stage.start_under(&branch, ChildSpec::permanent("b"), &Trouble::default()).await;
    stage.start(ChildSpec::permanent("c")).await;
    soon("the tree to stop", stage.top.stop()).await;
    let stops: Vec<String> =
        stage.diary.take().into_iter().filter(|entry| entry.ends_with("stopped")).collect();
    assert_eq!(stops, ["c stopped", "b stopped", "a stopped"]);
    soon("a stop of the branch that is gone", branch.stop()).await;
}

#[actix_rt::test]
async fn branch_stops_alone() {
    let stage = Stage::new();
    let branch = stage.top.branch(spec("branch", Strategy::OneForOne, 1)).await.unwrap();
    let below = stage.start_under(&branch, ChildSpec::permanent("b"), &Trouble::default()).await.address();
    let beside = stage.start(ChildSpec::permanent("c")).await.address();
    soon("the branch to stop", branch.stop()).await;
    assert!(!below.connected());
    assert!(echoes(&beside).await);
    assert_eq!((stage.row("branch"), stage.row("b")), (None, None));
}

#[actix_rt::test]
async fn panics_in_stopped_and_in_the_destructor_hold_up_nobody() {
    let stage = Stage::new();
    stage.start(ChildSpec::permanent("a")).await;
    let trouble = Trouble::default();
    trouble.stopped.store(1, Ordering::SeqCst);
    trouble.drop.store(1, Ordering::SeqCst);
    stage.start_under(&stage.top, ChildSpec::permanent("b"), &trouble).await;
    soon("the tree to stop", stage.top.stop()).await;
    assert_eq!(stage.diary.count("a stopped"), 1);
    assert_eq!(trouble.stopped.load(Ordering::SeqCst) + trouble.drop.load(Ordering::SeqCst), 0);
}

#[actix_rt::test]
async fn stop_during_a_restart_delay_does_not_wait_for_it() {
    let slow = Backoff { first: HOUR, cap: HOUR, factor: 1.0, jitter: 0.0 };
    let stage = Stage::with(spec("top", Strategy::OneForOne, 9).backoff(slow));
    let child = stage.start(ChildSpec::permanent("a")).await;
    let _ = child.address().send(Boom).await;
    stage.until_state("a", ChildState::Restarting).await;
    let address = child.address();
    let queued = address.send(Echo(1));
    assert!(soon("the child to stop", child.stop()).await);
    assert_eq!(soon("the queued message", queued).await, Err(MailboxError::Closed));
    assert_eq!(stage.diary.entries(), ["a started", "a restarting", "a dropped"]);
    assert_eq!(stage.row("a"), None);
}

#[actix_rt::test]
async fn one_child_stops_by_name_and_by_handle_once() {
    let stage = Stage::new();
    let by_handle = stage.start(ChildSpec::permanent("a")).await;
    let by_name = stage.start(ChildSpec::permanent("b")).await;
    assert!(soon("a to stop", by_handle.stop()).await);
    assert!(!soon("a to stop again", by_handle.stop()).await);
    assert!(soon("b to stop", stage.top.stop_child("b")).await);
    assert!(!soon("b to stop again", stage.top.stop_child("b")).await);
    assert!(!by_name.address().connected());
    assert_eq!(stage.diary.count("a stopped") + stage.diary.count("b stopped"), 2);
}

#[actix_rt::test]
async fn child_stops_when_its_owning_handle_is_dropped() {
    let stage = Stage::new();
    let lent = stage.start(ChildSpec::permanent("a")).await;
    let owned = stage.start(ChildSpec::permanent("b")).await.owned();
    let (lent_address, owned_address) = (lent.address(), owned.address());
    drop((lent, owned));
    until("the owned child to stop", || !owned_address.connected()).await;
    assert!(echoes(&lent_address).await);
}

#[actix_rt::test]
async fn tree_stops_when_the_last_handle_on_its_top_is_dropped() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::permanent("a")).await.address();
    let Stage { top, diary } = stage;
    drop(top);
    until("the child to stop", || !address.connected()).await;
    assert_eq!(diary.count("a stopped"), 1);
}
