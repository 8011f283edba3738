//! Process leases, leader leases, and the jobs of processes without a lease.

use std::process::Command;
use std::time::Duration;

use chrono::Utc;
use tikkun::job::ProcessId;
use tikkun::queue::{Broker, Disposition, Orphan, ProcessRecord, Settled};

use super::ground::*;

async fn orphans(broker: &dyn Broker) -> Vec<Orphan> {
    broker.orphans(100).await.unwrap()
}

/// Waits until the deliveries of a process whose lease is not renewed are orphans.
async fn wait_for_orphans(broker: &dyn Broker) -> Vec<Orphan> {
    eventually("orphans of a lease that is not renewed", async || {
        Some(orphans(broker).await).filter(|orphans| !orphans.is_empty())
    })
    .await
}

pub async fn deliveries_of_a_lease_that_ran_out_are_orphans(fresh: &dyn Fresh) {
    let (dying, rescuer) = (leased(fresh).await, fresh.open().await);
    let a = one(&*dying, job("a")).await;
    dying.renew_lease(&process(ME), SHORT).await.unwrap();
    assert_eq!(wait_for_orphans(&*rescuer).await, [Orphan { delivery: a.clone(), process: me() }]);
    assert_eq!(settle(&*rescuer, &a, Disposition::Rescue).await, Settled::Done);
    assert_eq!(settle(&*dying, &a, ack()).await, Settled::NotOurs, "it came too late");
    assert_eq!(orphans(&*rescuer).await, []);
    eventually("the process to be forgotten", async || {
        orphans(&*rescuer).await;
        rescuer.processes().await.unwrap().is_empty().then_some(())
    })
    .await;
}

pub async fn deliveries_under_a_live_lease_are_no_orphans(fresh: &dyn Fresh) {
    let (alive, rescuer) = (leased(fresh).await, fresh.open().await);
    one(&*alive, job("a")).await;
    for _ in 0..10 {
        assert!(alive.renew_lease(&process(ME), LONG).await.unwrap());
        assert_eq!(orphans(&*rescuer).await, []);
    }
}

pub async fn a_killed_process_of_this_host_leaves_orphans_at_once(fresh: &dyn Fresh) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let (broker, rescuer) = (fresh.open().await, fresh.open().await);
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let dying = ProcessRecord { pid: child.id(), ..process(ME) };
    assert!(broker.renew_lease(&dying, LONG).await.unwrap());
    let a = one(&*broker, job("a")).await;
    assert_eq!(rescuer.orphans(9).await.unwrap(), [], "it lives");
    child.kill().unwrap();
    child.wait().unwrap();
    let orphans = rescuer.orphans(9).await.unwrap();
    assert_eq!(orphans.len(), 1, "no lease has to run out first");
    assert_eq!(orphans[0].delivery, a);
}

pub async fn ending_a_lease_orphans_what_is_unsettled(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    let a = one(&*broker, job("a")).await;
    broker.end_lease(&me()).await.unwrap();
    assert_eq!(broker.processes().await.unwrap(), []);
    enqueue(&*broker, &["b"]).await;
    assert_eq!(fetch(&*broker, 1).await, [], "it has no lease any more");
    assert_eq!(orphans(&*broker).await, [Orphan { delivery: a.clone(), process: me() }]);
    broker.end_lease(&me()).await.unwrap();
    assert_eq!(orphans(&*broker).await.len(), 1, "ending it twice changes nothing");
    assert_eq!(settle(&*broker, &a, Disposition::Rescue).await, Settled::Done);
    assert_eq!(orphans(&*broker).await, []);
}

pub async fn orphans_are_listed_until_one_settles_them(fresh: &dyn Fresh) {
    let (broker, other) = (leased(fresh).await, fresh.open().await);
    enqueue(&*broker, &["a", "b", "c"]).await;
    fetch(&*broker, 3).await;
    broker.end_lease(&me()).await.unwrap();
    assert_eq!(broker.orphans(2).await.unwrap().len(), 2, "no more than asked for");
    let (mine, theirs) = (orphans(&*broker).await, orphans(&*other).await);
    assert_eq!((mine.len(), theirs.len()), (3, 3), "looking takes nothing");
    for orphan in &mine {
        assert_eq!(settle(&*broker, &orphan.delivery, Disposition::Rescue).await, Settled::Done);
    }
    for orphan in &theirs {
        assert_eq!(settle(&*other, &orphan.delivery, Disposition::Rescue).await, Settled::NotOurs);
    }
    assert_eq!(record(&*broker, "a").await.orphaned, 1);
}

pub async fn a_renewal_after_the_loss_says_so(fresh: &dyn Fresh) {
    let (slow, rescuer) = (leased(fresh).await, fresh.open().await);
    one(&*slow, job("a")).await;
    slow.renew_lease(&process(ME), SHORT).await.unwrap();
    let orphan = wait_for_orphans(&*rescuer).await.remove(0);
    settle(&*rescuer, &orphan.delivery, Disposition::Rescue).await;
    orphans(&*rescuer).await;
    assert!(!slow.renew_lease(&process(ME), LONG).await.unwrap(), "its work is another's now");
    assert!(slow.renew_lease(&process(ME), LONG).await.unwrap(), "said once");
    assert_eq!(ids(&fetch(&*slow, 1).await), ["a"], "it lives again");
}

