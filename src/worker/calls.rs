//! The calls to the broker of one queue. Each carries all ends and fills all free slots that have gathered during the
//! one before: so a job costs one round trip, and under load many jobs share it.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};

use super::carrying::take_in_hand;
use super::completer::{Completer, SETTLE_BATCH, Unsettled};
use super::outage::Outage;
use super::queue_state::QueueState;
use super::settler::{LONG, Settler, weight_of};
use super::slots::Slot;
use crate::deadline::answer_in;
use crate::failpoint;
use crate::fault::{Fault, FaultKind};
use crate::queue::{Delivery, Settled, Settlement};

/// Ends, or slots, that are many: they do not wait for the call before, and go apart. The broker then works on one half
/// while this process works on the other. Fewer wait and go together, because a call costs the broker as much as several
/// jobs.
const MANY: usize = 16;

/// The most calls at a time, beside those that carry long ends.
const AT_A_TIME: usize = 2;

/// The calls of one queue.
pub(super) struct Calls {
    queue: Arc<QueueState>,
    completer: Arc<Completer>,
    settler: Settler,
    wants: mpsc::Sender<Want>,
    /// Read by one loop at a time: that of the listener's current life.
    gathered: tokio::sync::Mutex<Gathered>,
}

/// What has come for the next call.
struct Gathered {
    ends: mpsc::Receiver<Unsettled>,
    wants: mpsc::Receiver<Want>,
}

/// Slots to be filled with jobs.
struct Want {
    slots: Vec<Slot>,
    /// How many slots it may have, if more become free before the call.
    most: u32,
    /// Nobody else fetches or looks for unclaimed deliveries until the jobs are in hand.
    _fetching: OwnedMutexGuard<()>,
    answer: oneshot::Sender<Result<Fetched, Fault>>,
}

/// The result of a fetch.
#[derive(Default)]
pub(super) struct Fetched {
    pub(super) jobs: usize,
    /// Whether there was a job for each slot.
    pub(super) filled: bool,
}

/// One call.
struct Call {
    unsettled: Vec<Unsettled>,
    want: Option<Want>,
    /// Whether its ends are so long that nothing shall wait for it.
    is_long: bool,
}

/// A call that is over.
struct Made {
    /// What was not settled.
    left: Vec<Unsettled>,
    /// Why; nothing of a call that only fetched.
    settled: Option<Result<(), Fault>>,
    is_long: bool,
}

/// The next call, while others are under way.
#[derive(Default)]
struct Next {
    unsettled: Vec<Unsettled>,
    /// Their weight in bytes.
    weight: usize,
    want: Option<Want>,
    under_way: usize,
}

impl Want {
    /// Adds the slots that have become free.
    fn grow(&mut self, queue: &QueueState) {
        let more = self.most.saturating_sub(self.count());
        if more > 0
            && let Ok(slots) = queue.ports.slots.request(queue.settings.rank, more).try_recv()
        {
            self.slots.extend(slots);
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}

impl Next {
    fn add(&mut self, one: Unsettled) {
        self.weight += one.0.weight();
        self.unsettled.push(one);
    }

    /// Adds all that has come.
    fn gather(&mut self, Gathered { ends, wants }: &mut Gathered, queue: &QueueState) {
        while self.unsettled.len() < SETTLE_BATCH
            && let Ok(one) = ends.try_recv()
        {
            self.add(one);
        }
        if self.want.is_none() {
            self.want = wants.try_recv().ok();
        }
        // A drain has given it up.
        self.want.take_if(|want| want.answer.is_closed());
        if let Some(want) = &mut self.want {
            want.grow(queue);
        }
    }

    /// The next call to make now; `None` if it waits for others, or if there is nothing to do.
    fn call(&mut self) -> Option<Call> {
        let is_long = self.weight > LONG;
        if is_long {
            return Some(Call { unsettled: self.ends(), want: None, is_long });
        }
        let slots = self.want.as_ref().map_or(0, |want| want.slots.len());
        let jobs = self.unsettled.len().max(slots);
        if jobs == 0 || self.under_way == AT_A_TIME || (self.under_way > 0 && jobs < MANY) {
            return None;
        }
        self.under_way += 1;
        let want = self.want.take();
        if want.is_some() && jobs >= MANY {
            return Some(Call { unsettled: Vec::new(), want, is_long });
        }
        Some(Call { unsettled: self.ends(), want, is_long })
    }

    /// The ends of one call; with those that earlier calls have left there may be more.
    fn ends(&mut self) -> Vec<Unsettled> {
        let rest = self.unsettled.split_off(self.unsettled.len().min(SETTLE_BATCH));
        let ends = std::mem::replace(&mut self.unsettled, rest);
        self.weight = weight_of(&self.unsettled);
        ends
    }

    fn over(&mut self, made: &mut Made) {
        self.under_way -= usize::from(!made.is_long);
        made.left.drain(..).for_each(|one| self.add(one));
    }
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
            gathered: tokio::sync::Mutex::new(Gathered { ends, wants }),
        }
    }

