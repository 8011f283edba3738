//! The slots of the process: one pool, granted to queues in the order of their rank, in turn or by chance.
//!
//! A slot is a place for one job at a runner. It is returned when dropped, so neither a panic nor a cancelled
//! future can leak one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::payloads::Payloads;
use super::runner_place::{Post, RunnerPlace};
use crate::config::QueueOrder;

/// All slots of the process, or those of one of the workers that it serves.
pub struct SlotPool {
    state: Mutex<State>,
    /// Becomes true when every slot is retired and idle.
    gone: watch::Sender<bool>,
    payloads: Payloads,
    /// One for each delivery that is in hand, and one here.
    in_hand: Arc<()>,
}

struct State {
    order: QueueOrder,
    free: Vec<RunnerPlace>,
    waiting: BTreeMap<(usize, u64), Waiter>,
    next: u64,
    held: BTreeMap<usize, u32>,
    caps: BTreeMap<usize, u32>,
    /// Ranks whose queue has not been checked yet; queues of lower rank are not served.
    unseen: BTreeSet<usize>,
    /// Ranks whose queue has more jobs for the slots that become free, once for each [`Claim`].
    claims: Vec<usize>,
    /// The number of slots not retired, including busy ones.
    left: usize,
    /// The number of slots to retire as soon as they are free.
    retiring: usize,
}

/// The place of a request in the line, and how many slots it may have.
type Ready = ((usize, u64), usize);

struct Waiter {
    want: u32,
    grant: oneshot::Sender<Vec<Slot>>,
}

/// A place for one job at one runner.
pub struct Slot {
    pool: Arc<SlotPool>,
    rank: usize,
    runner: RunnerPlace,
}

/// As long as it lives, queues of lower rank get no slot that this queue may have.
pub(super) struct Claim {
    pool: Arc<SlotPool>,
    rank: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        if let Some(at) = state.claims.iter().position(|rank| *rank == self.rank) {
            state.claims.swap_remove(at);
        }
        drop(state);
        self.pool.grant();
    }
}

impl Slot {
    /// The current runner of this slot.
    #[must_use]
    pub fn post(&self) -> Post {
        self.runner.post()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.take_back(self.rank, self.runner.clone());
    }
}