pub async fn processes_are_listed_while_their_lease_holds(fresh: &dyn Fresh) {
    let broker = leased(fresh).await;
    broker.renew_lease(&process("second"), LONG).await.unwrap();
    let listed = broker.processes().await.unwrap();
    let mut names: Vec<_> = listed.iter().map(|one| one.id.to_string()).collect();
    names.sort();
    assert_eq!(names, [ME, "second"]);
    let expected = process(ME);
    let found = listed.iter().find(|one| one.id == expected.id).unwrap();
    assert_eq!((&found.host, found.pid, &found.queues), (&expected.host, expected.pid, &expected.queues));
    assert!(found.lease_until > found.started_at);
    broker.end_lease(&me()).await.unwrap();
    assert_eq!(broker.processes().await.unwrap().len(), 1);
}

pub async fn a_process_that_lives_without_a_lease_is_told_from_a_dead_one(fresh: &dyn Fresh) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let broker = leased(fresh).await;
    assert_eq!(broker.overdue().await.unwrap(), []);
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let late = ProcessRecord { pid: child.id(), ..process("late") };
    broker.renew_lease(&late, SHORT).await.unwrap();
    let overdue = eventually("a lease that has run out", async || {
        Some(broker.overdue().await.unwrap()).filter(|overdue| !overdue.is_empty())
    })
    .await;
    assert_eq!((overdue.len(), &overdue[0].process.id, overdue[0].lives), (1, &late.id, true));
    assert_eq!((overdue[0].process.pid, &overdue[0].process.queues), (late.pid, &late.queues));
    assert!(overdue[0].process.lease_until <= Utc::now());
    broker.renew_lease(&late, LONG).await.unwrap();
    assert_eq!(broker.overdue().await.unwrap(), [], "it could renew its lease");
    broker.renew_lease(&late, SHORT).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the end of its lease", async || (broker.processes().await.unwrap().len() == 1).then_some(()))
        .await;
    assert_eq!(broker.overdue().await.unwrap(), [], "it is dead");
}

const ROLE: &str = "scheduler";

fn other() -> ProcessId {
    "other".into()
}

pub async fn only_one_leads_until_it_resigns(fresh: &dyn Fresh) {
    let broker = fresh.open().await;
    assert_eq!(broker.leadership(ROLE).await.unwrap(), None, "nobody ever led");
    assert!(broker.lead(ROLE, &me(), LONG).await.unwrap());
    assert!(broker.lead(ROLE, &me(), LONG).await.unwrap(), "again, by the same");
    assert!(!broker.lead(ROLE, &other(), LONG).await.unwrap());
    assert!(broker.lead("another role", &other(), LONG).await.unwrap());
    let state = broker.leadership(ROLE).await.unwrap().unwrap();
    assert_eq!(state.holder, me());
    assert!(state.ttl > Duration::ZERO && state.ttl <= LONG && state.last_tick.is_some());
    broker.resign(ROLE, &other()).await.unwrap();
    assert!(!broker.lead(ROLE, &other(), LONG).await.unwrap(), "only the leader can resign");
    broker.resign(ROLE, &me()).await.unwrap();
    let state = broker.leadership(ROLE).await.unwrap().unwrap();
    assert_eq!((state.ttl, state.last_tick.is_some()), (Duration::ZERO, true), "the last tick stays known");
    assert!(broker.lead(ROLE, &other(), LONG).await.unwrap());
    assert_eq!(broker.leadership(ROLE).await.unwrap().unwrap().holder, other());
}

pub async fn leadership_runs_out(fresh: &dyn Fresh) {
    let broker = fresh.open().await;
    assert!(broker.lead(ROLE, &me(), SHORT).await.unwrap());
    eventually("a leadership that is not renewed", async || {
        broker.lead(ROLE, &other(), LONG).await.unwrap().then_some(())
    })
    .await;
    assert!(!broker.lead(ROLE, &me(), LONG).await.unwrap());
}

pub async fn a_lost_process_leads_no_more(fresh: &dyn Fresh) {
    let (dying, other_broker) = (leased(fresh).await, fresh.open().await);
    assert!(dying.lead(ROLE, &me(), LONG).await.unwrap());
    orphans(&*other_broker).await;
    assert!(!other_broker.lead(ROLE, &other(), LONG).await.unwrap(), "it lives");
    dying.renew_lease(&process(ME), SHORT).await.unwrap();
    eventually("the lead of a process whose lease is over", async || {
        orphans(&*other_broker).await;
        other_broker.lead(ROLE, &other(), LONG).await.unwrap().then_some(())
    })
    .await;
    dying.renew_lease(&process(ME), LONG).await.unwrap();
    assert!(!dying.lead(ROLE, &me(), LONG).await.unwrap(), "it comes back too late");
    other_broker.renew_lease(&process("other"), LONG).await.unwrap();
    other_broker.end_lease(&other()).await.unwrap();
    assert!(dying.lead(ROLE, &me(), LONG).await.unwrap(), "who ended its lease leads no more");
}
