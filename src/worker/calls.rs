//! The calls to the broker of one queue. While there is little to do they go one at a time, and each carries all ends
//! and fills all free slots that have gathered during the one before: a job costs one round trip, and jobs share it.
//!
//! Ends that are refused hold up no fetch, and long ones nothing at all.

use std::sync::Arc;

use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::carrying::{Fetched, take_in_hand};
use super::completer::{Completer, Unsettled};
use super::next_call::{Arriving, Call, Next, Want};
use super::outage::Outage;
use super::queue_state::QueueState;
use super::settler::Settler;
use super::slots::Slot;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::Fault;
use crate::queue::{Delivery, Settlement};

/// The calls of one queue.
pub(super) struct Calls {
    queue: Arc<QueueState>,
    completer: Arc<Completer>,
    settler: Settler,
    wants: mpsc::Sender<Want>,
    /// Read by one loop at a time: that of the listener's current life.
    arriving: tokio::sync::Mutex<Arriving>,
}

/// A call that is over, or that has failed with ends.
type Outcome = Result<Answer, Failed>;

/// What a call came to.
enum Answer {
    Fetched,
    /// Whether it fetched, too.
    Settled {
        fetched: bool,
    },
    /// What is left of ends that were settled with care, with the reason.
    Left(Vec<Unsettled>, Option<Fault>),
    /// The same of a long one.
    LeftLong(Vec<Unsettled>, Option<Fault>),
}

/// The outages of the two kinds of ends. They are written apart, so one may be over while the other goes on.
struct EndOutages {
    short: Outage,
    long: Outage,
}

/// These ends are now to be settled with care, and the fetch goes alone.
struct Failed {
    unsettled: Vec<Unsettled>,
    fault: Fault,
    want: Option<Want>,
}

impl Calls {
    pub(super) fn new(queue: Arc<QueueState>) -> Self {
        let (completer, ends) = Completer::new(Arc::clone(&queue));
        let (sender, wants) = mpsc::channel(1);
        Self {
            settler: Settler::new(Arc::clone(&queue)),
            queue,
            completer: Arc::new(completer),
            wants: sender,
            arriving: tokio::sync::Mutex::new(Arriving { ends, wants }),
        }
    }

    /// Whose ends are written here.
    pub(super) fn completer(&self) -> Arc<Completer> {
        Arc::clone(&self.completer)
    }

    /// Fetches jobs for these slots, and for more up to `most` that become free before the call; `None` if nothing may
    /// be fetched now. Cancel safe: what comes for a dropped call goes back.
    pub(super) async fn fetch(&self, slots: Vec<Slot>, most: u32) -> Result<Option<Fetched>, Fault> {
        let _fetching = Arc::clone(&self.queue.fetching).lock_owned().await;
        let (answer, fetched) = oneshot::channel();
        let want = Want { slots, most, answer, _fetching };
        if self.wants.send(want).await.is_err() {
            futures::future::pending::<()>().await;
        }
        self.queue.ports.turn.beating(fetched).await.ok().transpose()
    }

    /// Settles and fetches as long as the listener lives.
    pub(super) async fn call_always(self: Arc<Self>) {
        let mut arriving = self.arriving.lock().await;
        let (mut next, begin) = (Next::default(), || self.queue.outage());
        let mut outages = EndOutages { short: begin(), long: begin() };
        let mut calls: FuturesUnordered<LocalBoxFuture<'_, Outcome>> = FuturesUnordered::new();
        // Settlements refused in an earlier life are submitted again.
        self.queue.ends_refused.send_replace(false);
        loop {
            let Arriving { ends, wants } = &mut *arriving;
            tokio::select! {
                biased;
                Some(outcome) = calls.next() => {
                    match outcome {
                        Ok(answer) => self.note(&mut next, &mut outages, answer),
                        Err(Failed { unsettled, fault, want }) => {
                            next.goes_apart(want);
                            calls.push(self.settle_with_care(unsettled, fault).boxed_local());
                        }
                    }
                    // Whoever waited for this answer wants jobs now, or has freed slots.
                    tokio::task::yield_now().await;
                }
                () = over(next.rest), if next.rest.is_some() => next.rest = None,
                () = over(next.long_rest), if next.long_rest.is_some() => next.long_rest = None,
                Some(one) = ends.recv(), if next.has_room() => next.add(one),
                Some(want) = wants.recv(), if next.want.is_none() => next.want = Some(want),
            }
            next.gather(&mut arriving, &self.queue);
            while let Some(call) = next.call() {
                calls.push(self.make(call).boxed_local());
            }
        }
    }

