//! Decides what the next call to the broker carries, from what has gathered and what is under way.

use std::collections::VecDeque;

use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::time::Instant;

use super::carrying::Fetched;
use super::completer::{SETTLE_BATCH, Unsettled};
use super::queue_state::QueueState;
use super::settler::LONG;
use super::slots::Slot;
use super::waiting::may_fetch;
use crate::fault::Fault;

/// From so many on, ends and fetches go in separate calls and do not wait for the call before: the broker works on one
/// half while this process works on the other. Fewer wait, because a call costs the broker as much as several jobs.
const MANY: usize = 16;

/// What comes in.
pub(super) struct Arriving {
    pub(super) ends: mpsc::Receiver<Unsettled>,
    pub(super) wants: mpsc::Receiver<Want>,
}

/// Slots to be filled with jobs. There is one at a time.
pub(super) struct Want {
    pub(super) slots: Vec<Slot>,
    /// How many slots it may have, if more become free before the call.
    pub(super) most: u32,
    /// Nobody else fetches or looks for unclaimed deliveries until the jobs are in hand.
    pub(super) _fetching: OwnedMutexGuard<()>,
    pub(super) answer: oneshot::Sender<Result<Fetched, Fault>>,
}

/// A call to make.
pub(super) enum Call {
    Fetch(Want),
    Settle(Vec<Unsettled>),
    Both(Vec<Unsettled>, Want),
    /// One long end.
    Long(Unsettled),
}

/// What has gathered for the next calls, and what is under way.
#[derive(Default)]
pub(super) struct Next {
    short: Vec<Unsettled>,
    long: VecDeque<Unsettled>,
    pub(super) want: Option<Want>,
    pub(super) fetches: bool,
    pub(super) settles: bool,
    pub(super) settles_long: bool,
    /// Ends failed last time: they and fetches do not go together, nor wait for each other.
    pub(super) apart: bool,
    /// No short end is sent before this moment, because one has failed.
    pub(super) rest: Option<Instant>,
    /// The same of long ones.
    pub(super) long_rest: Option<Instant>,
}

impl Want {
    /// Adds the slots that have become free.
    pub(super) fn grow(&mut self, queue: &QueueState) {
        let more = self.most.saturating_sub(self.count());
        if more > 0
            && let Ok(slots) = queue.ports.slots.request(queue.settings.rank, more).try_recv()
        {
            self.slots.extend(slots);
        }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}

impl Next {
    /// Adds an end, behind those that wait.
    pub(super) fn add(&mut self, one: Unsettled) {
        if one.settlement.weight() > LONG { self.long.push_back(one) } else { self.short.push(one) }
    }

    pub(super) fn has_room(&self) -> bool {
        self.short.len() + self.long.len() < SETTLE_BATCH
    }

    /// Adds all that has come.
    pub(super) fn gather(&mut self, Arriving { ends, wants }: &mut Arriving, queue: &QueueState) {
        while self.has_room()
            && let Ok(one) = ends.try_recv()
        {
            self.add(one);
        }
        if self.want.is_none() {
            self.want = wants.try_recv().ok();
        }
        // A drain has given it up, or what is fetched now could not be run or settled.
        self.want.take_if(|want| want.answer.is_closed() || !may_fetch(queue));
        if let Some(want) = &mut self.want {
            want.grow(queue);
        }
    }

    /// The next call to make now; `None` if it waits for others, or if there is nothing to do.
    pub(super) fn call(&mut self) -> Option<Call> {
        let may_send = self.rest.is_none();
        if self.long_rest.is_none()
            && !self.settles_long
            && let Some(one) = self.long.pop_front()
        {
            self.settles_long = true;
            return Some(Call::Long(one));
        }
        let slots = self.want.as_ref().map_or(0, |want| want.slots.len());
        let separate = self.apart || self.short.len().max(slots) >= MANY;
        let may_call = separate || !(self.settles || self.fetches);
        let settles = may_call && may_send && !self.settles && !self.short.is_empty();
        let want = self.want.take_if(|_| may_call);
        self.settles |= settles && (want.is_none() || !separate);
        self.fetches |= want.is_some();
        match want {
            Some(want) if settles && !separate => Some(Call::Both(self.ends(), want)),
            Some(want) => Some(Call::Fetch(want)),
            None => settles.then(|| Call::Settle(self.ends())),
        }
    }

    /// The ends of one call, not more than one takes.
    fn ends(&mut self) -> Vec<Unsettled> {
        let mut weight = 0;
        let fits = |one: &&Unsettled| {
            weight += one.settlement.weight();
            weight <= LONG
        };
        let count = self.short.iter().take(SETTLE_BATCH).take_while(fits).count();
        let rest = self.short.split_off(count.max(1).min(self.short.len()));
        std::mem::replace(&mut self.short, rest)
    }

    /// After ends have failed, they and fetches go apart; their own fetch, if they had one, is still to be made.
    pub(super) fn goes_apart(&mut self, want: Option<Want>) {
        self.apart = true;
        if want.is_some() {
            self.want = want;
            self.fetches = false;
        }
    }