    /// Whose ends are written here.
    pub(super) fn completer(&self) -> Arc<Completer> {
        Arc::clone(&self.completer)
    }

    /// Fetches jobs for these slots, and for more up to `most` that become free before the call. Cancel safe: what
    /// comes for a dropped call goes back or is run.
    pub(super) async fn fetch(&self, slots: Vec<Slot>, most: u32) -> Result<Fetched, Fault> {
        let _fetching = Arc::clone(&self.queue.fetching).lock_owned().await;
        let (answer, fetched) = oneshot::channel();
        let want = Want { slots, most, _fetching, answer };
        if self.wants.send(want).await.is_err() {
            futures::future::pending::<()>().await;
        }
        // No answer: the loop failed, and nothing was fetched.
        self.queue.ports.turn.beating(fetched).await.unwrap_or_else(|_| Ok(Fetched::default()))
    }

    /// Settles and fetches as long as the listener lives.
    pub(super) async fn call_always(self: Arc<Self>) {
        let mut gathered = self.gathered.lock().await;
        let (mut next, mut calls, mut outage) = (Next::default(), FuturesUnordered::new(), Outage::default());
        // Settlements refused in an earlier life are submitted again.
        self.queue.ends_refused.send_replace(false);
        loop {
            let Gathered { ends, wants } = &mut *gathered;
            tokio::select! {
                biased;
                Some(mut made) = calls.next() => {
                    next.over(&mut made);
                    match made.settled {
                        Some(Err(fault)) => self.queue.wait_out(&mut outage, &fault).await,
                        Some(Ok(())) => self.queue.served(&mut outage),
                        None => {}
                    }
                    // The answer has freed slots, and whoever has them now wants jobs.
                    tokio::task::yield_now().await;
                }
                Some(one) = ends.recv(), if next.unsettled.len() < SETTLE_BATCH => next.add(one),
                Some(want) = wants.recv(), if next.want.is_none() => next.want = Some(want),
            }
            next.gather(&mut gathered, &self.queue);
            while let Some(call) = next.call() {
                calls.push(self.make(call));
            }
        }
    }

    async fn make(&self, Call { unsettled, want, is_long }: Call) -> Made {
        if unsettled.is_empty() {
            if let Some(want) = want {
                self.fetch_alone(want).await;
            }
            return Made { left: unsettled, settled: None, is_long };
        }
        failpoint::reach("queue_listener.settle");
        let settlements: Vec<_> = unsettled.iter().map(|(settlement, _)| settlement.clone()).collect();
        let settled = match want {
            Some(want) => self.exchange(&settlements, want).await,
            None => self.settler.ask(&settlements).await,
        };
        let (left, fault) = self.settler.conclude(unsettled, settled).await;
        Made { left, settled: Some(fault.map_or(Ok(()), Err)), is_long }
    }

    async fn fetch_alone(&self, want: Want) {
        let (queue, ports) = (&self.queue.settings.queue, &self.queue.ports);
        let fetched = ports.broker.fetch(queue, want.count(), &ports.process);
        let fetched = answer_in(self.queue.settings.deadline, "fetch", fetched).await;
        self.answer(want, fetched);
    }