    /// Takes note of what a call came to.
    fn note(&self, next: &mut Next, outages: &mut EndOutages, answer: Answer) {
        let (outage, left, fault, rest) = match answer {
            Answer::Fetched => {
                next.fetches = false;
                return;
            }
            Answer::Settled { fetched } => {
                (next.settles, next.apart) = (false, false);
                next.fetches &= !fetched;
                (&mut outages.short, Vec::new(), None, &mut next.rest)
            }
            Answer::Left(left, fault) => {
                (next.settles, next.apart) = (false, fault.is_some());
                (&mut outages.short, left, fault, &mut next.rest)
            }
            Answer::LeftLong(left, fault) => {
                next.settles_long = false;
                (&mut outages.long, left, fault, &mut next.long_rest)
            }
        };
        match fault {
            Some(fault) => {
                let all_ends_are_refused = *self.queue.ends_refused.borrow();
                *rest = Some(Instant::now() + outage.failed(&fault, all_ends_are_refused));
            }
            None => self.queue.served(outage),
        }
        next.keep(left);
    }

    async fn make(&self, call: Call) -> Outcome {
        match call {
            Call::Fetch(want) => {
                let (queue, ports) = (&self.queue.settings.queue, &self.queue.ports);
                let fetched = ports.broker.fetch(queue, want.count(), &ports.process);
                let fetched = answer_in(self.queue.settings.deadline, "fetch", fetched).await;
                self.answer(want, fetched);
                Ok(Answer::Fetched)
            }
            Call::Long(one) => {
                let settled = self.settler.ask(std::slice::from_ref(&one.settlement)).await;
                let (left, fault) = self.settler.conclude(vec![one], settled).await;
                Ok(Answer::LeftLong(left, fault))
            }
            Call::Settle(unsettled) => {
                failpoint::reach("queue_listener.settle");
                match self.settler.ask(&settlements(&unsettled)).await {
                    Ok(settled) => self.settler.tell(unsettled, settled),
                    Err(fault) => return Err(Failed { unsettled, fault, want: None }),
                }
                Ok(Answer::Settled { fetched: false })
            }
            Call::Both(unsettled, want) => {
                failpoint::reach("queue_listener.settle");
                let (queue, ports, ends) =
                    (&self.queue.settings.queue, &self.queue.ports, settlements(&unsettled));
                let exchanged = ports.broker.exchange(&ends, queue, want.count(), &ports.process);
                let deadline = self.settler.deadline_of(&ends);
                match answer_in(deadline, "settle and fetch", exchanged).await {
                    Ok((settled, deliveries)) => {
                        self.settler.tell(unsettled, settled);
                        self.answer(want, Ok(deliveries));
                        Ok(Answer::Settled { fetched: true })
                    }
                    Err(fault) => Err(Failed { unsettled, fault, want: Some(want) }),
                }
            }
        }
    }

    async fn settle_with_care(&self, unsettled: Vec<Unsettled>, fault: Fault) -> Outcome {
        let (left, fault) = self.settler.conclude(unsettled, Err(fault)).await;
        Ok(Answer::Left(left, fault))
    }

    fn answer(&self, want: Want, fetched: Result<Vec<Delivery>, Fault>) {
        let taken = |deliveries| take_in_hand(&self.queue, &self.completer, deliveries, (want.slots, None));
        let fetched = fetched.map(taken);
        // A listener that drains needs no answer.
        let _ = want.answer.send(fetched);
    }
}

async fn over(rest: Option<Instant>) {
    sleep_until(rest.unwrap_or_else(Instant::now)).await;
}

fn settlements(unsettled: &[Unsettled]) -> Vec<Settlement> {
    unsettled.iter().map(|one| one.settlement.clone()).collect()
}
