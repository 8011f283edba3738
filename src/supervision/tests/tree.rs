//! Several children: which restart together, who gives up, and what the table keeps.

use actix::Addr;
use actix_rt::Arbiter;

use super::super::*;
use super::probe::*;

async fn crash(address: &Addr<Probe>) {
    let _ = soon("boom", address.send(Boom)).await;
}

#[actix_rt::test]
async fn one_for_one_leaves_the_others_alone() {
    let stage = Stage::new();
    let first = stage.start(ChildSpec::permanent("a")).await.address();
    stage.start(ChildSpec::permanent("b")).await;
    crash(&first).await;
    stage.until_restarted("a", 1).await;
    assert_eq!(stage.diary.entries(), ["a started", "b started", "a restarting", "a started"]);
}

#[actix_rt::test]
async fn rest_for_one_stops_later_children_in_reverse_and_restarts_them_in_order() {
    let stage = Stage::with(spec("top", Strategy::RestForOne, 9));
    stage.start(ChildSpec::permanent("a")).await;
    let second = stage.start(ChildSpec::permanent("b")).await.address();
    let third = stage.start(ChildSpec::permanent("c")).await.address();
    stage.start(ChildSpec::permanent("d")).await;
    stage.diary.take();
    crash(&second).await;
    stage.until_restarted("d", 1).await;
    assert_eq!(
        stage.diary.entries(),
        [
            "d stopping",
            "d stopped",
            "c stopping",
            "c stopped",
            "b restarting",
            "b started",
            "c restarting",
            "c started",
            "d restarting",
            "d started",
        ]
    );
    assert!(echoes(&third).await);
    assert_eq!(stage.row("a").unwrap().restarts, 0);
}

#[actix_rt::test]
async fn rest_for_one_drops_later_temporary_children() {
    let stage = Stage::with(spec("top", Strategy::RestForOne, 9));
    let first = stage.start(ChildSpec::permanent("a")).await.address();
    stage.start(ChildSpec::temporary("b")).await;
    stage.start(ChildSpec::permanent("c")).await;
    crash(&first).await;
    stage.until_restarted("c", 1).await;
    assert_eq!(stage.row("b"), None);
}

#[actix_rt::test]
async fn branch_over_its_limit_is_restarted_whole_and_then_the_top_gives_up() {
    let stage = Stage::with(spec("top", Strategy::OneForOne, 1));
    let branch = stage.top.branch(spec("branch", Strategy::OneForOne, 1)).await.unwrap();
    let trouble = Trouble::default();
    let first = stage.start_under(&branch, ChildSpec::permanent("a"), &trouble).await.address();
    let second = stage.start_under(&branch, ChildSpec::permanent("b"), &trouble).await.address();
    stage.start_under(&branch, ChildSpec::permanent("c"), &trouble).await;
    stage.start(ChildSpec::permanent("z")).await;
    let mut gave_up = stage.top.gave_up();

    crash(&first).await;
    stage.until_restarted("a", 1).await;
    stage.diary.take();
    crash(&first).await;
    stage.until_restarted("c", 1).await;
    assert_eq!(
        stage.diary.take(),
        [
            "c stopping",
            "c stopped",
            "b stopping",
            "b stopped",
            "a restarting",
            "a started",
            "b restarting",
            "b started",
            "c restarting",
            "c started",
        ]
    );
    assert!(echoes(&first).await && echoes(&second).await);
    assert_eq!(stage.row("branch").unwrap().restarts, 1);
    assert_eq!(stage.row("branch").unwrap().supervisor.as_deref(), Some("top"));
    assert_eq!(*gave_up.borrow(), None);

    crash(&first).await;
    stage.until_restarted("a", 3).await;
    stage.diary.take();
    crash(&first).await;
    let escalation = soon("the top to give up", gave_up.wait_for(Option::is_some)).await.unwrap().clone();
    let escalation = escalation.unwrap();
    assert_eq!((escalation.supervisor.as_str(), escalation.child.as_str()), ("top", "branch"));
    assert_eq!(escalation.cause.panic().unwrap().message, "boom in a");
    assert_eq!(stage.row("z").unwrap().state, ChildState::Running, "it may end what it has in hand");
    stage.top.stop().await;
    stage.until_state("z", ChildState::Stopped).await;
    until("all mailboxes to close", || !first.connected() && !second.connected()).await;
    let stops: Vec<String> =
        stage.diary.entries().into_iter().filter(|entry| entry.ends_with("stopped")).collect();
    assert_eq!(stops, ["c stopped", "b stopped", "z stopped"]);
    assert_eq!(stage.row("top").unwrap().state, ChildState::Failed);
    assert_eq!(stage.row("branch").unwrap().state, ChildState::Failed);
    let late = stage.top.start_here(ChildSpec::permanent("late"), stage.probe("late", &trouble)).await;
    assert_eq!(late.map(drop).unwrap_err(), StartError::NotRunning);
}