    /// Settles, and fetches in the same call. A refusal says nothing about these settlements before they are refused
    /// alone.
    async fn exchange(&self, settlements: &[Settlement], want: Want) -> Result<Vec<Settled>, Fault> {
        let (queue, ports) = (&self.queue.settings.queue, &self.queue.ports);
        let exchanged = ports.broker.exchange(settlements, queue, want.count(), &ports.process);
        match answer_in(self.settler.deadline_of(settlements), "settle and fetch", exchanged).await {
            Ok((settled, deliveries)) => {
                self.answer(want, Ok(deliveries));
                Ok(settled)
            }
            Err(fault) => {
                self.answer(want, Err(Fault::new(fault.kind(), fault.chain())));
                if fault.kind() == FaultKind::Unavailable {
                    Err(fault)
                } else {
                    self.settler.ask(settlements).await
                }
            }
        }
    }

    fn answer(&self, want: Want, fetched: Result<Vec<Delivery>, Fault>) {
        let slots = want.slots.len();
        let fetched = fetched.map(|deliveries| {
            let jobs = take_in_hand(&self.queue, &self.completer, deliveries, want.slots);
            Fetched { jobs, filled: jobs == slots }
        });
        // A listener that drains needs no answer.
        let _ = want.answer.send(fetched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Disposition;

    fn ends(count: usize, error: &str) -> Vec<Unsettled> {
        let verdict = Disposition::RetryAt { delay: std::time::Duration::ZERO, error: error.to_owned() };
        let end = Settlement {
            job: "a".into(),
            queue: "q".into(),
            execution: "e".into(),
            verdict,
            remark: None,
            verbatim: None,
        };
        (0..count).map(|_| (end.clone(), oneshot::channel().0)).collect()
    }

    async fn want() -> Want {
        let fetching = Arc::new(tokio::sync::Mutex::new(())).lock_owned().await;
        Want { slots: Vec::new(), most: 1, _fetching: fetching, answer: oneshot::channel().0 }
    }

    /// How many ends the next call has, and whether it fetches.
    fn called(next: &mut Next) -> Option<(usize, bool)> {
        next.call().map(|call| (call.unsettled.len(), call.want.is_some()))
    }

    #[tokio::test]
    async fn few_ends_wait_for_the_call_before_and_go_with_the_fetch() {
        let mut next = Next::default();
        assert_eq!(called(&mut next), None);
        ends(1, "").into_iter().for_each(|one| next.add(one));
        assert_eq!(called(&mut next), Some((1, false)));
        ends(MANY - 1, "").into_iter().for_each(|one| next.add(one));
        next.want = Some(want().await);
        assert_eq!(called(&mut next), None);
        next.over(&mut Made { left: ends(1, ""), settled: None, is_long: false });
        next.unsettled.pop();
        assert_eq!(called(&mut next), Some((MANY - 1, true)));
    }

    #[tokio::test]
    async fn many_ends_go_apart_from_the_fetch_and_at_most_two_calls_are_under_way() {
        let mut next = Next { want: Some(want().await), ..Next::default() };
        ends(MANY, "").into_iter().for_each(|one| next.add(one));
        assert_eq!(called(&mut next), Some((0, true)));
        assert_eq!(called(&mut next), Some((MANY, false)));
        ends(MANY, "").into_iter().for_each(|one| next.add(one));
        assert_eq!(called(&mut next), None);
    }

    #[test]
    fn long_ends_wait_for_nothing_and_nothing_waits_for_them() {
        let mut next = Next::default();
        ends(1, "").into_iter().for_each(|one| next.add(one));
        assert_eq!(called(&mut next), Some((1, false)));
        ends(1, &"x".repeat(LONG + 1)).into_iter().for_each(|one| next.add(one));
        assert_eq!(called(&mut next), Some((1, false)));
        next.over(&mut Made { left: Vec::new(), settled: None, is_long: false });
        ends(1, "").into_iter().for_each(|one| next.add(one));
        assert_eq!(called(&mut next), Some((1, false)));
    }

    #[test]
    fn what_earlier_calls_have_left_is_split_into_calls() {
        let mut next = Next::default();
        for _ in 0..2 {
            next.under_way += 1;
            next.over(&mut Made { left: ends(SETTLE_BATCH, ""), settled: None, is_long: false });
        }
        assert_eq!(called(&mut next), Some((SETTLE_BATCH, false)));
        assert_eq!(called(&mut next), Some((SETTLE_BATCH, false)));
        assert_eq!(called(&mut next), None);
    }
}