    /// Keeps what is left for the next call, in front of what has come since. It may be refused for long, and holds up no
    /// other.
    pub(super) fn keep(&mut self, left: Vec<Unsettled>) {
        let since = std::mem::take(&mut self.short);
        let left = left.into_iter().map(|one| Unsettled { _room: None, ..one });
        left.chain(since).for_each(|one| self.add(one));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::queue::{Disposition, Settlement};

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
        let unsettled = |_| Unsettled {
            settlement: end.clone(),
            answer: oneshot::channel().0,
            refused_since: None,
            _room: None,
        };
        (0..count).map(unsettled).collect()
    }

    fn with(mut next: Next, more: Vec<Unsettled>) -> Next {
        more.into_iter().for_each(|one| next.add(one));
        next
    }

    async fn want() -> Option<Want> {
        let fetching = Arc::new(tokio::sync::Mutex::new(())).lock_owned().await;
        Some(Want { slots: Vec::new(), most: 1, _fetching: fetching, answer: oneshot::channel().0 })
    }

    /// How many ends the next call has, and whether it fetches.
    fn called(next: &mut Next) -> Option<(usize, bool)> {
        next.call().map(|call| match call {
            Call::Fetch(_) => (0, true),
            Call::Settle(ends) => (ends.len(), false),
            Call::Both(ends, _) => (ends.len(), true),
            Call::Long(_) => (1, false),
        })
    }

    #[tokio::test]
    async fn few_ends_wait_for_the_call_before_and_go_with_the_fetch() {
        let mut next = Next::default();
        assert_eq!(called(&mut next), None);
        next = with(next, ends(1, ""));
        assert_eq!(called(&mut next), Some((1, false)));
        next = with(Next { want: want().await, ..next }, ends(MANY - 1, ""));
        assert_eq!(called(&mut next), None);
        next.settles = false;
        assert_eq!(called(&mut next), Some((MANY - 1, true)));
        next = with(Next { want: want().await, ..next }, ends(1, ""));
        assert_eq!(called(&mut next), None);
        (next.settles, next.fetches) = (false, false);
        assert_eq!(called(&mut next), Some((1, true)));
    }

    #[tokio::test]
    async fn many_ends_go_apart_from_the_fetch_and_wait_only_for_other_ends() {
        let mut next = with(Next { want: want().await, ..Next::default() }, ends(MANY, ""));
        assert_eq!(called(&mut next), Some((0, true)));
        assert_eq!(called(&mut next), Some((MANY, false)));
        next = with(next, ends(MANY, ""));
        assert_eq!(called(&mut next), None);
        next.settles = false;
        assert_eq!(called(&mut next), Some((MANY, false)));
    }

    #[tokio::test]
    async fn ends_that_fail_hold_up_no_fetch() {
        let mut next = with(Next { want: want().await, ..Next::default() }, ends(1, ""));
        let Some(Call::Both(left, want_again)) = next.call() else { panic!("they go together") };
        next.goes_apart(Some(want_again));
        assert_eq!(called(&mut next), Some((0, true)), "while its ends are settled with care");
        next.settles = false;
        next.keep(left);
        next.rest = Some(Instant::now());
        next = with(Next { want: want().await, ..next }, ends(1, ""));
        assert_eq!(called(&mut next), Some((0, true)), "while they rest");
        assert_eq!(called(&mut next), None);
        next.rest = None;
        next.want = want().await;
        assert_eq!((called(&mut next), called(&mut next)), (Some((0, true)), Some((2, false))));
    }

    #[tokio::test]
    async fn want_that_waits_outlives_ends_that_failed_without_it() {
        let mut next = Next { want: want().await, ..Next::default() };
        next.goes_apart(None);
        assert_eq!(called(&mut next), Some((0, true)));
    }

    #[test]
    fn long_ends_go_alone_one_at_a_time_and_nothing_waits_for_them() {
        let long = "x".repeat(LONG + 1);
        let mut next = with(with(Next::default(), ends(2, &long)), ends(1, ""));
        assert_eq!((called(&mut next), next.settles_long), (Some((1, false)), true));
        assert_eq!((called(&mut next), next.settles), (Some((1, false)), true));
        assert_eq!(called(&mut next), None);
        next.settles_long = false;
        assert_eq!((called(&mut next), next.long.len()), (Some((1, false)), 0));
    }

    #[test]
    fn what_one_call_does_not_take_is_left_for_the_next() {
        let half = "x".repeat(LONG / 2);
        let mut next = with(Next::default(), ends(3, &half));
        next.apart = true;
        assert_eq!(called(&mut next), Some((2, false)));
        next.settles = false;
        assert_eq!(called(&mut next), Some((1, false)));
        let mut next = with(Next::default(), ends(SETTLE_BATCH + 1, ""));
        assert_eq!(called(&mut next), Some((SETTLE_BATCH, false)));
        assert!(next.has_room() && next.short.len() == 1);
    }
}
