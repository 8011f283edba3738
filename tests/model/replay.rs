//! Paths of the model, chosen by dice, walked again on the stores and queues themselves. Each step must answer as in the
//! model, and all must end in the same state.

use std::collections::BTreeSet;
use std::sync::Arc;

use stateright::Model as _;
use tikkun::job::background::{BackgroundJob, Status};
use tikkun::job::{BackgroundJobId, JobState, NewJob, ProcessId};
use tikkun::queue::{Broker, Delivery, Disposition, Settled, Settlement};
use tikkun::store::{BatchOutcome, Begin, Begun, EndAttempt, Pass};

use super::state::{Action, Deletion, Entry, Holder, Lease, PLACES, Phase, RECEIPTS, State, begin};
use crate::broker::embedded::Folder;
use crate::broker::ground::{Fresh, LONG, ack, job, process, queue, settlement};
use crate::broker::rq::Prefix;
use crate::store_contract::rig::{self, Rig, TENANT};

/// Paths on each pair of engines.
const PATHS: u64 = 40;

/// The queue's job that carries the deletion.
const ENTRY: &str = "entry";

/// One step after the other by chance, until there is none.
fn path(dice: &mut fastrand::Rng) -> Vec<(Action, State)> {
    let model = Deletion { without: None, crashes: 2 };
    let (mut state, mut path) = (State::first(), Vec::new());
    loop {
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        let Some(action) = dice.choice(actions) else { return path };
        state = model.next_state(&state, action).expect("a step that the model offers");
        path.push((action, state.clone()));
    }
}

struct Worker {
    broker: Arc<dyn Broker>,
    delivery: Option<Delivery>,
    job: Option<BackgroundJob>,
}

struct Engines<'a> {
    rig: &'a Rig,
    fresh: &'a dyn Fresh,
    row: BackgroundJobId,
    /// Who rescues.
    observer: Arc<dyn Broker>,
    workers: Vec<Worker>,
}

fn name((place, number): Holder) -> ProcessId {
    format!("{place}-{number}").into()
}

impl<'a> Engines<'a> {
    async fn new(rig: &'a Rig, fresh: &'a dyn Fresh) -> Self {
        rig.seed(i64::try_from(RECEIPTS).unwrap()).await;
        let row = rig.web_row().await;
        let observer = fresh.open().await;
        observer.enqueue(&[NewJob { id: ENTRY.into(), ..job(ENTRY) }]).await.unwrap();
        let mut engines = Self { rig, fresh, row, observer, workers: Vec::new() };
        for place in 0..PLACES {
            let worker = engines.started((place, 0)).await;
            engines.workers.push(worker);
        }
        engines
    }

    async fn started(&self, holder: Holder) -> Worker {
        let broker = self.fresh.open().await;
        assert!(broker.renew_lease(&process(name(holder).as_str()), LONG).await.unwrap());
        Worker { broker, delivery: None, job: None }
    }