impl SlotPool {
    /// A pool of these runners, with this memory for the heavy arguments of their jobs. `caps`
    /// limits the number of slots for the queue of a rank.
    #[must_use]
    pub fn new(
        runners: Vec<RunnerPlace>,
        caps: BTreeMap<usize, u32>,
        payloads: impl Into<Payloads>,
    ) -> Arc<Self> {
        let state = State {
            order: QueueOrder::AsListed,
            left: runners.len(),
            free: runners,
            waiting: BTreeMap::new(),
            next: 0,
            held: BTreeMap::new(),
            caps,
            unseen: BTreeSet::new(),
            claims: Vec::new(),
            retiring: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            gone: watch::Sender::new(false),
            payloads: payloads.into(),
            in_hand: Arc::default(),
        })
    }

    /// The memory for the heavy arguments of its jobs.
    pub(super) fn payloads(&self) -> &Payloads {
        &self.payloads
    }

    /// For a delivery, which is in hand until it drops this.
    pub(crate) fn take_in_hand(&self) -> Arc<()> {
        Arc::clone(&self.in_hand)
    }

    /// Whether no slot waits for a job or has one, and no end of a job waits to be written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        // A delivery is in hand before its slot is free.
        self.state.lock().is_all_free() && Arc::strong_count(&self.in_hand) == 1
    }

    /// Sets the order in which the requests of different queues are granted.
    pub fn grant_in(&self, order: QueueOrder) {
        self.state.lock().order = order;
    }

    /// Requests up to `want` slots for the queue of `rank`; the answer has at least one. Without another
    /// [order](Self::grant_in), lower ranks are served first, equal ones in the order of their requests. The position in the line is taken at once,
    /// and given up when the receiver is dropped.
    pub fn request(self: &Arc<Self>, rank: usize, want: u32) -> oneshot::Receiver<Vec<Slot>> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.state.lock();
        state.next += 1;
        let place = (rank, state.next);
        state.waiting.insert(place, Waiter { want: want.max(1), grant });
        drop(state);
        self.grant();
        granted
    }

    /// Declares that the listeners of the first `ranks` queues start together: none is served before those
    /// above it have [looked](Self::looked).
    pub fn await_looks(&self, ranks: usize) {
        self.state.lock().unseen.extend(0..ranks);
    }

    /// The queue of `rank` has been checked, and has requested slots if it has more jobs.
    pub fn looked(self: &Arc<Self>, rank: usize) {
        let first = self.state.lock().unseen.remove(&rank);
        if first {
            self.grant();
        }
    }

    /// Keeps what becomes free for the queue of `rank`, and for those above it, in the moments in which it has no request
    /// in the line. Where queues share in another [order](Self::grant_in), it changes nothing.
    pub(super) fn claim(self: &Arc<Self>, rank: usize) -> Claim {
        self.state.lock().claims.push(rank);
        Claim { pool: Arc::clone(self), rank }
    }

    /// The number of free slots.
    pub fn free(&self) -> usize {
        self.state.lock().free.len()
    }

    /// Retires one slot of one of these pools, a free one if there is one; returns how many remain.
    pub fn retire_one_of(pools: &[Arc<Self>]) -> usize {
        let room = |pool: &&Arc<Self>| {
            let state = pool.state.lock();
            (state.free.len(), state.left)
        };
        if let Some(pool) = pools.iter().max_by_key(room) {
            pool.retire_one();
        }
        pools.iter().map(|pool| pool.state.lock().left).sum()
    }

    /// Retires one slot, a free one at once, else the next that becomes free; returns how many remain.
    fn retire_one(&self) -> usize {
        let mut state = self.state.lock();
        if state.left == 0 {
            return 0;
        }
        state.left -= 1;
        if state.free.pop().is_none() {
            state.retiring += 1;
        }
        self.gone.send_if_modified(|gone| std::mem::replace(gone, state.is_gone()) != *gone);
        state.left
    }

    /// Becomes true when every slot is retired and their last jobs have ended.
    #[must_use]
    pub fn gone(&self) -> watch::Receiver<bool> {
        self.gone.subscribe()
    }

    fn take_back(self: &Arc<Self>, rank: usize, runner: RunnerPlace) {
        let mut state = self.state.lock();
        if state.retiring > 0 {
            state.retiring -= 1;
            self.gone.send_if_modified(|gone| std::mem::replace(gone, state.is_gone()) != *gone);
        } else {
            state.free.push(runner);
        }
        if let Some(held) = state.held.get_mut(&rank) {
            *held = held.saturating_sub(1);
        }
        drop(state);
        self.grant();
    }

    /// Grants free slots to waiting requests as far as possible. The slots of a cancelled request are
    /// returned outside the lock, when they are dropped.
    fn grant(self: &Arc<Self>) {
        // The lock must not be held during the send, because a failed send returns slots.
        let next = || self.state.lock().next_grant();
        while let Some((waiter, runners, rank)) = next() {
            let slots =
                runners.into_iter().map(|runner| Slot { pool: Arc::clone(self), rank, runner }).collect();
            drop(waiter.grant.send(slots));
        }
    }
}

impl State {
    fn is_gone(&self) -> bool {
        self.left == 0 && self.retiring == 0
    }

    fn is_all_free(&self) -> bool {
        self.free.len() == self.left + self.retiring
    }

    fn next_grant(&mut self) -> Option<(Waiter, Vec<RunnerPlace>, usize)> {
        self.waiting.retain(|_, waiter| !waiter.grant.is_closed());
        let in_line = self.waiting.range(..=(self.last_served(), u64::MAX));
        let mut ready = in_line.filter_map(|(place, waiter)| {
            let room = self.room(place.0).min(waiter.want) as usize;
            (room > 0).then_some((*place, room))
        });
        let (place, count) = match self.order {
            QueueOrder::AsListed => ready.next(),
            QueueOrder::InTurn => self
                .share(ready.collect(), |all| all.iter().min_by_key(|((_, request), _)| *request).copied()),
            QueueOrder::Random => self.share(ready.collect(), |all| fastrand::choice(all).copied()),
        }?;
        let waiter = self.waiting.remove(&place)?;
        let runners = self.free.split_off(self.free.len().saturating_sub(count));
        *self.held.entry(place.0).or_default() += u32::try_from(runners.len()).unwrap_or(u32::MAX);
        Some((waiter, runners, place.0))
    }

