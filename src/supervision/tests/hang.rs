//! Actors that wait for ever, and blocked threads.

use std::sync::mpsc;
use std::time::Duration;

use actix_rt::Arbiter;

use super::super::*;
use super::probe::*;

const HEARTBEAT: Duration = Duration::from_millis(20);

#[actix_rt::test]
async fn actor_that_waits_for_ever_is_restarted_in_place() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::permanent("a").heartbeat(HEARTBEAT)).await.address();
    let _ = soon("the message that hangs", address.send(WaitForEver)).await;
    assert!(echoes(&address).await, "the message behind it is handled by the next life");
    stage.until_restarted("a", 1).await;
    let record = stage.row("a").unwrap().last_panic.unwrap();
    assert_eq!((record.message.as_str(), record.place.as_str()), ("no heartbeat for 20ms", "heartbeat"));
    assert_eq!(stage.diary.entries(), ["a started", "a restarting", "a started"]);
}

#[actix_rt::test]
async fn temporary_actor_that_waits_for_ever_is_stopped() {
    let stage = Stage::new();
    let address = stage.start(ChildSpec::temporary("a").heartbeat(HEARTBEAT)).await.address();
    let _ = soon("the message that hangs", address.send(WaitForEver)).await;
    stage.until_gone("a").await;
    until("the mailbox to close", || !address.connected()).await;
}

#[actix_rt::test]
async fn blocked_thread_is_reported_as_hung_until_it_comes_back() {
    let stage = Stage::new();
    let arbiter = Arbiter::new();
    let probe = stage.probe("a", &Trouble::default());
    let spec = ChildSpec::permanent("a").heartbeat(HEARTBEAT);
    let address = stage.top.start(spec, &arbiter.handle(), probe).await.unwrap().address();
    let mut stuck = stage.top.table().stuck_threads();
    let (release, blocked) = mpsc::channel();
    let blocking = address.send(Block(blocked));

    let told = soon("a stuck thread", stuck.wait_for(|stuck| stuck.threads == 1)).await.unwrap().clone();
    assert_eq!(told.children, ["a"]);
    assert_eq!(stage.top.table().snapshot().stuck_threads, 1);
    assert_eq!(stage.row("a").unwrap().state, ChildState::Hung);

    drop(release);
    assert_eq!(soon("the blocking message", blocking).await, Ok(()));
    soon("no stuck thread", stuck.wait_for(|stuck| stuck.threads == 0)).await.unwrap();
    stage.until_state("a", ChildState::Running).await;
    assert!(echoes(&address).await);
    assert_eq!(stage.row("a").unwrap().restarts, 0);
    stage.top.stop().await;
    arbiter.stop();
}

#[actix_rt::test]
async fn abandoned_child_holds_up_nobody_and_leaves_when_its_thread_comes_back() {
    let stage = Stage::new();
    let arbiter = Arbiter::new();
    let probe = stage.probe("a", &Trouble::default());
    // Longer than the test, so that only the abandonment can count.
    let spec = ChildSpec::permanent("a").heartbeat(HOUR);
    let child = stage.top.start(spec, &arbiter.handle(), probe).await.unwrap();
    stage.until_state("a", ChildState::Running).await;
    let mut stuck = stage.top.table().stuck_threads();
    let (release, blocked) = mpsc::channel::<()>();
    let (begins, began) = tokio::sync::oneshot::channel();
    arbiter.spawn_fn(move || {
        let _ = begins.send(());
        let _ = blocked.recv();
    });
    soon("the thread to be blocked", began).await.unwrap();

    let gone = stage.top.abandon(&child);
    soon("a stuck thread", stuck.wait_for(|stuck| stuck.threads == 1)).await.unwrap();
    assert_eq!(stage.row("a").unwrap().state, ChildState::Hung);
    let probe = stage.probe("a", &Trouble::default());
    let again = stage.top.start_here(ChildSpec::permanent("a"), probe).await.unwrap();
    assert!(echoes(&again.address()).await, "its name is free");

    drop(release);
    soon("the abandoned child to go", gone).await;
    soon("no stuck thread", stuck.wait_for(|stuck| stuck.threads == 0)).await.unwrap();
    let named = |row: &&ChildStatus| row.name == "a";
    assert_eq!(stage.top.table().snapshot().children.iter().filter(named).count(), 1);
    arbiter.stop();
    stage.top.stop().await;
}