    /// Takes the step that led from `before` to `after`.
    async fn take(&mut self, action: Action, before: &State, after: &State) {
        let holder = |place: usize| (place, after.processes[place].number);
        match action {
            Action::Fetch(place) => {
                let worker = &mut self.workers[place];
                let fetched = worker.broker.fetch(&queue(), 1, &name(holder(place))).await.unwrap();
                let [delivery] = <[Delivery; 1]>::try_from(fetched).unwrap();
                worker.delivery = Some(delivery);
            }
            Action::Begin(place) => {
                let order = Begin { id: self.row, queue_job: ENTRY.into(), ..begin() };
                let begun = self.rig.store.background_jobs.begin_attempt(&order).await.unwrap();
                let begins = matches!(after.processes[place].phase, Phase::Running { .. });
                match begun {
                    Begun::Started(job) if begins => self.workers[place].job = Some(*job),
                    Begun::Refused(_) if !begins => {}
                    other => panic!("{other:?}"),
                }
            }
            Action::Batch(place) => {
                let job = self.workers[place].job.as_ref().unwrap();
                match (self.rig.batch(job, 1, Pass::Forward).await, after.processes[place].phase) {
                    (BatchOutcome::Deleted(_), Phase::Running { .. })
                    | (BatchOutcome::Empty, Phase::Ending { .. })
                    | (BatchOutcome::NotOurs(_), Phase::Settling { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
            Action::End(place) | Action::EndUnheard(place) => {
                let attempt = self.workers[place].job.as_ref().unwrap().note.attempt;
                let jobs = &self.rig.store.background_jobs;
                let counts = jobs.end_attempt(self.row, attempt, &EndAttempt::Completed).await.unwrap();
                let is_ours = after.row.attempt == attempt && after.row.status == Status::Completed;
                assert_eq!(counts, is_ours);
            }
            Action::Settle(place) => self.settle(place, before, after).await,
            Action::SettleUnheard(place) => {
                self.settle(place, before, after).await;
                // Asked once more, and given up before there is an answer.
                let ends = [self.end_of(place)];
                let mut unheard = self.workers[place].broker.settle(&ends);
                assert!(futures::poll!(&mut unheard).is_pending());
            }
            Action::Start(place) => self.workers[place] = self.started(holder(place)).await,
            Action::LeaseOver(place) => self.observer.end_lease(&name(holder(place))).await.unwrap(),
            Action::Renew(place) => {
                let record = process(name(holder(place)).as_str());
                // Whether it was noticed depends on what the process still had.
                self.workers[place].broker.renew_lease(&record, LONG).await.unwrap();
            }
            Action::Rescue => self.rescue(before).await,
            Action::Cancel => self.rig.set(self.row, "status = 'cancelled'").await,
            Action::Confirm(number) => {
                let listed = self.rig.store.outbox.list(10).await.unwrap();
                let ids = listed.iter().filter(|one| number_of(&one.key) == number).map(|one| one.id);
                self.rig.store.outbox.confirm(&ids.collect::<Vec<_>>()).await.unwrap();
            }
            // The store of objects is not asked here, and who stands still or dies says nothing.
            Action::RemoveObject(_) | Action::Freeze(_) | Action::Thaw(_) | Action::Crash(_) => {}
        }
    }

    fn end_of(&self, place: usize) -> Settlement {
        settlement(self.workers[place].delivery.as_ref().unwrap(), ack())
    }

    async fn settle(&self, place: usize, before: &State, after: &State) {
        let settled = self.workers[place].broker.settle(&[self.end_of(place)]).await.unwrap();
        let Phase::Settling { execution } = before.processes[place].phase else { unreachable!() };
        let counts = after.entry == Entry::Ended { by: execution };
        assert_eq!(settled, [if counts { Settled::Done } else { Settled::NotOurs }]);
    }

    async fn rescue(&self, before: &State) {
        let Entry::Lent { to, .. } = before.entry else { unreachable!() };
        self.observer.end_lease(&name(to)).await.unwrap();
        let orphans = self.observer.orphans(10).await.unwrap();
        let [orphan] = orphans.as_slice() else { panic!("{orphans:?}") };
        let back = settlement(&orphan.delivery, Disposition::Rescue);
        assert_eq!(self.observer.settle(&[back]).await.unwrap(), [Settled::Done]);
    }

    async fn must_be_as(&self, state: &State) {
        let row = self.rig.get(self.row).await;
        let done = i64::try_from(state.row.cursor).unwrap();
        assert_eq!((row.status, row.note.attempt), (state.row.status, state.row.attempt));
        assert_eq!((row.cursor.last_id, row.progress.processed), (done, done));
        let which = |holds: fn(&super::state::Receipt) -> bool| -> BTreeSet<usize> {
            (0..RECEIPTS).filter(|number| holds(&state.receipts[*number])).collect()
        };
        let numbers = |ids: Vec<i64>| -> BTreeSet<usize> {
            ids.into_iter().map(|id| usize::try_from(id).unwrap() - 1).collect()
        };
        assert_eq!(numbers(self.rig.live(TENANT).await), which(|receipt| receipt.marked == 0));
        assert_eq!(numbers(self.rig.attachments().await), which(|receipt| receipt.attachment));
        let listed = self.rig.store.outbox.list(10).await.unwrap();
        let listed: BTreeSet<_> = listed.iter().map(|one| number_of(&one.key)).collect();
        assert_eq!(listed, which(|receipt| receipt.condemned));
        let entry = self.observer.job(&ENTRY.into()).await.unwrap().unwrap();
        let expected = match state.entry {
            Entry::Waits => JobState::Queued,
            Entry::Lent { .. } => JobState::Started,
            Entry::Ended { .. } => JobState::Finished,
        };
        assert_eq!((entry.state, entry.attempt), (expected, state.executions.into()));
    }
}

/// Which receipt's object this is.
fn number_of(key: &str) -> usize {
    let name = key.rsplit('/').next().unwrap().trim_end_matches(".pdf");
    name.parse::<usize>().unwrap() - 1
}

async fn walk(rig: &Rig, fresh: &dyn Fresh, seed: u64) {
    let path = path(&mut fastrand::Rng::with_seed(seed));
    let steps: Vec<_> = path.iter().map(|(action, _)| *action).collect();
    println!("path {seed}: {steps:?}");
    let mut engines = Engines::new(rig, fresh).await;
    let mut before = State::first();
    for (action, after) in path {
        engines.take(action, &before, &after).await;
        engines.must_be_as(&after).await;
        before = after;
    }
    assert!(before.is_over() && before.processes.iter().all(|one| one.lease == Lease::Held));
}

#[tokio::test]
async fn paths_of_the_model_end_alike_on_sqlite() {
    for seed in 0..PATHS {
        walk(&rig::sqlite().await, &Folder::new(), seed).await;
    }
}

#[tokio::test]
async fn paths_of_the_model_end_alike_on_postgresql_and_redis() {
    for seed in 0..PATHS {
        walk(&rig::postgres().await, &Prefix::new(), seed).await;
    }
}