    /// The lowest rank that may have slots now.
    fn last_served(&self) -> usize {
        let claims = self.claims.iter().filter(|_| self.order == QueueOrder::AsListed);
        // A queue that has all its slots leaves the others to those behind it.
        let claims = claims.filter(|rank| self.room(**rank) > 0);
        claims.chain(self.unseen.first()).min().copied().unwrap_or(usize::MAX)
    }

    /// One of those that are ready, with no more than its share of the free slots.
    fn share(&self, ready: Vec<Ready>, choose: impl Fn(&[Ready]) -> Option<Ready>) -> Option<Ready> {
        let (place, count) = choose(&ready)?;
        Some((place, count.min(self.free.len().div_ceil(ready.len().max(1)))))
    }

    fn room(&self, rank: usize) -> u32 {
        let free = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        let held = self.held.get(&rank).copied().unwrap_or(0);
        self.caps.get(&rank).map_or(free, |cap| free.min(cap.saturating_sub(held)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fence, JobRunner, Running};
    use super::*;
    use crate::job::Registry;
    use actix::Actor;
    use std::time::Duration;

    fn pool(slots: usize, caps: &[(usize, u32)]) -> Arc<SlotPool> {
        let runner = JobRunner::new(Arc::new(Registry::default()), Duration::ZERO, Running::default());
        let runner = RunnerPlace::new(Post { runner: runner.start(), fence: Fence::default() });
        SlotPool::new(vec![runner; slots], caps.iter().copied().collect(), 0)
    }

    #[actix_rt::test]
    async fn free_slots_are_granted_at_once_up_to_what_is_wanted() {
        let pool = pool(4, &[]);
        assert_eq!(pool.request(0, 3).await.unwrap().len(), 3);
        assert_eq!(pool.free(), 4, "dropped slots are free again");
    }

    #[actix_rt::test]
    async fn a_pool_is_idle_when_its_slots_are_free_and_every_end_is_written() {
        let pool = pool(2, &[]);
        assert!(pool.is_idle());
        let slots = pool.request(0, 1).await.unwrap();
        assert!(!pool.is_idle(), "a job is on its way, or runs");
        let delivery = pool.take_in_hand();
        drop(slots);
        assert!(!pool.is_idle(), "its end is not written");
        drop(delivery);
        assert!(pool.is_idle());
        let busy = pool.request(0, 1).await.unwrap();
        assert_eq!(SlotPool::retire_one_of(&[Arc::clone(&pool), Arc::clone(&pool)]), 2);
        assert_eq!(SlotPool::retire_one_of(&[Arc::clone(&pool)]), 0);
        assert!(!pool.is_idle(), "one that is to go still has a job");
        drop(busy);
        assert!(pool.is_idle());
    }

    #[actix_rt::test]
    async fn a_freed_slot_goes_to_the_queue_that_ranks_first_not_to_who_asked_first() {
        let pool = pool(1, &[]);
        let busy = pool.request(5, 1).await.unwrap();
        let (mut low, high) = (pool.request(2, 1), pool.request(1, 1));
        drop(busy);
        let held = high.await.unwrap();
        assert!(low.try_recv().is_err());
        drop(held);
        assert_eq!(low.await.unwrap().len(), 1);
    }

    #[actix_rt::test]
    async fn at_the_start_no_queue_is_served_before_those_above_it_have_looked() {
        let pool = pool(1, &[]);
        pool.await_looks(3);
        let (mut last, mut middle, first) = (pool.request(2, 1), pool.request(1, 1), pool.request(0, 1));
        drop(first.await.unwrap());
        assert!(middle.try_recv().is_err(), "the first has a slot, but has not fetched with it");
        let again = pool.request(0, 1);
        pool.looked(0);
        drop(again.await.unwrap());
        let held = middle.try_recv().unwrap();
        pool.looked(1);
        assert!(last.try_recv().is_err(), "there is one slot");
        drop(held);
        assert_eq!(last.await.unwrap().len(), 1);
    }

    #[actix_rt::test]
    async fn a_capped_queue_leaves_slots_to_those_behind_it() {
        let pool = pool(4, &[(0, 1)]);
        let capped = pool.request(0, 4).await.unwrap();
        assert_eq!(capped.len(), 1);
        let mut more = pool.request(0, 1);
        assert_eq!(pool.request(1, 4).await.unwrap().len(), 3);
        assert!(more.try_recv().is_err());
        drop(capped);
        assert_eq!(more.await.unwrap().len(), 1);
    }

    #[actix_rt::test]
    async fn what_becomes_free_is_kept_for_a_queue_that_has_more_jobs() {
        let pool = pool(3, &[(1, 2)]);
        let all = pool.request(1, 3).await.unwrap();
        let claims = [pool.claim(1), pool.claim(1)];
        let others = pool.request(2, 2).try_recv().unwrap();
        assert_eq!((all.len(), others.len()), (2, 1), "it may have no more than two");
        let (mut low, mut all) = (pool.request(2, 2), all.into_iter());
        drop(all.next());
        assert!(low.try_recv().is_err(), "it has no request, and yet a claim");
        assert_eq!(pool.request(0, 1).await.unwrap().len(), 1, "those above it are served");
        let [first, second] = claims;
        drop(first);
        assert!(low.try_recv().is_err());
        drop(second);
        assert_eq!(low.await.unwrap().len(), 1);
    }

    #[actix_rt::test]
    async fn in_turn_no_queue_keeps_slots_from_others() {
        let pool = pool(1, &[]);
        pool.grant_in(QueueOrder::InTurn);
        let _claim = pool.claim(0);
        assert_eq!(pool.request(1, 1).await.unwrap().len(), 1);
    }

    #[actix_rt::test]
    async fn in_turn_the_oldest_request_is_first_and_queues_share_what_is_free() {
        let pool = pool(4, &[]);
        pool.grant_in(QueueOrder::InTurn);
        let all = pool.request(0, 4).await.unwrap();
        let (low, high) = (pool.request(2, 4), pool.request(1, 4));
        let mut all = all.into_iter();
        drop(all.next());
        let (low, mut again) = (low.await.unwrap(), pool.request(2, 4));
        assert_eq!(low.len(), 1, "it asked first");
        drop(all.next());
        let high = high.await.unwrap();
        assert_eq!(high.len(), 1);
        assert!(again.try_recv().is_err(), "nothing is free");
    }

    #[actix_rt::test]
    async fn by_chance_every_queue_is_first_at_times() {
        let pool = pool(1, &[]);
        pool.grant_in(QueueOrder::Random);
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let busy = pool.request(0, 1).await.unwrap();
            let (mut first, mut second) = (pool.request(0, 1), pool.request(1, 1));
            drop(busy);
            seen.insert(first.try_recv().is_ok());
            second.close();
        }
        assert_eq!(seen.len(), 2);
    }

    #[actix_rt::test]
    async fn a_retired_slot_is_granted_no_more() {
        let pool = pool(2, &[]);
        let busy = pool.request(0, 1).await.unwrap();
        assert_eq!((pool.retire_one(), pool.free()), (1, 0), "the free one goes first");
        assert_eq!(pool.retire_one(), 0);
        let gone = pool.gone();
        assert!(!*gone.borrow(), "a job is still running");
        drop(busy);
        assert!(*gone.borrow());
        assert_eq!((pool.free(), pool.retire_one()), (0, 0));
        assert!(pool.request(0, 1).try_recv().is_err());
    }

    #[actix_rt::test]
    async fn of_several_pools_one_with_a_free_slot_retires_it_until_none_is_left() {
        let pools = [pool(1, &[]), pool(2, &[]), pool(1, &[])];
        let busy = pools[1].request(0, 2).await.unwrap();
        assert_eq!([3, 2].map(|_| SlotPool::retire_one_of(&pools)), [3, 2]);
        assert_eq!(pools.each_ref().map(|pool| *pool.gone().borrow()), [true, false, true]);
        assert_eq!([1, 0, 0].map(|_| SlotPool::retire_one_of(&pools)), [1, 0, 0]);
        drop(busy);
        assert!(*pools[1].gone().borrow());
    }

    #[actix_rt::test]
    async fn a_request_given_up_loses_no_slot() {
        let pool = pool(1, &[]);
        let busy = pool.request(0, 1).await.unwrap();
        drop(pool.request(0, 1));
        drop(busy);
        drop(pool.request(0, 1));
        assert_eq!(pool.free(), 1);
    }
}