#[actix_rt::test]
async fn child_that_cannot_be_built_escalates_unless_it_is_temporary() {
    let stage = Stage::new();
    let build = || -> Probe { panic!("no probe today") };
    stage.top.start_here(ChildSpec::temporary("a/1"), build).await.unwrap();
    stage.until_gone("a/1").await;
    assert_eq!(*stage.top.gave_up().borrow(), None);
    stage.top.start_here(ChildSpec::permanent("b"), build).await.unwrap();
    let mut gave_up = stage.top.gave_up();
    let told = soon("the top to give up", gave_up.wait_for(Option::is_some)).await.unwrap().clone().unwrap();
    assert_eq!(told.cause.panic().unwrap().message, "no probe today");
    assert_eq!(stage.row("b").unwrap().state, ChildState::Failed);
}

#[actix_rt::test]
async fn permanent_child_whose_thread_ends_escalates() {
    let stage = Stage::new();
    let arbiter = Arbiter::new();
    let probe = stage.probe("a", &Trouble::default());
    stage.top.start(ChildSpec::permanent("a"), &arbiter.handle(), probe).await.unwrap();
    stage.until_state("a", ChildState::Running).await;
    arbiter.stop();
    let mut gave_up = stage.top.gave_up();
    let told = soon("the top to give up", gave_up.wait_for(Option::is_some)).await.unwrap().clone().unwrap();
    assert_eq!(told.cause, Failure::Lost(None));
}

#[actix_rt::test]
async fn two_children_of_one_name_are_refused() {
    let stage = Stage::new();
    let child = stage.start(ChildSpec::permanent("a")).await;
    let twin = stage.probe("a", &Trouble::default());
    let refused = stage.top.start_here(ChildSpec::permanent("a"), twin).await;
    assert_eq!(refused.map(drop).unwrap_err(), StartError::NameTaken("a".to_owned()));
    assert!(echoes(&child.address()).await);
}

#[actix_rt::test]
async fn dynamic_children_leave_the_table_and_their_role_remembers() {
    let stage = Stage::new();
    for number in 0..20 {
        let child = stage.start(ChildSpec::temporary(format!("deletion_batch/{number}"))).await;
        crash(&child.address()).await;
        stage.until_gone(child.name()).await;
    }
    let tree = stage.top.table().snapshot();
    assert_eq!(tree.children.len(), 1, "only the top is left: {:?}", tree.children);
    let role = tree.roles.iter().find(|role| role.role == "deletion_batch").unwrap();
    assert_eq!((role.present, role.started, role.restarts, role.panics), (0, 20, 0, 20));
    assert_eq!(role.last_panic.as_ref().unwrap().message, "boom in deletion_batch/19");
}

#[actix_rt::test]
async fn rest_for_one_takes_a_whole_branch_along() {
    let stage = Stage::with(spec("top", Strategy::RestForOne, 9));
    let first = stage.start(ChildSpec::permanent("a")).await.address();
    let branch = stage.top.branch(spec("branch", Strategy::OneForOne, 0)).await.unwrap();
    let trouble = Trouble::default();
    let below = stage.start_under(&branch, ChildSpec::permanent("b"), &trouble).await.address();
    stage.start_under(&branch, ChildSpec::temporary("c"), &trouble).await;
    stage.diary.take();
    crash(&first).await;
    stage.until_restarted("branch", 1).await;
    assert_eq!(
        stage.diary.entries(),
        [
            "c stopping",
            "c stopped",
            "c dropped",
            "b stopping",
            "b stopped",
            "a restarting",
            "a started",
            "b restarting",
            "b started",
        ]
    );
    assert!(echoes(&below).await);
    assert_eq!(stage.row("c"), None);
}

#[actix_rt::test]
async fn start_dropped_half_way_leaves_nothing_behind() {
    let stage = Stage::new();
    let probe = stage.probe("a", &Trouble::default());
    let mut start = Box::pin(stage.top.start_here(ChildSpec::permanent("a"), probe));
    assert!(futures::poll!(&mut start).is_pending());
    drop(start);
    assert!(!stage.top.stop_child("nobody").await, "by now the supervisor has seen the child come");
    stage.until_gone("a").await;
    assert!(echoes(&stage.start(ChildSpec::permanent("a")).await.address()).await);
    assert_eq!(*stage.top.gave_up().borrow(), None);
}
